// text: a line ends at a newline that no backslash escapes, and a message holds whole lines. No byte but a line end is
// changed: CRLF becomes LF. An escaped carriage return or newline is data and stays.
//
// COPY's reading of lines, text format: https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.2

import type { ChunkPool } from './chunk-pool.ts'
import { copyStatement } from './copy-statement.ts'
import { type CharacterWidth, embeddingWidth } from './encodings.ts'
import { TextFields } from './field-writer.ts'
import type { Format, FormatOptions } from './format.ts'
import { backslash, carriageReturn, dot, isLineEnd, LineEncoder, moveDown, newline } from './line-encoder.ts'
import { copyEndMarker, textCarriageReturn } from './line-faults.ts'
import { lineFormat, listOf } from './line-format.ts'
import { TextLines } from './line-rows.ts'
import type { Fault } from './rows.ts'

const marker = Buffer.from('\\.')

export function createText(options: FormatOptions): Format {
  const { target, encoding } = options
  const delimiter = options.delimiter ?? '\t'
  const width = embeddingWidth(encoding, options.databaseEncoding)
  const lines = { reader: () => new TextLines(width), fields: new TextFields(delimiter, width) }
  return {
    name: 'text',
    ...lineFormat(options, lines, (pool, nulls) => new TextRuns(pool, width, nulls)),
    copyStatement: (segment) =>
      copyStatement(target, listOf(options, segment), { format: 'text', delimiter, encoding }),
  }
}

class TextRuns extends LineEncoder {
  readonly #width: CharacterWidth | null
  /** 1 for a byte that the walk stops at. */
  readonly #special = new Uint8Array(256)

  constructor(pool: ChunkPool, width: CharacterWidth | null, nulls: Buffer | null) {
    super(pool, nulls)
    this.#width = width
    for (const byte of [backslash, carriageReturn, newline]) this.#special[byte] = 1
    if (width) this.#special.fill(1, 0x80)
  }

  protected override contentEnd(bytes: Buffer, start: number, stop: number): number {
    if (bytes[stop - 1] === backslash)
      return this.#escapes(bytes, start, stop) ? this.fault(this.#firstFault(bytes, start, stop)) : stop
    return this.#escapes(bytes, start, stop - 1) ? stop : stop - 1
  }

  /** Of a message that ends in a backslash; something may be wrong with an earlier line of it. */
  #firstFault(bytes: Buffer, start: number, stop: number): Fault {
    const lines = new TextLines(this.#width)
    lines.read(bytes, start, stop)
    return lines.fault
  }

  /** Whether the byte at `at` is escaped: it follows an odd number of backslashes. */
  #escapes(bytes: Buffer, start: number, at: number): boolean {
    if (this.#width !== null) return this.#escapesAfterWideCharacters(bytes, start, at, this.#width)
    let first = at
    while (first > start && bytes[first - 1] === backslash) first--
    return ((at - first) & 1) === 1
  }

  /** A backslash before it may be half of a character, so this starts at the beginning. */
  #escapesAfterWideCharacters(bytes: Buffer, start: number, at: number, width: CharacterWidth): boolean {
    let escaped = false
    for (let p = start; p < at; ) {
      const byte = bytes[p]!
      escaped = byte === backslash && !escaped
      p += byte < 0x80 ? 1 : width(bytes, p, at)
    }
    return escaped
  }

  protected override isSuspicious(run: Buffer): boolean {
    return run.includes(carriageReturn) || run.includes(marker)
  }

  protected override mend(chunk: Buffer, read: number, end: number, write: number): number {
    const special = this.#special
    const last = end - 1
    for (;;) {
      const from = read
      // the newline at the end stops it
      while (special[chunk[read]!] === 0) read++
      write = moveDown(chunk, write, from, read)
      const byte = chunk[read]!
      if (byte === newline) {
        chunk[write++] = byte
        if (read++ === last) return write
      } else if (byte === backslash) {
        const next = chunk[read + 1]!
        if (next === dot && isLineEnd(chunk[read + 2]!)) {
          return this.fault(copyEndMarker)
        }
        chunk[write++] = byte
        read++
        if (next < 0x80) {
          chunk[write++] = next
          read++
        }
      } else if (byte === carriageReturn) {
        // the one at the message's end is gone already
        if (chunk[read + 1] !== newline || read + 1 === last) {
          return this.fault(textCarriageReturn)
        }
        read++
      } else {
        const width = this.#width!(chunk, read, last)
        write = moveDown(chunk, write, read, read + width)
        read += width
      }
    }
  }
}
