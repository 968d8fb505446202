// Where an object's values for the columns are, and how each gets into a row: its top-level keys name the columns, the
// last of two equal keys counts. Nothing is decoded yet, and an object that was read can be written without any doubt
// left.

import type { BadCode, Column } from './format.ts'
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

/** What is asked of an object's keys; by default nothing is. */
export interface KeyRules {
  /** The column that takes an object of the keys that are no column; it has no key of its own. */
  restColumn?: string | null
  unknownKeys?: 'ignore' | 'error'
  missingKeys?: 'default' | 'error'
}

export class JsonObject {
  /** What was read last. */
  bytes: Buffer = Buffer.alloc(0)
  /** By column: where its value is, and how it gets into the row. Only if `has` it. */
  readonly starts: Int32Array
  readonly ends: Int32Array
  readonly ways: Uint8Array
  /** With a rest column: where the members that are no column are, start and end of one after the other. */
  readonly members: number[] = []
  /** How many numbers of `members` are of this object. */
  membersEnd = 0
  /** How many bytes a byte of the object becomes at most. */
  growth = 1
  /** Of what the scanner tells when `read` fails. */
  code: BadCode = 'json-invalid'
  readonly #scanner: JsonScanner
  readonly #keys: JsonKeys
  readonly #names: string[]
  /** A string stays JSON, with its quotes. */
  readonly #json: Uint8Array
  readonly #array: Uint8Array
  readonly #rest: number
  readonly #refusesUnknown: boolean
  readonly #refusesMissing: boolean
  /** Counts the objects that were read. */
  #number = 0
  /** The object that the column's value is of. */
  readonly #filledBy: Int32Array

  constructor(columns: Column[], scanner: JsonScanner, rules: KeyRules = {}) {
    const n = columns.length
    this.starts = new Int32Array(n)
    this.ends = new Int32Array(n)
    this.ways = new Uint8Array(n)
    this.#filledBy = new Int32Array(n)
    this.#scanner = scanner
    this.#names = columns.map(({ name }) => name)
    this.#rest = columns.findIndex(({ name }) => name === rules.restColumn)
    this.#refusesUnknown = rules.unknownKeys === 'error' && this.#rest < 0
    this.#refusesMissing = rules.missingKeys === 'error'
    this.#keys = new JsonKeys(
      this.#names.map((name, column) => (column === this.#rest ? null : name)),
      scanner,
    )
    this.#json = Uint8Array.from(columns, ({ type }) => Number(type === 'json' || type === 'jsonb'))
    this.#array = Uint8Array.from(columns, ({ type }) => Number(/array$/.test(type)))
  }

  /** Whether the object that was read last has a value, or null, for the column. */
  has(column: number): boolean {
    return this.#filledBy[column] === this.#number
  }

  /** Whether it has one that is not null. */
  hasValue(column: number): boolean {
    return this.has(column) && this.ways[column] !== sqlNull
  }

  isEmpty(): boolean {
    return !this.#filledBy.includes(this.#number)
  }

  /** Becomes an object without keys. */
  clear(bytes: Buffer): void {
    this.bytes = bytes
    this.#number++
    this.growth = 1
    this.membersEnd = 0
  }

  /** Gives every column that has no value NULL, and every column for which `keeps` says no. */
  nullMissing(keeps: (column: number) => boolean = () => true): void {
    for (let column = 0; column < this.#names.length; column++) {
      if (this.has(column) && keeps(column)) continue
      this.#filledBy[column] = this.#number
      this.ways[column] = sqlNull
    }
  }

  /** @param p at its brace. @returns after it; -1 when it is none: the scanner knows why */
  read(bytes: Buffer, p: number, end: number): number {
    const start = p
    const scanner = this.#scanner
    const keys = this.#keys
    this.clear(bytes)
    const number = this.#number
    this.code = 'json-invalid'
    p++
    for (let place = 0; ; place++) {
      if (p >= end || bytes[p]! <= space) p = scanner.gap(bytes, p, end)
      if (place === 0 && p < end && bytes[p] === closeBrace) break
      const member = p
      p = keys.read(bytes, p, end, place)
      if (p < 0) return -1
      if (p >= end || bytes[p]! <= space) p = scanner.gap(bytes, p, end)
      const column = keys.column
      p = column < 0 ? this.#passValue(bytes, member, p, end) : this.readValue(bytes, p, end, column)
      if (p < 0) return -1
      if (column >= 0) this.#filledBy[column] = number
      if (p >= end || bytes[p]! <= space) p = scanner.gap(bytes, p, end)
      const next = p < end ? bytes[p] : 0
      if (next === closeBrace) break
      if (next !== comma) return scanner.fail(p, ', or } is missing')
      p++
    }
    return this.#refusesMissing && !this.#isComplete(start) ? -1 : p + 1
  }

  /** Any value, for the column. @returns after it; -1 when it is none */
  readValue(bytes: Buffer, p: number, end: number, column: number): number {
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

  /** Gives the column the text of these bytes as they are. */
  setText(bytes: Buffer, start: number, end: number, column: number): void {
    this.bytes = bytes
    this.growth = Math.max(this.growth, 2)
    this.ways[column] = escaped
    this.starts[column] = start
    this.ends[column] = end
    this.#filledBy[column] = this.#number
  }

  /** Gives the column the value at `p`, apart from any object. @returns after it; -1 when it is none */
  setValue(bytes: Buffer, p: number, end: number, column: number): number {
    this.bytes = bytes
    const after = this.readValue(bytes, p, end, column)
    if (after >= 0) this.#filledBy[column] = this.#number
    return after
  }

  /** The value of a key that is no column. @param member where its key begins */
  #passValue(bytes: Buffer, member: number, p: number, end: number): number {
    const scanner = this.#scanner
    if (this.#refusesUnknown) {
      this.code = 'json-unknown-key'
      return scanner.fail(member, 'a key that is no column')
    }
    p = scanner.value(bytes, p, end)
    if (p >= 0 && this.#rest >= 0) {
      this.members[this.membersEnd++] = member
      this.members[this.membersEnd++] = p
      this.growth = Math.max(this.growth, 2)
    }
    return p
  }

  /** @param start where the object begins */
  #isComplete(start: number): boolean {
    const missing = this.#names.findIndex((_, column) => column !== this.#rest && !this.has(column))
    if (missing < 0) return true
    this.code = 'json-missing-key'
    this.#scanner.fail(start, `no key for column "${this.#names[missing]}"`)
    return false
  }
}
