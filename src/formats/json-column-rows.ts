// An object becomes a row. A message is one object or several, one after the other or in an array, or what a path in it
// leads to: all of its objects are rows or none.

import type { ChunkWriter } from './chunk-writer.ts'
import type { BadCode, Column } from './format.ts'
import { JsonKeyRow } from './json-key.ts'
import { JsonObject, type KeyRules } from './json-object.ts'
import { JsonFinder, type JsonPath } from './json-path.ts'
import { type Absence, JsonRow } from './json-row.ts'
import { closeBracket, comma, JsonScanner, openBrace, openBracket } from './json-scanner.ts'
import { byteOrderMark } from './json-whole-rows.ts'
import type { Message } from './message.ts'
import { type Fault, keyless, type Rows, remove, upsert } from './rows.ts'

export interface ObjectOptions extends KeyRules {
  columns: Column[]
  absence: Absence
  /** An object that fills no column cannot be a row then: COPY cannot list no column at all. */
  needsColumn: boolean
  path: JsonPath | null
  /** What a tombstone's key fills. */
  keyColumns: string[]
}

export class JsonColumnRows implements Rows {
  op = upsert
  fault: Fault = { code: 'json-invalid', reason: '' }
  readonly #needsColumn: boolean
  readonly #scanner = new JsonScanner()
  readonly #object: JsonObject
  readonly #row: JsonRow
  readonly #finder: JsonFinder | null
  readonly #key: JsonKeyRow
  /** What the row that is written is made of: the message's object, or what the key gives. */
  #chosen: JsonObject
  #bytes: Buffer = Buffer.alloc(0)
  #start = 0
  #end = 0
  /** Where the objects begin: the first `#count` numbers. */
  readonly #objects: number[] = []
  #count = 0
  /** Which of them was read last, and its length. */
  #present = 0
  #length = 0

  constructor(options: ObjectOptions) {
    const { columns, restColumn = null, absence, path } = options
    this.#needsColumn = options.needsColumn
    this.#object = new JsonObject(columns, this.#scanner, options)
    this.#row = new JsonRow(columns, restColumn, absence, this.#object)
    this.#finder = path === null ? null : new JsonFinder(path, this.#scanner)
    this.#key = new JsonKeyRow(columns, options.keyColumns)
    this.#chosen = this.#object
  }

  get columns(): string[] {
    return this.#row.columns
  }

  get absent(): readonly number[] {
    return this.#row.absent
  }

  read(bytes: Buffer, start: number, end: number): number {
    this.op = upsert
    this.#bytes = bytes
    this.#start = start
    this.#end = end
    this.#chosen = this.#object
    this.#count = 0
    const scanner = this.#scanner
    let p = start
    if (bytes[p] !== openBrace) p = scanner.gap(bytes, byteOrderMark(bytes, start, end), end)
    let after = p
    if (this.#finder === null && bytes[p] === openBrace && p < end) {
      after = this.#readObject(p)
      if (after < 0) return -1
      after = scanner.gap(bytes, after, end)
      if (after === end) return 1
      this.#count = 0
    }
    return this.#readSeveral(p) ? this.#count : -1
  }

  readTombstone(message: Message | null, key: boolean): number {
    this.#count = this.#present = 0
    this.op = key ? remove : upsert
    this.#chosen = this.#key.object
    this.#length = message === null || message.keyStart < 0 ? 0 : message.keyEnd - message.keyStart
    if (!key) {
      this.#chosen.clear(this.#bytes)
      this.#chosen.nullMissing()
      return 1
    }
    if (message !== null && this.#key.read(message)) return 1
    this.fault = keyless(message)
    return -1
  }

  select(row: number): number {
    if (row !== this.#present) {
      this.#present = row
      const p = this.#objects[row]!
      this.#length = this.#object.read(this.#bytes, p, this.#end) - p
    }
    return this.#row.choose(this.#chosen, this.#length)
  }

  write(out: ChunkWriter): void {
    this.#row.write(out)
  }

  /** Values one after the other, each of them an object or an array of objects, or with one where the path leads. */
  #readSeveral(p: number): boolean {
    const scanner = this.#scanner
    const bytes = this.#bytes
    const end = this.#end
    if (p >= end) return this.#isObject(p)
    while (p < end) {
      const after = this.#finder === null ? this.#readValue(p) : this.#readFound(p, this.#finder)
      if (after < 0) return false
      p = scanner.gap(bytes, after, end)
      if (p === after && p < end) {
        scanner.fail(p, 'something follows the object')
        this.#setFault('json-invalid')
        return false
      }
    }
    return true
  }

  #readFound(p: number, finder: JsonFinder): number {
    const after = this.#scanner.value(this.#bytes, p, this.#end)
    if (after < 0) return this.#setFault('json-invalid')
    const found = finder.find(this.#bytes, p, after)
    if (found < 0) {
      this.#scanner.fail(p, 'json_path leads to nothing')
      return this.#setFault('json-no-match')
    }
    return this.#readValue(found) < 0 ? -1 : after
  }

  /** An object, or an array of objects. @returns after it; -1 when it is none */
  #readValue(p: number): number {
    if (this.#bytes[p] !== openBracket) return this.#isObject(p) ? this.#readObject(p) : -1
    const scanner = this.#scanner
    const bytes = this.#bytes
    const end = this.#end
    p = scanner.gap(bytes, p + 1, end)
    if (bytes[p] === closeBracket && p < end) return p + 1
    for (;;) {
      if (!this.#isObject(p)) return -1
      p = this.#readObject(p)
      if (p < 0) return -1
      p = scanner.gap(bytes, p, end)
      const next = p < end ? bytes[p] : 0
      if (next === closeBracket) return p + 1
      if (next !== comma) {
        scanner.fail(p, ', or ] is missing')
        return this.#setFault('json-invalid')
      }
      p = scanner.gap(bytes, p + 1, end)
    }
  }

  /** @returns after the object at `p`, which is one more row; -1 when it cannot be one */
  #readObject(p: number): number {
    const object = this.#object
    const after = object.read(this.#bytes, p, this.#end)
    if (after < 0) return this.#setFault(object.code)
    if (this.#needsColumn && object.isEmpty()) {
      this.#scanner.fail(p, 'no key is a column, and COPY before version 16 makes no row of defaults alone')
      return this.#setFault('json-no-columns')
    }
    this.#present = this.#count
    this.#objects[this.#count++] = p
    this.#length = after - p
    return after
  }

  /** Whether an object may begin at `p`. Where none does, the fault tells whether it is JSON at all. */
  #isObject(p: number): boolean {
    const bytes = this.#bytes
    const end = this.#end
    if (p < end && bytes[p] === openBrace) return true
    const scanner = this.#scanner
    const after = scanner.value(bytes, p, end)
    if (after < 0) {
      this.#setFault('json-invalid')
    } else if (this.#finder === null && after < end && !endsValue(bytes[after]!)) {
      scanner.fail(after, 'something follows the value')
      this.#setFault('json-invalid')
    } else {
      scanner.fail(p, 'a value that is no object')
      this.#setFault('json-not-object')
    }
    return false
  }

  /** From what the scanner tells. */
  #setFault(code: BadCode): -1 {
    const { failedAt, reason } = this.#scanner
    this.fault = { code, reason: `${reason} (byte ${failedAt - this.#start})` }
    return -1
  }
}

/** Whitespace, and what may follow an item of an array. */
function endsValue(byte: number): boolean {
  return byte === 0x20 || (byte >= 0x09 && byte <= 0x0d) || byte === comma || byte === closeBracket
}
