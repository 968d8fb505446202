// Which column a key names: exactly that name, no column otherwise. Producers write the keys of their objects in the
// same order every time, so a key is first compared with the one that stood in the same place in the object before,
// and looked up only when it is another one.

import { colon, type JsonScanner, quote } from './json-scanner.ts'

/** Places that are remembered, and bytes for each: `"key":`. Longer keys, and later ones, are looked up every time. */
const places = 64
const placeBytes = 64

export class JsonKeys {
  /** Of the key that `read` passed: its column, -1 for none. */
  column = -1
  readonly #columns = new Map<string, number>()
  readonly #scanner: JsonScanner
  readonly #bytes = Buffer.alloc(places * placeBytes)
  /** 0: nothing is remembered. */
  readonly #lengths = new Uint8Array(places)
  readonly #found = new Int32Array(places)

  /** @param names of the columns, in order; null: no key is this column's */
  constructor(names: (string | null)[], scanner: JsonScanner) {
    for (const [column, name] of names.entries()) {
      if (name !== null) this.#columns.set(asLatin1(name), column)
    }
    this.#scanner = scanner
  }

  /**
   * Passes a key, its colon, and the whitespace around it.
   * @param p where the key must begin
   * @param place its number in the object
   * @returns -1 when it is none: the scanner knows why
   */
  read(bytes: Buffer, p: number, end: number, place: number): number {
    if (place < places) {
      const length = this.#lengths[place]!
      if (length > 0 && p + length <= end) {
        const remembered = this.#bytes
        const base = place * placeBytes
        let i = 0
        while (i < length && bytes[p + i] === remembered[base + i]) i++
        if (i === length) {
          this.column = this.#found[place]!
          return p + i
        }
      }
    }
    return this.#lookUp(bytes, p, end, place)
  }

  #lookUp(bytes: Buffer, p: number, end: number, place: number): number {
    const scanner = this.#scanner
    if (p >= end || bytes[p] !== quote) return scanner.fail(p, 'a key is missing')
    const after = scanner.string(bytes, p + 1, end)
    if (after < 0) return -1
    let name = bytes.toString('latin1', p + 1, after - 1)
    if (name.includes('\\')) name = asLatin1(JSON.parse(bytes.toString('utf8', p, after)))
    this.column = this.#columns.get(name) ?? -1
    const length = after + 1 - p
    if (place < places && length <= placeBytes && after < end && bytes[after] === colon) {
      bytes.copy(this.#bytes, place * placeBytes, p, after + 1)
      this.#lengths[place] = length
      this.#found[place] = this.column
    }
    return scanner.colon(bytes, after, end)
  }
}

/** The name's UTF-8 bytes, a character each: what a key is before anybody decodes it. */
function asLatin1(name: string): string {
  return Buffer.from(name).toString('latin1')
}
