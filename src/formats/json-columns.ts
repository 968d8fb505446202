// An object becomes a row, and no digit and no byte of a value changes on the way. A column without a key gets its
// default; null is NULL, also in a json column. A message is one object or several: all of them are rows or none.

import type { ChunkPool } from './chunk-pool.ts'
import { ChunkWriter } from './chunk-writer.ts'
import { writeArray, writeBytes, writeString } from './copy-text.ts'
import type { BadCode, BadMessage, Column, Encoded, Encoder, Segment } from './format.ts'
import { asIs, escaped, JsonObject, sqlNull, unescaped } from './json-object.ts'
import { JsonScanner, lineFeed, openBrace, tab } from './json-scanner.ts'
import { byteOrderMark } from './json-whole.ts'

const nullMarker = Buffer.from('\\N')
/** Of COPY's DEFAULT option, from version 16 on. No value is written like this: a backslash in it is doubled. */
export const defaultMarker = Buffer.from('\\D')

export class JsonColumnsEncoder implements Encoder {
  bad: BadMessage | null = null
  readonly #columns: Column[]
  /** COPY knows the default marker; else an absent column with a default must be left out of the column list. */
  readonly #marksDefaults: boolean
  /** An object that fills no column cannot be a row then: COPY cannot list no column at all. */
  readonly #needsColumn: boolean
  /** Of the failure that the scanner tells. */
  #code: BadCode = 'json-invalid'
  readonly #out: ChunkWriter
  readonly #scanner = new JsonScanner()
  readonly #object: JsonObject
  readonly #segments: Segment[] = []
  /** The present segment's columns. */
  #listed: Int32Array
  #messages = 0

  constructor(pool: ChunkPool, columns: Column[], marksDefaults: boolean) {
    this.#columns = columns
    this.#marksDefaults = marksDefaults
    this.#needsColumn = !marksDefaults && columns.length > 0 && columns.every(({ hasDefault }) => hasDefault)
    this.#out = new ChunkWriter(pool)
    this.#object = new JsonObject(columns, this.#scanner)
    this.#listed = Int32Array.from(columns.keys())
  }

  append(bytes: Buffer, start: number, end: number, tag: number): void {
    if (this.bad !== null) return
    let p = start
    if (bytes[p] !== openBrace) {
      p = this.#scanner.gap(bytes, byteOrderMark(bytes, start, end), end)
      if (p >= end || bytes[p] !== openBrace) {
        this.#refuseNoObject(bytes, start, p, end, tag)
        return
      }
    }
    const after = this.#read(bytes, p, end)
    if (after < 0) {
      this.#refuse(start, tag)
      return
    }
    if (after === end || this.#scanner.gap(bytes, after, end) === end) this.#write(bytes, after - p)
    else if (!this.#readSeveral(bytes, start, p, end, tag)) return
    this.#messages++
  }

  finish(): Encoded {
    this.#endSegment(this.#out.end())
    return { segments: this.#segments, messages: this.#messages, bytes: this.#out.bytes, bad: this.bad }
  }

  /** All of them are read before the first is written. */
  #readSeveral(bytes: Buffer, start: number, first: number, end: number, tag: number): boolean {
    const scanner = this.#scanner
    for (let p = first; p < end; ) {
      if (bytes[p] !== openBrace) {
        this.#refuseNoObject(bytes, start, p, end, tag)
        return false
      }
      const after = this.#read(bytes, p, end)
      p = after < 0 ? -1 : scanner.gap(bytes, after, end)
      if (p === after && p < end) p = scanner.fail(p, 'something follows the object')
      if (p < 0) {
        this.#refuse(start, tag)
        return false
      }
    }
    for (let p = first; p < end; ) {
      const after = this.#read(bytes, p, end)
      this.#write(bytes, after - p)
      p = scanner.gap(bytes, after, end)
    }
    return true
  }

  /** @returns after the object at `p`; -1 when it cannot be a row */
  #read(bytes: Buffer, p: number, end: number): number {
    const after = this.#object.read(bytes, p, end)
    if (!this.#needsColumn || after < 0 || !this.#object.isEmpty()) return after
    this.#code = 'json-no-columns'
    return this.#scanner.fail(
      p,
      'no key is a column, and COPY before version 16 makes no row of defaults alone',
    )
  }

  /** Writes the object that was read last as a row. @param length its bytes */
  #write(bytes: Buffer, length: number): void {
    const out = this.#out
    const object = this.#object
    if (!this.#marksDefaults) this.#chooseColumns()
    const listed = this.#listed
    const room = length * object.growth + 3 * listed.length + 1
    if (out.limit - out.position < room) out.next(room)
    for (let i = 0; i < listed.length; i++) {
      const column = listed[i]!
      if (i > 0) out.chunk[out.position++] = tab
      if (!object.has(column)) {
        writeMarker(out, this.#columns[column]!.hasDefault ? defaultMarker : nullMarker)
        continue
      }
      const start = object.starts[column]!
      const end = object.ends[column]!
      const way = object.ways[column]
      if (way === asIs) out.copy(bytes, start, end - start)
      else if (way === sqlNull) writeMarker(out, nullMarker)
      else if (way === escaped) writeBytes(out, bytes, start, end)
      else if (way === unescaped) writeString(out, bytes, start, end, false)
      else writeArray(out, bytes, start, end)
    }
    out.chunk[out.position++] = lineFeed
  }

  /** Without a default marker a segment holds rows that leave the same columns out. */
  #chooseColumns(): void {
    const columns = this.#columns
    const isListed = (column: number) => !columns[column]!.hasDefault || this.#object.has(column)
    let listed = 0
    let same = true
    for (let column = 0; column < columns.length; column++) {
      if (isListed(column) && this.#listed[listed++] !== column) same = false
    }
    if (same && listed === this.#listed.length) return
    this.#endSegment(this.#out.cut())
    this.#listed = Int32Array.from([...columns.keys()].filter(isListed))
  }

  #endSegment(chunks: Buffer[]): void {
    if (chunks.length === 0) return
    const columns = Array.from(this.#listed, (column) => this.#columns[column]!.name)
    // a relation may have no column to fill at all
    this.#segments.push({ columns: columns.length === 0 ? null : columns, chunks })
  }

  #refuse(start: number, tag: number): void {
    const { failedAt, reason } = this.#scanner
    this.bad = { tag, code: this.#code, reason: `${reason} (byte ${failedAt - start})` }
  }

  /** @param p at what is no object */
  #refuseNoObject(bytes: Buffer, start: number, p: number, end: number, tag: number): void {
    const scanner = this.#scanner
    const after = scanner.value(bytes, p, end)
    if (after < 0) {
      this.#refuse(start, tag)
    } else if (after < end && scanner.gap(bytes, after, end) === after) {
      scanner.fail(after, 'something follows the value')
      this.#refuse(start, tag)
    } else {
      this.bad = { tag, code: 'json-not-object', reason: `a value that is no object (byte ${p - start})` }
    }
  }
}

function writeMarker(out: ChunkWriter, marker: Buffer): void {
  out.chunk[out.position++] = marker[0]!
  out.chunk[out.position++] = marker[1]!
}
