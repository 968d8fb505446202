// A message becomes the one json, jsonb or text value of a row, byte for byte but for the newline at its end. A message
// of several JSON values, each on lines of its own, is as many rows, and so is what a path leads to, if it is an array.
// Without a path what is no JSON goes on as it is: in a json or jsonb column PostgreSQL itself says what is wrong with
// it, and a text column takes it.

import type { ChunkWriter } from './chunk-writer.ts'
import { copyEscapes, writeBytes } from './copy-text.ts'
import type { Column } from './format.ts'
import { JsonFinder, type JsonPath } from './json-path.ts'
import { carriageReturn, closeBracket, JsonScanner, lineFeed, openBracket } from './json-scanner.ts'
import { type Fault, type Rows, upsert } from './rows.ts'

const none: readonly number[] = []

export class JsonWholeRows implements Rows {
  readonly op = upsert
  readonly absent = none
  readonly columns: string[]
  fault: Fault = { code: 'json-invalid', reason: '' }
  readonly #column: Column
  readonly #scanner = new JsonScanner()
  readonly #finder: JsonFinder | null
  #bytes: Buffer = Buffer.alloc(0)
  /** Start and end of the rows' values. */
  readonly #bounds: number[] = []
  /** Up to it there is nothing to escape in the row that is selected. */
  #plain = 0
  #from = 0
  #to = 0
  /** The row is NULL. */
  #isNull = false

  constructor(column: Column, path: JsonPath | null) {
    this.#column = column
    this.columns = [column.name]
    this.#finder = path === null ? null : new JsonFinder(path, this.#scanner)
  }

  read(bytes: Buffer, start: number, end: number): number {
    this.#bytes = bytes
    this.#isNull = false
    this.#bounds.length = 0
    if (this.#finder !== null) return this.#readFound(start, end, this.#finder)
    const from = this.#column.type === 'text' ? start : byteOrderMark(bytes, start, end)
    let to = end
    if (to > from && bytes[to - 1] === lineFeed) to--
    if (to > from && bytes[to - 1] === carriageReturn) to--
    const plain = plainEnd(bytes, from, to)
    if (plain < to && this.#findValues(from, plain, to)) return this.#bounds.length / 2
    this.#from = from
    this.#to = to
    this.#plain = plain
    return 1
  }

  /** A JSON value has no key columns, so there is nothing that could be deleted. */
  readTombstone(_message: unknown, key: boolean): number {
    this.#isNull = true
    this.#bounds.length = 0
    if (!key) return 1
    this.fault = { code: 'tombstone-no-key', reason: 'a whole message has no columns that identify a row' }
    return -1
  }

  select(row: number): number {
    if (this.#isNull) return 2
    if (this.#bounds.length > 0) {
      this.#from = this.#bounds[2 * row]!
      this.#to = this.#bounds[2 * row + 1]!
      this.#plain = plainEnd(this.#bytes, this.#from, this.#to)
    }
    return this.#plain - this.#from + 2 * (this.#to - this.#plain)
  }

  write(out: ChunkWriter): void {
    if (this.#isNull) {
      out.chunk[out.position++] = 0x5c
      out.chunk[out.position++] = 0x4e
      return
    }
    out.copy(this.#bytes, this.#from, this.#plain - this.#from)
    writeBytes(out, this.#bytes, this.#plain, this.#to)
  }

  /** @returns false when it is not several values, separated by newlines; there are no bounds then */
  #findValues(start: number, plain: number, end: number): boolean {
    const bytes = this.#bytes
    if (!bytes.subarray(plain, end).includes(lineFeed)) return false
    const scanner = this.#scanner
    const bounds = this.#bounds
    for (let p = scanner.gap(bytes, start, end); p < end; ) {
      const after = scanner.value(bytes, p, end)
      if (after >= 0) bounds.push(p, after)
      p = after < 0 ? -1 : scanner.gap(bytes, after, end)
      if (p < 0 || (p < end && !bytes.subarray(after, p).includes(lineFeed))) {
        bounds.length = 0
        return false
      }
    }
    if (bounds.length < 4) bounds.length = 0
    return bounds.length > 0
  }

  #readFound(start: number, end: number, finder: JsonFinder): number {
    const bytes = this.#bytes
    const scanner = this.#scanner
    let p = scanner.gap(bytes, byteOrderMark(bytes, start, end), end)
    do {
      const after = scanner.value(bytes, p, end)
      const next = after < 0 ? -1 : scanner.gap(bytes, after, end)
      if (next >= 0 && next < end && next === after) scanner.fail(p, 'something follows the value')
      if (next < 0 || (next < end && next === after)) return this.#refuse('json-invalid', start)
      const found = finder.find(bytes, p, after)
      if (found < 0) {
        scanner.fail(p, 'json_path leads to nothing')
        return this.#refuse('json-no-match', start)
      }
      this.#addValues(found, end)
      p = next
    } while (p < end)
    return this.#bounds.length / 2
  }

  /** The value at `p`, which is valid, or those in it if it is an array. */
  #addValues(p: number, end: number): void {
    const bytes = this.#bytes
    const scanner = this.#scanner
    if (bytes[p] !== openBracket) {
      this.#bounds.push(p, scanner.value(bytes, p, end))
      return
    }
    p = scanner.gap(bytes, p + 1, end)
    while (bytes[p] !== closeBracket) {
      const after = scanner.value(bytes, p, end)
      this.#bounds.push(p, after)
      p = scanner.gap(bytes, after, end)
      if (bytes[p] !== closeBracket) p = scanner.gap(bytes, p + 1, end)
    }
  }

  #refuse(code: 'json-invalid' | 'json-no-match', start: number): -1 {
    const { failedAt, reason } = this.#scanner
    this.fault = { code, reason: `${reason} (byte ${failedAt - start})` }
    return -1
  }
}

function plainEnd(bytes: Buffer, from: number, to: number): number {
  let plain = from
  while (plain < to && copyEscapes[bytes[plain]!] === 0) plain++
  return plain
}

/** After the UTF-8 byte order mark, when the message begins with one: it is no part of the JSON. */
export function byteOrderMark(bytes: Buffer, start: number, end: number): number {
  const marked =
    end - start >= 3 && bytes[start] === 0xef && bytes[start + 1] === 0xbb && bytes[start + 2] === 0xbf
  return marked ? start + 3 : start
}
