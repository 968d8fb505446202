// An object becomes a row: its top-level keys fill the columns of the same name, and no digit and no byte of a value
// changes on the way. A key that is no column is passed over, the last of two equal keys counts. A column without a
// key gets its default; null is NULL, also in a json column. A message is one object or several: all or none of them.

import type { ChunkPool } from './chunk-pool.ts'
import { ChunkWriter } from './chunk-writer.ts'
import { writeArray, writeBytes, writeString } from './copy-text.ts'
import type { BadMessage, Encoded, Encoder, Segment, Target } from './format.ts'
import { JsonKeys } from './json-keys.ts'
import {
  closeBrace,
  comma,
  JsonScanner,
  lineFeed,
  openBrace,
  openBracket,
  plainInString,
  quote,
  space,
  tab,
} from './json-scanner.ts'
import { byteOrderMark } from './json-whole.ts'

const nullMarker = Buffer.from('\\N')
/** Of COPY's DEFAULT option, from version 16 on. No value is written like this: a backslash in it is doubled. */
export const defaultMarker = Buffer.from('\\D')

/** How a value gets into the row. */
const asIs = 0
const escaped = 1
const unescaped = 2
const arrayLiteral = 3
const sqlNull = 4

export interface ColumnPlan {
  names: string[]
  /** A string stays JSON, with its quotes. */
  json: Uint8Array
  array: Uint8Array
  hasDefault: Uint8Array
  /** COPY knows the default marker; else an absent column must be left out of the column list. */
  marksDefaults: boolean
}

export function planColumns(target: Target, serverVersion: number): ColumnPlan {
  const flags = (flag: (column: Target['columns'][number]) => boolean) =>
    Uint8Array.from(target.columns, (column) => (flag(column) ? 1 : 0))
  return {
    names: target.columns.map((column) => column.name),
    json: flags(({ type }) => type === 'json' || type === 'jsonb'),
    array: flags(({ type }) => type === 'array'),
    hasDefault: flags(({ hasDefault }) => hasDefault),
    marksDefaults: serverVersion >= 160000,
  }
}

export class JsonColumnsEncoder implements Encoder {
  bad: BadMessage | null = null
  readonly #plan: ColumnPlan
  readonly #out: ChunkWriter
  readonly #scanner = new JsonScanner()
  readonly #keys: JsonKeys
  /** An object that fills no column cannot be a row: COPY cannot list no column at all. */
  readonly #needsColumn: boolean
  #nothingToList = false
  readonly #segments: Segment[] = []
  /** The present segment's columns. */
  #listed: Int32Array
  #messages = 0

  // the object that was read last, by column
  #object = 0
  /** The object that the column's value is of. */
  readonly #filledBy: Int32Array
  readonly #starts: Int32Array
  readonly #ends: Int32Array
  readonly #ways: Uint8Array
  /** How many bytes a byte of it becomes at most. */
  #growth = 1

  constructor(pool: ChunkPool, plan: ColumnPlan) {
    const n = plan.names.length
    this.#plan = plan
    this.#out = new ChunkWriter(pool)
    this.#keys = new JsonKeys(plan.names, this.#scanner)
    this.#needsColumn = !plan.marksDefaults && n > 0 && plan.hasDefault.every((flag) => flag === 1)
    this.#listed = Int32Array.from(plan.names, (_, column) => column)
    this.#filledBy = new Int32Array(n)
    this.#starts = new Int32Array(n)
    this.#ends = new Int32Array(n)
    this.#ways = new Uint8Array(n)
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

  /** Finds the columns' values in the object at `p`. @returns after it, or -1 */
  #read(bytes: Buffer, p: number, end: number): number {
    const scanner = this.#scanner
    const keys = this.#keys
    const object = ++this.#object
    this.#growth = 1
    p++
    for (let place = 0; ; place++) {
      if (p >= end || bytes[p]! <= space) p = scanner.gap(bytes, p, end)
      if (place === 0 && p < end && bytes[p] === closeBrace) break
      p = keys.read(bytes, p, end, place)
      if (p < 0) return -1
      if (p >= end || bytes[p]! <= space) p = scanner.gap(bytes, p, end)
      p = keys.column < 0 ? scanner.value(bytes, p, end) : this.#readValue(bytes, p, end, keys.column)
      if (p < 0) return -1
      if (keys.column >= 0) this.#filledBy[keys.column] = object
      if (p >= end || bytes[p]! <= space) p = scanner.gap(bytes, p, end)
      const next = p < end ? bytes[p] : 0
      if (next === closeBrace) break
      if (next !== comma) return scanner.fail(p, ', or } is missing')
      p++
    }
    if (this.#needsColumn && !this.#filledBy.includes(object)) {
      this.#nothingToList = true
      return scanner.fail(
        p,
        'no key of it is a column, and before PostgreSQL 16 COPY cannot fill in defaults alone',
      )
    }
    return p + 1
  }

  #readValue(bytes: Buffer, p: number, end: number, column: number): number {
    const scanner = this.#scanner
    const first = p < end ? bytes[p]! : 0
    const json = this.#plan.json[column]!
    let way = asIs
    let inner = 0
    let after: number
    scanner.special = false
    if (first === quote) {
      let q = p + 1
      while (q < end && plainInString[bytes[q]!] === 1) q++
      if (q < end && bytes[q] === quote) {
        after = q + 1
      } else {
        scanner.loneSurrogateAt = -1
        after = scanner.string(bytes, q, end)
        way = json === 1 ? escaped : unescaped
      }
      inner = 1 - json
    } else {
      scanner.loneSurrogateAt = -1
      after = scanner.value(bytes, p, end)
      if (first === 0x6e) way = sqlNull
      else if (first === openBracket && this.#plan.array[column] === 1) way = arrayLiteral
      else if (scanner.special) way = escaped
    }
    if (after < 0) return -1
    if (way !== asIs) {
      if ((way === unescaped || way === arrayLiteral) && scanner.loneSurrogateAt >= 0) {
        return scanner.fail(scanner.loneSurrogateAt, 'half of a surrogate pair')
      }
      this.#growth = Math.max(this.#growth, way === arrayLiteral ? 4 : 2)
    }
    this.#ways[column] = way
    this.#starts[column] = p + inner
    this.#ends[column] = after - inner
    return after
  }

  /** Writes the object that was read last as a row. @param length its bytes */
  #write(bytes: Buffer, length: number): void {
    const plan = this.#plan
    const out = this.#out
    const object = this.#object
    if (!plan.marksDefaults) this.#chooseColumns()
    const listed = this.#listed
    const room = length * this.#growth + 3 * listed.length + 1
    if (out.limit - out.position < room) out.next(room)
    for (let i = 0; i < listed.length; i++) {
      const column = listed[i]!
      if (i > 0) out.chunk[out.position++] = tab
      if (this.#filledBy[column] !== object) {
        writeMarker(out, plan.hasDefault[column] === 1 ? defaultMarker : nullMarker)
        continue
      }
      const start = this.#starts[column]!
      const end = this.#ends[column]!
      const way = this.#ways[column]
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
    const { names, hasDefault } = this.#plan
    const absent = (column: number) => hasDefault[column] === 1 && this.#filledBy[column] !== this.#object
    let listed = 0
    let same = true
    for (let column = 0; column < names.length; column++) {
      if (!absent(column) && this.#listed[listed++] !== column) same = false
    }
    if (same && listed === this.#listed.length) return
    this.#endSegment(this.#out.cut())
    this.#listed = Int32Array.from([...names.keys()].filter((column) => !absent(column)))
  }

  #endSegment(chunks: Buffer[]): void {
    if (chunks.length === 0) return
    const columns = Array.from(this.#listed, (column) => this.#plan.names[column]!)
    // a relation may have no column to fill at all
    this.#segments.push({ columns: columns.length === 0 ? null : columns, chunks })
  }

  #refuse(start: number, tag: number): void {
    const { failedAt, reason } = this.#scanner
    const code = this.#nothingToList ? 'json-no-columns' : 'json-invalid'
    this.bad = { tag, code, reason: `${reason} (byte ${failedAt - start})` }
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
