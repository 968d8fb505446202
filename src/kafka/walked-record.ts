// One record of a batch with all it has: key, value, timestamp, headers. The same object is used for every record of a
// walk, so what is needed after the call it is handed to has to be copied.
//
// Record format: https://kafka.apache.org/documentation/#record

import { MillraceError } from '../errors.ts'
import type { Header, Message } from '../formats/message.ts'
import type { RecordBatch } from './record-batch.ts'

export class WalkedRecord implements Message {
  readonly topic: string
  readonly partition: number
  readonly baseOffset: bigint
  bytes: Buffer = Buffer.alloc(0)
  /** -1: there is no key. */
  keyStart = -1
  keyEnd = -1
  /** -1: a tombstone. */
  valueStart = -1
  valueEnd = -1
  headerCount = 0
  /** Milliseconds since 1970; negative: none. */
  timestamp = -1
  /** Of the offset, counted from `baseOffset`. */
  delta = 0
  tag = 0
  readonly #baseTimestamp: number
  /** The broker's, for all records of the batch; null: each has its own (message.timestamp.type). */
  readonly #appended: number | null
  #headersStart = 0
  #end = 0
  /** Where the next varint is read. */
  #at = 0

  /** @param batch that the records are of */
  constructor(topic: string, partition: number, batch: RecordBatch) {
    this.topic = topic
    this.partition = partition
    this.baseOffset = batch.baseOffset
    this.#baseTimestamp = batch.baseTimestamp
    this.#appended = batch.timestampType === 'append' ? batch.maxTimestamp : null
  }

  get offset(): bigint {
    return this.baseOffset + BigInt(this.delta)
  }

  /** A part of `bytes`, or null. */
  key(): Buffer | null {
    return this.keyStart < 0 ? null : this.bytes.subarray(this.keyStart, this.keyEnd)
  }

  /** A part of `bytes`, or null: a tombstone. */
  value(): Buffer | null {
    return this.valueStart < 0 ? null : this.bytes.subarray(this.valueStart, this.valueEnd)
  }

  /** @throws MillraceError record-batch-corrupt */
  headers(): Header[] {
    const headers: Header[] = []
    this.#at = this.#headersStart
    for (let i = 0; i < this.headerCount; i++) {
      const name = this.#part()
      const value = this.#part()
      if (name === null) throw this.#corrupt()
      headers.push([name, value])
    }
    return headers
  }

  /**
   * Becomes the record that begins at `at`.
   * @returns after it; -1 when it overruns `bytes`
   */
  read(bytes: Buffer, at: number): number {
    this.bytes = bytes
    this.#at = at
    const length = this.#varint()
    const end = this.#at + length
    if (length < 0 || end > bytes.length) return -1
    this.#end = end
    this.#at++ // attributes, unused
    const timestampDelta = this.#varint()
    this.timestamp = this.#appended ?? this.#baseTimestamp + timestampDelta
    this.delta = this.#varint()
    const keyLength = this.#varint()
    this.keyStart = keyLength < 0 ? -1 : this.#at
    this.keyEnd = this.keyStart < 0 ? -1 : (this.#at += keyLength)
    const valueLength = this.#at > end ? 0 : this.#varint()
    this.valueStart = valueLength < 0 ? -1 : this.#at
    this.valueEnd = this.valueStart < 0 ? -1 : (this.#at += valueLength)
    if (this.#at > end) return -1
    this.headerCount = Math.max(0, this.#varint())
    this.#headersStart = this.#at
    return end
  }

  /** Bytes with their length before them; a length of -1 is null. */
  #part(): Buffer | null {
    const length = this.#varint()
    if (length < 0) return null
    const start = this.#at
    this.#at += length
    if (this.#at > this.#end) throw this.#corrupt()
    return this.bytes.subarray(start, this.#at)
  }

  /** Zigzag, up to 64 bits; exact up to 2^53. */
  #varint(): number {
    const bytes = this.bytes
    let byte = bytes[this.#at++] as number
    let value = byte & 0x7f
    for (let factor = 0x80; byte & 0x80; factor *= 0x80) {
      byte = bytes[this.#at++] as number
      value += (byte & 0x7f) * factor
    }
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2
  }

  #corrupt(): MillraceError {
    return new MillraceError('record-batch-corrupt', {
      partition: this.partition,
      offset: this.offset,
      reason: 'its headers overrun the record',
    })
  }
}
