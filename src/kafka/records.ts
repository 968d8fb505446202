// The hot path: records are walked in place, varint by varint, and each value goes straight from the Fetch
// response to whoever takes it. No object, promise or bigint per record. Who wants more than values gets one object
// that becomes each record in turn.
//
// Record format: https://kafka.apache.org/documentation/#record (varints are zigzag, as in Protocol Buffers)

import { MillraceError } from '../errors.ts'
import type { BatchPlace } from './record-batch.ts'
import type { WalkedRecord } from './walked-record.ts'

/** Takes message values. `tag` is the record's offset, counted from where the caller said. */
export interface ValueSink {
  append(bytes: Buffer, start: number, end: number, tag: number): void
}

/** Takes records with all they have, tombstones and empty ones among them. The object is the next record afterwards. */
export interface RecordSink {
  /** @returns true for a record without a value that was not passed over; of others it does not matter */
  appendRecord(record: WalkedRecord): unknown
}

/** Walks the records of one uncompressed batch, in slices, so that no slice holds the event loop for long. */
export class RecordWalk {
  readonly #bytes: Buffer
  readonly #firstDelta: number
  readonly #lastDelta: number
  readonly #tagBase: number
  readonly #place: BatchPlace
  #at = 0
  #left: number
  /** Records that went to the sink, but those that count as empty. */
  values = 0
  /** Tombstones and empty messages. `walk` passes them over; of `walkRecords`, those that the sink does. */
  empty = 0
  /** Bytes of the values that went to the sink. */
  valueBytes = 0
  /** The offset delta of the record that was walked last. */
  lastWalked = -1

  /**
   * @param bytes the batch's records, uncompressed
   * @param count how many records the batch's header announces
   * @param firstDelta records below this offset delta are passed over: they are before the position
   * @param lastDelta records above this offset delta are passed over: they are not of this span
   * @param tagBase added to an offset delta, it makes the record's tag
   * @param place where the batch stands, for an error
   */
  constructor(
    bytes: Buffer,
    count: number,
    firstDelta: number,
    lastDelta: number,
    tagBase: number,
    place: BatchPlace,
  ) {
    this.#bytes = bytes
    this.#left = count
    this.#firstDelta = firstDelta
    this.#lastDelta = lastDelta
    this.#tagBase = tagBase
    this.#place = place
  }

  /**
   * Walks on until `budget` bytes are passed or the batch ends.
   * @returns true while records are left
   * @throws MillraceError record-batch-corrupt
   */
  walk(sink: ValueSink, budget: number): boolean {
    const bytes = this.#bytes
    const end = bytes.length
    const stop = Math.min(end, this.#at + budget)
    const firstDelta = this.#firstDelta
    const lastDelta = this.#lastDelta
    const tagBase = this.#tagBase
    let at = this.#at
    let left = this.#left
    let lastWalked = this.lastWalked
    let values = 0
    let empty = 0
    let valueBytes = 0
    while (left > 0 && at < stop) {
      left--
      let byte = bytes[at++] as number
      let raw = byte & 0x7f
      for (let shift = 7; byte & 0x80; shift += 7) {
        byte = bytes[at++] as number
        raw |= (byte & 0x7f) << shift
      }
      const recordEnd = at + ((raw >>> 1) ^ -(raw & 1))
      if (recordEnd > end || recordEnd < at) throw this.#corrupt()
      at++ // attributes, unused
      while ((bytes[at++] as number) & 0x80) {} // timestampDelta
      byte = bytes[at++] as number
      raw = byte & 0x7f
      for (let shift = 7; byte & 0x80; shift += 7) {
        byte = bytes[at++] as number
        raw |= (byte & 0x7f) << shift
      }
      const delta = (raw >>> 1) ^ -(raw & 1)
      byte = bytes[at++] as number
      raw = byte & 0x7f
      for (let shift = 7; byte & 0x80; shift += 7) {
        byte = bytes[at++] as number
        raw |= (byte & 0x7f) << shift
      }
      const keyLength = (raw >>> 1) ^ -(raw & 1)
      if (keyLength > 0) at += keyLength
      byte = bytes[at++] as number
      raw = byte & 0x7f
      for (let shift = 7; byte & 0x80; shift += 7) {
        byte = bytes[at++] as number
        raw |= (byte & 0x7f) << shift
      }
      const valueLength = (raw >>> 1) ^ -(raw & 1)
      if (at + valueLength > recordEnd) throw this.#corrupt()
      if (delta >= firstDelta && delta <= lastDelta) {
        if (valueLength > 0) {
          sink.append(bytes, at, at + valueLength, tagBase + delta)
          values++
          valueBytes += valueLength
        } else {
          empty++
        }
      }
      lastWalked = delta
      at = recordEnd // headers are passed over
    }
    this.#at = at
    this.#left = left
    this.lastWalked = lastWalked
    this.values += values
    this.empty += empty
    this.valueBytes += valueBytes
    if (left > 0 && at >= end) throw this.#corrupt()
    return left > 0
  }

  /**
   * The same for a sink that wants whole records; counts are `walk`'s.
   * @param record becomes each record in turn
   * @returns true while records are left
   * @throws MillraceError record-batch-corrupt
   */
  walkRecords(sink: RecordSink, record: WalkedRecord, budget: number): boolean {
    const bytes = this.#bytes
    const stop = Math.min(bytes.length, this.#at + budget)
    while (this.#left > 0 && this.#at < stop) {
      this.#left--
      const end = record.read(bytes, this.#at)
      if (end < 0) throw this.#corrupt()
      this.#at = end
      this.lastWalked = record.delta
      if (record.delta < this.#firstDelta || record.delta > this.#lastDelta) continue
      record.tag = this.#tagBase + record.delta
      const taken = sink.appendRecord(record)
      if (record.valueEnd > record.valueStart) {
        this.values++
        this.valueBytes += record.valueEnd - record.valueStart
      } else if (taken === true) {
        this.values++
      } else {
        this.empty++
      }
    }
    if (this.#left > 0 && this.#at >= bytes.length) throw this.#corrupt()
    return this.#left > 0
  }

  #corrupt(): MillraceError {
    return new MillraceError('record-batch-corrupt', {
      ...this.#place,
      reason: 'a record overruns its batch',
    })
  }
}
