// Where an object's values for the columns are, and how each gets into a row: its top-level keys name the columns, a key
// that is no column is passed over, the last of two equal keys counts. Nothing is decoded yet, and an object that was
// read can be written without any doubt left.

import type { Column } from './format.ts'
import { JsonKeys } from './json-keys.ts'
import {
  closeBrace,
  comma,
  type JsonScanner,
  openBracket,
  plainInString,
  quote,
  space,
} from './json-scanner.ts'

/** How a value gets into the row. */
export const asIs = 0
export const escaped = 1
export const unescaped = 2
export const arrayLiteral = 3
export const sqlNull = 4

export class JsonObject {
  /** By column: where its value is, and how it gets into the row. Only if `has` it. */
  readonly starts: Int32Array
  readonly ends: Int32Array
  readonly ways: Uint8Array
  /** How many bytes a byte of the object becomes at most. */
  growth = 1
  readonly #scanner: JsonScanner
  readonly #keys: JsonKeys
  /** A string stays JSON, with its quotes. */
  readonly #json: Uint8Array
  readonly #array: Uint8Array
  /** Counts the objects that were read. */
  #number = 0
  /** The object that the column's value is of. */
  readonly #filledBy: Int32Array

  constructor(columns: Column[], scanner: JsonScanner) {
    const n = columns.length
    this.starts = new Int32Array(n)
    this.ends = new Int32Array(n)
    this.ways = new Uint8Array(n)
    this.#filledBy = new Int32Array(n)
    this.#scanner = scanner
    this.#keys = new JsonKeys(
      columns.map(({ name }) => name),
      scanner,
    )
    this.#json = Uint8Array.from(columns, ({ type }) => Number(type === 'json' || type === 'jsonb'))
    this.#array = Uint8Array.from(columns, ({ type }) => Number(type === 'array'))
  }

  /** Whether the object that was read last has a value, or null, for the column. */
  has(column: number): boolean {
    return this.#filledBy[column] === this.#number
  }

  isEmpty(): boolean {
    return !this.#filledBy.includes(this.#number)
  }

  /** @param p at its brace. @returns after it; -1 when it is none: the scanner knows why */
  read(bytes: Buffer, p: number, end: number): number {
    const scanner = this.#scanner
    const keys = this.#keys
    const number = ++this.#number
    this.growth = 1
    p++
    for (let place = 0; ; place++) {
      if (p >= end || bytes[p]! <= space) p = scanner.gap(bytes, p, end)
      if (place === 0 && p < end && bytes[p] === closeBrace) return p + 1
      p = keys.read(bytes, p, end, place)
      if (p < 0) return -1
      if (p >= end || bytes[p]! <= space) p = scanner.gap(bytes, p, end)
      p = keys.column < 0 ? scanner.value(bytes, p, end) : this.#readValue(bytes, p, end, keys.column)
      if (p < 0) return -1
      if (keys.column >= 0) this.#filledBy[keys.column] = number
      if (p >= end || bytes[p]! <= space) p = scanner.gap(bytes, p, end)
      const next = p < end ? bytes[p] : 0
      if (next === closeBrace) return p + 1
      if (next !== comma) return scanner.fail(p, ', or } is missing')
      p++
    }
  }

  #readValue(bytes: Buffer, p: number, end: number, column: number): number {
    const scanner = this.#scanner
    const first = p < end ? bytes[p]! : 0
    const json = this.#json[column]!
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
      else if (first === openBracket && this.#array[column] === 1) way = arrayLiteral
      else if (scanner.special) way = escaped
    }
    if (after < 0) return -1
    if (way !== asIs) {
      if ((way === unescaped || way === arrayLiteral) && scanner.loneSurrogateAt >= 0) {
        return scanner.fail(scanner.loneSurrogateAt, 'half of a surrogate pair')
      }
      this.growth = Math.max(this.growth, way === arrayLiteral ? 4 : 2)
    }
    this.ways[column] = way
    this.starts[column] = p + inner
    this.ends[column] = after - inner
    return after
  }
}
