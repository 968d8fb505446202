// The fields of a line as COPY itself splits it, and each as a field of the text format with tabs: that is one layout
// for the lines of every dialect.
//
// CopyReadAttributesText and CopyReadAttributesCSV in PostgreSQL's src/backend/commands/copyfromparse.c

import type { CsvDialect } from './csv-dialect.ts'
import type { CharacterWidth } from './encodings.ts'
import { copyTo, fieldRoom, type Room, TextFields } from './field-writer.ts'
import type { Fault } from './rows.ts'

const backslash = 0x5c
const tab = 0x09

export interface FieldSplitter {
  /** How many fields the line has; -1: COPY would refuse it, `fault` tells why. */
  split(bytes: Buffer, start: number, end: number): number
  readonly fault: Fault
  /** Bytes that the fields of the line that was split last take at most. */
  readonly room: number
  writeField(out: Room, field: number): void
}

/** A field stays as it is written, escapes and all: only a tab in it has to become one. */
export class TextSplitter implements FieldSplitter {
  fault: Fault = rejected('22P04', 'end-of-copy marker corrupt')
  room = 0
  readonly #delimiter: number
  readonly #width: CharacterWidth | null
  readonly #judge: (field: Buffer) => Fault | null
  /** COPY's words for a \. that is not alone. */
  readonly #marker: Fault
  #bytes: Buffer = Buffer.alloc(0)
  /** Start and end of one after the other. */
  readonly #bounds: number[] = []

  /** @param judge whether the text that an escaped field stands for is valid in the database's encoding */
  constructor(
    delimiter: string,
    width: CharacterWidth | null,
    judge: (field: Buffer) => Fault | null,
    serverVersion: number,
  ) {
    this.#delimiter = delimiter.charCodeAt(0)
    this.#width = width
    this.#judge = judge
    const words =
      serverVersion >= 180000 ? 'end-of-copy marker is not alone on its line' : 'end-of-copy marker corrupt'
    this.#marker = rejected('22P04', words)
  }

  split(bytes: Buffer, start: number, end: number): number {
    const bounds = this.#bounds
    const delimiter = this.#delimiter
    const width = this.#width
    this.#bytes = bytes
    bounds.length = 0
    let field = start
    let numeric = false
    let escaped: Fault | null = null
    for (let p = start; ; ) {
      const byte = p < end ? bytes[p]! : delimiter
      if (byte === backslash && p < end) {
        const next = p + 1 < end ? bytes[p + 1]! : 0
        if (next === 0x2e) return this.#refuse({ ...this.#marker, at: p - start })
        if (next === 0x78 || (next >= 0x30 && next <= 0x37)) numeric = true
        p += p + 1 < end && next < 0x80 ? 2 : 1
        continue
      }
      if (byte === delimiter) {
        if (numeric) escaped ??= this.#judge(unescapeText(bytes.subarray(field, p)))
        numeric = false
        bounds.push(field, p)
        if (p >= end) break
        field = ++p
      } else {
        p += width === null || byte < 0x80 ? 1 : width(bytes, p, end)
      }
    }
    // COPY reads the whole line before it looks at any escape
    if (escaped !== null) return this.#refuse({ ...escaped, at: Number.POSITIVE_INFINITY })
    this.room = 2 * (end - start)
    return bounds.length / 2
  }

  writeField(out: Room, field: number): void {
    const bytes = this.#bytes
    const start = this.#bounds[2 * field]!
    const end = this.#bounds[2 * field + 1]!
    if (this.#delimiter === tab) {
      copyTo(out, bytes, start, end)
      return
    }
    for (let p = start; p < end; p++) {
      const byte = bytes[p]!
      if (byte === tab) {
        out.chunk[out.position++] = backslash
      } else if (byte === backslash && p + 1 < end) {
        out.chunk[out.position++] = byte
        out.chunk[out.position++] = bytes[++p]!
        continue
      }
      out.chunk[out.position++] = byte
    }
  }

  #refuse(fault: Fault): -1 {
    this.fault = fault
    return -1
  }
}

export class CsvSplitter implements FieldSplitter {
  readonly fault: Fault = rejected('22P04', 'unterminated CSV quoted field')
  room = 0
  readonly #delimiter: number
  readonly #quote: number
  readonly #escape: number
  readonly #width: CharacterWidth | null
  readonly #fields: TextFields
  /** What the fields say, one after the other. */
  #text: Buffer = Buffer.allocUnsafeSlow(4096)
  /** Where each ends. */
  readonly #ends: number[] = []
  readonly #nulls: boolean[] = []

  constructor({ options, width }: CsvDialect) {
    this.#delimiter = options.delimiter.charCodeAt(0)
    this.#quote = options.quote.charCodeAt(0)
    this.#escape = options.escape.charCodeAt(0)
    this.#width = width
    this.#fields = new TextFields('\t', width)
  }

  split(bytes: Buffer, start: number, end: number): number {
    if (this.#text.length < end - start) this.#text = Buffer.allocUnsafeSlow(2 * (end - start))
    const text = this.#text
    const width = this.#width
    this.#ends.length = this.#nulls.length = 0
    let at = 0
    let field = start
    let isQuoted = false
    let sawQuote = false
    for (let p = start; ; ) {
      if (p >= end || (!isQuoted && bytes[p] === this.#delimiter)) {
        if (isQuoted) return -1
        this.#ends.push(at)
        this.#nulls.push(!sawQuote && p === field)
        if (p >= end) break
        field = ++p
        sawQuote = false
        continue
      }
      const byte = bytes[p]!
      if (byte >= 0x80 && width !== null) {
        for (const next = p + width(bytes, p, end); p < next; p++) text[at++] = bytes[p]!
        continue
      }
      p++
      if (!isQuoted) {
        if (byte === this.#quote) isQuoted = sawQuote = true
        else text[at++] = byte
      } else if (byte === this.#escape && p < end && this.#isEscaped(bytes[p]!)) {
        text[at++] = bytes[p++]!
      } else if (byte === this.#quote) {
        isQuoted = false
      } else {
        text[at++] = byte
      }
    }
    this.room = fieldRoom(at) + 2 * this.#ends.length
    return this.#ends.length
  }

  writeField(out: Room, field: number): void {
    if (this.#nulls[field]) this.#fields.writeNull(out)
    else
      this.#fields.writeValue(out, this.#text, field === 0 ? 0 : this.#ends[field - 1]!, this.#ends[field]!)
  }

  #isEscaped(byte: number): boolean {
    return byte === this.#escape || byte === this.#quote
  }
}

/** What COPY's reader says. */
export function rejected(sqlstate: string, reason: string): Fault {
  return { code: 'message-rejected', sqlstate, reason }
}

const letters = new Map(
  ['bb\b', 'ff\f', 'nn\n', 'rr\r', 'tt\t', 'vv\v'].map((of) => [of.charCodeAt(0), of.charCodeAt(2)]),
)

/** The bytes that a field of the text format stands for. */
function unescapeText(field: Buffer): Buffer {
  const text = Buffer.alloc(field.length)
  let at = 0
  for (let p = 0; p < field.length; ) {
    const byte = field[p++]!
    if (byte !== backslash || p === field.length) {
      if (byte !== backslash) text[at++] = byte
      continue
    }
    const next = field[p++]!
    const base = next === 0x78 ? 16 : 8
    const digits = base === 16 ? /^[0-9a-fA-F]{1,2}/ : /^[0-7]{1,3}/
    const number = digits.exec(field.toString('latin1', base === 16 ? p : p - 1, p + 2))?.[0]
    if (number === undefined) {
      text[at++] = letters.get(next) ?? next
    } else {
      text[at++] = Number.parseInt(number, base)
      p += number.length - (base === 8 ? 1 : 0)
    }
  }
  return text.subarray(0, at)
}
