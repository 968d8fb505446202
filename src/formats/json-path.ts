// Where in a message its rows are: $.a.b, a.b, $['a b'].c, $.rows[*]. Member names only, and [*] at the end, which says
// that the value is an array; what the path finds otherwise may be an array too, and then is as many rows.

import { MillraceError } from '../errors.ts'
import { closeBrace, type JsonScanner, openBrace, quote } from './json-scanner.ts'

export interface JsonPath {
  /** Of members, from the outside in. */
  names: string[]
  /** Only an array will do. */
  array: boolean
}

/** @throws MillraceError json-path-invalid */
export function parseJsonPath(text: string): JsonPath {
  const path: JsonPath = { names: [], array: false }
  const invalid = (at: number) => new MillraceError('json-path-invalid', { path: text, position: at + 1 })
  const first = /^\s*(?:\$|(?=[^\s.[]))/.exec(text)
  if (!first) throw invalid(0)
  let at = first[0].length
  // without a $ the first name has no dot before it
  let bare = !first[0].endsWith('$')
  const step = /(\.)?([\p{L}\p{N}_$-]+)|\.?\[\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|(\*))\s*\]|\s+$/uy
  while (at < text.length) {
    step.lastIndex = at
    const found = step.exec(text)
    if (!found || path.array) throw invalid(at)
    const [whole, dot, name, single, double, star] = found
    if (name !== undefined) {
      if ((dot === undefined) !== bare) throw invalid(at)
      path.names.push(name)
    } else if (single !== undefined || double !== undefined) {
      path.names.push((single ?? double)!.replace(/\\(.)/gs, '$1'))
    } else if (star !== undefined) {
      path.array = true
    } else if (whole.trim() !== '') {
      throw invalid(at)
    }
    bare = false
    at += whole.length
  }
  return path
}

/** Finds the value of a path. Everything that is asked is valid JSON already. */
export class JsonFinder {
  readonly #path: JsonPath
  readonly #scanner: JsonScanner
  readonly #names: Buffer[]

  constructor(path: JsonPath, scanner: JsonScanner) {
    this.#path = path
    this.#scanner = scanner
    this.#names = path.names.map((name) => Buffer.from(name))
  }

  /** @param p at a value. @returns where the value is that the path leads to; -1: there is none */
  find(bytes: Buffer, p: number, end: number): number {
    for (let i = 0; i < this.#names.length; i++) {
      if (bytes[p] !== openBrace) return -1
      p = this.#member(bytes, p, end, i)
      if (p < 0) return -1
    }
    return this.#path.array && bytes[p] !== 0x5b ? -1 : p
  }

  /** The last member of the name, as everywhere. */
  #member(bytes: Buffer, p: number, end: number, i: number): number {
    const scanner = this.#scanner
    let found = -1
    p = scanner.gap(bytes, p + 1, end)
    while (bytes[p] === quote) {
      const after = scanner.string(bytes, p + 1, end)
      const matches = this.#isNamed(bytes, p, after, i)
      p = scanner.colon(bytes, after, end)
      if (matches) found = p
      p = scanner.gap(bytes, scanner.value(bytes, p, end), end)
      if (bytes[p] === closeBrace) break
      p = scanner.gap(bytes, p + 1, end)
    }
    return found
  }

  #isNamed(bytes: Buffer, p: number, after: number, i: number): boolean {
    const name = this.#names[i]!
    const key = bytes.subarray(p + 1, after - 1)
    if (!key.includes(0x5c)) return key.equals(name)
    return JSON.parse(bytes.toString('utf8', p, after)) === this.#path.names[i]
  }
}
