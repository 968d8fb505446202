// A record batch is written as its records come: each is encoded once, into the batch's own memory, and nothing of a
// message is kept beside its bytes but whose it is. The header is filled in when the batch is sent.
//
// Format: https://kafka.apache.org/documentation/#recordbatch

import { promisify } from 'node:util'
import zlib from 'node:zlib'
import type { BufferShelf } from './buffer-shelf.ts'
import { compressionsAlgorithms } from './library.ts'
import { crc32c } from './record-batch.ts'

export const compressions = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const
export type Compression = (typeof compressions)[number]

export interface OutgoingRecord {
  key: Uint8Array | null
  value: Uint8Array | null
  /** name, value, name, value, ... */
  headers: (Uint8Array | null)[]
  /** ms since 1970. */
  timestamp: number
}

/** Who sends a batch, and the number of its first record among what that sender sends to the partition (KIP-98). */
export interface Sender {
  producerId: bigint
  epoch: number
  transactional: boolean
  sequence: number
}

const headerSize = 61
const crcAt = 17
const crcCoversFrom = 21
const transactionalBit = 1 << 4

/** Bytes that a record has beside key, value and headers, at the most. */
const recordOverhead = 40
const headerOverhead = 10

/** Bytes of a ticket. They are at the end of the batch's memory, the first one last. */
const ticketSize = 8

export class BatchWriter {
  #bytes: Buffer
  #at = headerSize
  #count = 0
  #baseTimestamp = 0
  #maxTimestamp = 0
  readonly #shelf: BufferShelf | null

  /** @param size bytes to begin with; it grows  @param shelf where its memory comes from */
  constructor(size: number, shelf: BufferShelf | null = null) {
    this.#shelf = shelf
    this.#bytes = shelf ? shelf.take(headerSize + size) : Buffer.allocUnsafe(headerSize + size)
  }

  get count(): number {
    return this.#count
  }

  /** Bytes, before compression. */
  get size(): number {
    return this.#at
  }

  /** Bytes that it holds, used or not. */
  get memory(): number {
    return this.#bytes.length
  }

  /** @param ticket what the caller knows it by, a whole number */
  append(record: OutgoingRecord, ticket: number): void {
    const { key, value, headers, timestamp } = record
    const most = (key?.length ?? 0) + (value?.length ?? 0) + sizeOf(headers) + recordOverhead
    this.#reserve(most)
    if (this.#count === 0) {
      this.#baseTimestamp = timestamp
      this.#maxTimestamp = timestamp
    } else if (timestamp > this.#maxTimestamp) this.#maxTimestamp = timestamp
    const start = this.#at
    // the length comes first and is known last: the record is written behind the longest length, and moved where it is shorter
    this.#at = start + longestVarint
    this.#bytes[this.#at++] = 0
    this.#varint(timestamp - this.#baseTimestamp)
    this.#varint(this.#count)
    this.#field(key)
    this.#field(value)
    this.#varint(headers.length / 2)
    for (const part of headers) this.#field(part)
    const length = this.#at - start - longestVarint
    const end = this.#at
    this.#at = start
    this.#varint(length)
    if (this.#at < start + longestVarint) this.#bytes.copyWithin(this.#at, start + longestVarint, end)
    this.#at += length
    this.#count++
    this.#bytes.writeDoubleLE(ticket, this.#bytes.length - this.#count * ticketSize)
  }

  ticket(index: number): number {
    return this.#bytes.readDoubleLE(this.#bytes.length - (index + 1) * ticketSize)
  }

  get tickets(): number[] {
    return Array.from({ length: this.#count }, (_, i) => this.ticket(i))
  }

  /** What was appended, in order, with the tickets; its bytes are the batch's own. */
  *entries(): Generator<[OutgoingRecord, number]> {
    const reader = new RecordReader(this.#bytes, headerSize, this.#baseTimestamp)
    for (let i = 0; i < this.#count; i++) yield [reader.read(), this.ticket(i)]
  }

  /** The batch as it is sent. It may be asked for again, by another sender or by the same. */
  async encode(sender: Sender, compression: Compression): Promise<Buffer> {
    const records = this.#bytes.subarray(headerSize, this.#at)
    const packed = compression === 'none' ? null : await compress[compression](records)
    const bytes = packed
      ? Buffer.concat([this.#bytes.subarray(0, headerSize), packed])
      : this.#bytes.subarray(0, this.#at)
    bytes.writeBigInt64BE(0n, 0)
    bytes.writeInt32BE(bytes.length - 12, 8)
    bytes.writeInt32BE(-1, 12)
    bytes[16] = 2
    const attributes = compressions.indexOf(compression) | (sender.transactional ? transactionalBit : 0)
    bytes.writeInt16BE(attributes, 21)
    bytes.writeInt32BE(this.#count - 1, 23)
    bytes.writeBigInt64BE(BigInt(this.#baseTimestamp), 27)
    bytes.writeBigInt64BE(BigInt(this.#maxTimestamp), 35)
    bytes.writeBigInt64BE(sender.producerId, 43)
    bytes.writeInt16BE(sender.epoch, 51)
    bytes.writeInt32BE(sender.sequence, 53)
    bytes.writeInt32BE(this.#count, 57)
    bytes.writeUInt32BE(crc32c(bytes.subarray(crcCoversFrom)), crcAt)
    return bytes
  }

  #reserve(more: number): void {
    const tickets = this.#count * ticketSize
    const needed = this.#at + more + tickets + ticketSize
    const old = this.#bytes
    if (needed <= old.length) return
    const larger = this.#shelf?.take(needed) ?? Buffer.allocUnsafe(Math.max(needed, 2 * old.length))
    old.copy(larger, 0, 0, this.#at)
    old.copy(larger, larger.length - tickets, old.length - tickets)
    this.#bytes = larger
    this.#shelf?.give(old)
  }

  /** Its memory is used for others from here on. */
  release(): void {
    this.#shelf?.give(this.#bytes)
    this.#bytes = Buffer.alloc(0)
    this.#count = 0
  }

  /** It may be on its way just now, and nobody asks any more when its memory can be used again. */
  abandon(): void {
    this.#shelf?.forget(this.#bytes)
  }

  #field(bytes: Uint8Array | null): void {
    if (bytes === null) {
      this.#varint(-1)
      return
    }
    this.#varint(bytes.length)
    this.#bytes.set(bytes, this.#at)
    this.#at += bytes.length
  }

  /** Zigzag. A distance between timestamps may have more than 32 bits. */
  #varint(value: number): void {
    if (value < -0x40000000 || value > 0x3fffffff) {
      this.#longVarint(BigInt(value))
      return
    }
    let left = (value << 1) ^ (value >> 31)
    while (left & ~0x7f) {
      this.#bytes[this.#at++] = (left & 0x7f) | 0x80
      left >>>= 7
    }
    this.#bytes[this.#at++] = left
  }

  #longVarint(value: bigint): void {
    let left = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n))
    while (left > 0x7fn) {
      this.#bytes[this.#at++] = Number(left & 0x7fn) | 0x80
      left >>= 7n
    }
    this.#bytes[this.#at++] = Number(left)
  }
}

/** Of a number with 32 bits. */
const longestVarint = 5

function sizeOf(headers: (Uint8Array | null)[]): number {
  let size = 0
  for (const part of headers) size += (part?.length ?? 0) + headerOverhead
  return size
}

class RecordReader {
  readonly #bytes: Buffer
  #at: number

  readonly #baseTimestamp: number

  constructor(bytes: Buffer, at: number, baseTimestamp: number) {
    this.#bytes = bytes
    this.#at = at
    this.#baseTimestamp = baseTimestamp
  }

  read(): OutgoingRecord {
    this.#varint()
    this.#at++
    const timestamp = this.#baseTimestamp + this.#varint()
    this.#varint()
    const key = this.#field()
    const value = this.#field()
    const headers = Array.from({ length: 2 * this.#varint() }, () => this.#field())
    return { key, value, headers, timestamp }
  }

  #field(): Buffer | null {
    const length = this.#varint()
    if (length < 0) return null
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }

  #varint(): number {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.#bytes[this.#at++] as number
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) break
    }
    return Number((value >> 1n) ^ -(value & 1n))
  }
}

const gzip = promisify(zlib.gzip)
const zstd = promisify(zlib.zstdCompress)

/** gzip and zstd run in zlib's own threads. */
const compress: Record<Exclude<Compression, 'none'>, (records: Buffer) => Buffer | Promise<Buffer>> = {
  gzip: (records) => gzip(records),
  snappy: (records) => compressionsAlgorithms.snappy.compressSync(records),
  lz4: (records) => compressionsAlgorithms.lz4.compressSync(records),
  zstd: (records) => zstd(records),
}
