// Rows go into chunks, each after its prefix, all rows of a message or none, and every COPY has rows for one list of
// columns.

import type { ChunkPool } from './chunk-pool.ts'
import { ChunkWriter } from './chunk-writer.ts'
import type { BadMessage, Encoded, Encoder, Segment, Tombstone } from './format.ts'
import type { Message } from './message.ts'
import { absentRoom, type Prefix } from './prefix.ts'
import type { Fault, Rows } from './rows.ts'

const lineFeed = 0x0a

/** What becomes of one message. */
export class RowWriter {
  /** Messages that became rows, none maybe. */
  messages = 0
  /** Messages without a value that were passed over. */
  skipped = 0
  readonly #out: ChunkWriter
  readonly #rows: Rows
  readonly #prefix: Prefix | null
  readonly #tombstone: Tombstone
  readonly #segments: Segment[] = []
  /** The present segment's, apart from the prefix's. */
  #columns: string[]

  constructor(pool: ChunkPool, rows: Rows, prefix: Prefix | null, tombstone: Tombstone) {
    this.#out = new ChunkWriter(pool)
    this.#rows = rows
    this.#prefix = prefix
    this.#tombstone = tombstone
    this.#columns = rows.columns
  }

  /** Of the segments so far. */
  get bytes(): number {
    return this.#out.bytes
  }

  /** @returns null, or why nothing was added */
  addRecord(message: Message): Fault | null {
    if (message.valueEnd > message.valueStart) {
      return this.add(message.bytes, message.valueStart, message.valueEnd, message.tag, message)
    }
    const removes = this.#tombstone === 'delete' && message.valueStart < 0
    if (!removes && this.#tombstone !== 'row') {
      this.skipped++
      return null
    }
    return this.#write(this.#rows.readTombstone(message, removes), message.tag, message)
  }

  /** @returns null, or why nothing was added */
  add(bytes: Buffer, start: number, end: number, tag: number, message: Message | null): Fault | null {
    if (message === null && this.#prefix !== null && this.#prefix.needsRecords) {
      throw new TypeError('the prefix needs the whole record')
    }
    return this.#write(this.#rows.read(bytes, start, end, message), tag, message)
  }

  end(): Segment[] {
    this.#endSegment(this.#out.end())
    return this.#segments
  }

  #write(count: number, tag: number, message: Message | null): Fault | null {
    const rows = this.#rows
    if (count < 0) return rows.fault
    const prefix = this.#prefix
    const out = this.#out
    if (prefix !== null) prefix.enter(message, tag)
    for (let row = 0; row < count; row++) {
      let room = rows.select(row) + 1
      if (prefix !== null) room += prefix.room + absentRoom(rows.absent.length)
      if (rows.columns !== this.#columns) {
        this.#endSegment(out.cut())
        this.#columns = rows.columns
      }
      if (out.limit - out.position < room) out.next(room)
      if (prefix !== null) prefix.write(out, rows)
      rows.write(out)
      out.chunk[out.position++] = lineFeed
    }
    this.messages++
    return null
  }

  #endSegment(chunks: Buffer[]): void {
    if (chunks.length === 0) return
    const columns = this.#prefix === null ? this.#columns : [...this.#prefix.columns, ...this.#columns]
    // a relation may have no column to fill at all
    this.#segments.push({ columns: columns.length === 0 ? null : columns, chunks })
  }
}

/** Stops at the first bad message. */
export class RowEncoder implements Encoder {
  bad: BadMessage | null = null
  readonly #writer: RowWriter

  constructor(pool: ChunkPool, rows: Rows, prefix: Prefix | null = null, tombstone: Tombstone = 'skip') {
    this.#writer = new RowWriter(pool, rows, prefix, tombstone)
  }

  append(bytes: Buffer, start: number, end: number, tag: number): void {
    if (this.bad !== null) return
    const fault = this.#writer.add(bytes, start, end, tag, null)
    if (fault !== null) this.bad = { tag, code: fault.code, reason: fault.reason }
  }

  appendRecord(message: Message): boolean {
    if (this.bad !== null) return true
    const writer = this.#writer
    const { skipped } = writer
    const fault = writer.addRecord(message)
    if (fault !== null) this.bad = { tag: message.tag, code: fault.code, reason: fault.reason }
    return writer.skipped === skipped
  }

  finish(): Encoded {
    const { messages, skipped } = this.#writer
    const segments = this.#writer.end()
    return { segments, messages, skipped, bytes: this.#writer.bytes, bad: this.bad }
  }
}
