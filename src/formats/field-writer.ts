// A value becomes one field of COPY's input that means exactly this value, in whichever dialect the rest of the row is
// written: the delimiter, quotes and escapes in it are data. The caller makes room first.

import { copyEscapes } from './copy-text.ts'
import type { CsvDialect } from './csv-dialect.ts'
import type { CharacterWidth } from './encodings.ts'

/** Where bytes are written: a ChunkWriter is one. */
export interface Room {
  chunk: Buffer
  position: number
}

/** A byte becomes at most two, and a field has so many more: quotes, and what makes hexadecimal of it. */
export const fieldOverhead = 8

export interface FieldWriter {
  /** The byte. */
  readonly delimiter: number
  /** A digit, and a minus, stand for themselves. */
  readonly plainDigits: boolean
  writeNull(to: Room): void
  /** Text, or any bytes, in the encoding that COPY is told. */
  writeValue(to: Room, bytes: Buffer, start: number, end: number): void
  /** As a bytea, in hexadecimal. */
  writeHex(to: Room, bytes: Buffer, start: number, end: number): void
}

const backslash = 0x5c
const digits = Buffer.from('0123456789abcdef')

export class TextFields implements FieldWriter {
  readonly delimiter: number
  /** No digit can be the delimiter of the text format. */
  readonly plainDigits: boolean
  readonly #escapes = Uint8Array.from(copyEscapes)
  readonly #width: CharacterWidth | null

  constructor(delimiter: string, width: CharacterWidth | null) {
    this.delimiter = delimiter.charCodeAt(0)
    this.plainDigits = delimiter !== '-'
    if (this.delimiter !== 0x09) this.#escapes[this.delimiter] = this.delimiter
    this.#width = width
  }

  writeNull(to: Room): void {
    to.chunk[to.position++] = backslash
    to.chunk[to.position++] = 0x4e
  }

  writeValue(to: Room, bytes: Buffer, start: number, end: number): void {
    const escapes = this.#escapes
    for (let p = start; p < end; ) {
      const from = p
      while (p < end && escapes[bytes[p]!] === 0 && (this.#width === null || bytes[p]! < 0x80)) p++
      copyTo(to, bytes, from, p)
      if (p === end) return
      if (bytes[p]! >= 0x80) {
        const next = Math.min(end, p + this.#width!(bytes, p, end))
        copyTo(to, bytes, p, next)
        p = next
      } else {
        to.chunk[to.position++] = backslash
        to.chunk[to.position++] = escapes[bytes[p++]!]!
      }
    }
  }

  writeHex(to: Room, bytes: Buffer, start: number, end: number): void {
    to.chunk[to.position++] = backslash
    to.chunk[to.position++] = backslash
    to.chunk[to.position++] = 0x78
    writeHexDigits(to, bytes, start, end)
  }
}

export class CsvFields implements FieldWriter {
  readonly delimiter: number
  readonly plainDigits: boolean
  readonly #dialect: CsvDialect
  readonly #escape: number

  constructor(dialect: CsvDialect) {
    const { delimiter, quote } = dialect.options
    this.delimiter = delimiter.charCodeAt(0)
    this.plainDigits = !/[-0-9]/.test(delimiter + quote)
    this.#dialect = dialect
    this.#escape = dialect.options.escape.charCodeAt(0)
  }

  /** Nothing: a field without quotes that is empty. */
  writeNull(): void {}

  writeValue(to: Room, bytes: Buffer, start: number, end: number): void {
    const { quote, width } = this.#dialect
    to.chunk[to.position++] = quote
    for (let p = start; p < end; ) {
      const byte = bytes[p]!
      if (byte >= 0x80 && width !== null) {
        const next = Math.min(end, p + width(bytes, p, end))
        copyTo(to, bytes, p, next)
        p = next
        continue
      }
      if (byte === quote || byte === this.#escape) to.chunk[to.position++] = this.#escape
      to.chunk[to.position++] = byte
      p++
    }
    to.chunk[to.position++] = quote
  }

  writeHex(to: Room, bytes: Buffer, start: number, end: number): void {
    const hex: Room = { chunk: Buffer.allocUnsafe(2 + 2 * (end - start)), position: 0 }
    hex.chunk[hex.position++] = backslash
    hex.chunk[hex.position++] = 0x78
    writeHexDigits(hex, bytes, start, end)
    this.writeValue(to, hex.chunk, 0, hex.position)
  }
}

/** Bytes that a field of n bytes takes at most. */
export function fieldRoom(n: number): number {
  return 2 * n + fieldOverhead
}

/** The same for a bytea: two digits a byte, each of which may be escaped. */
export function hexRoom(n: number): number {
  return 4 * n + fieldOverhead
}

export function copyTo(to: Room, bytes: Buffer, start: number, end: number): void {
  if (end - start > 32) {
    bytes.copy(to.chunk, to.position, start, end)
    to.position += end - start
    return
  }
  for (let p = start; p < end; p++) to.chunk[to.position++] = bytes[p]!
}

function writeHexDigits(to: Room, bytes: Buffer, start: number, end: number): void {
  const chunk = to.chunk
  let position = to.position
  for (let p = start; p < end; p++) {
    chunk[position++] = digits[bytes[p]! >> 4]!
    chunk[position++] = digits[bytes[p]! & 15]!
  }
  to.position = position
}
