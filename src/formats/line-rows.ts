// The lines of a text or csv message, for rows that have something before the message's own fields: where a line ends
// is COPY's decision, and its bytes are not changed. (Without a prefix the messages themselves are what is sent:
// line-encoder.ts, which refuses the same messages.)

import type { CsvDialect } from './csv-dialect.ts'
import type { CharacterWidth } from './encodings.ts'
import { copyTo, type FieldWriter, fieldRoom, type Room } from './field-writer.ts'
import { backslash, carriageReturn, dot, isLineEnd, newline } from './line-encoder.ts'
import {
  copyEndMarker,
  csvCarriageReturn,
  openQuote,
  textCarriageReturn,
  trailingBackslash,
} from './line-faults.ts'
import type { Message } from './message.ts'
import { type Fault, keyless, type Rows, remove, upsert } from './rows.ts'

/** Where the lines of a message are, their line ends apart. */
export interface Lines {
  /** Start and end of one after the other. */
  readonly bounds: number[]
  readonly fault: Fault
  /** @returns false when the message is bad */
  read(bytes: Buffer, start: number, end: number): boolean
}

const noColumns: readonly number[] = []

export class LineRows implements Rows {
  op = upsert
  readonly absent = noColumns
  readonly columns: string[]
  fault: Fault = openQuote
  readonly #lines: Lines
  readonly #writer: FieldWriter
  /** The number of the column that takes the key; -1: there is none, or there are several. */
  readonly #keyColumn: number
  #bytes: Buffer = Buffer.alloc(0)
  #start = 0
  #end = 0
  #tombstone = false

  constructor(lines: Lines, writer: FieldWriter, columns: string[], keyColumns: string[]) {
    this.#lines = lines
    this.#writer = writer
    this.columns = columns
    this.#keyColumn = keyColumns.length === 1 ? columns.indexOf(keyColumns[0]!) : -1
  }

  read(bytes: Buffer, start: number, end: number): number {
    this.op = upsert
    this.#tombstone = false
    this.#bytes = bytes
    if (this.#lines.read(bytes, start, end)) return this.#lines.bounds.length / 2
    this.fault = this.#lines.fault
    return -1
  }

  readTombstone(message: Message | null, key: boolean): number {
    this.#tombstone = true
    this.op = key ? remove : upsert
    this.#start = -1
    if (!key) return 1
    if (message === null || message.keyStart < 0 || this.#keyColumn < 0) {
      this.fault = keyless(message)
      return -1
    }
    this.#bytes = message.bytes
    this.#start = message.keyStart
    this.#end = message.keyEnd
    return 1
  }

  select(row: number): number {
    if (this.#tombstone) return 3 * this.columns.length + fieldRoom(Math.max(0, this.#end - this.#start))
    const { bounds } = this.#lines
    this.#start = bounds[2 * row]!
    this.#end = bounds[2 * row + 1]!
    return this.#end - this.#start
  }

  write(out: Room): void {
    if (this.#tombstone) this.#writeTombstone(out)
    else copyTo(out, this.#bytes, this.#start, this.#end)
  }

  #writeTombstone(out: Room): void {
    const writer = this.#writer
    for (let column = 0; column < this.columns.length; column++) {
      if (column > 0) out.chunk[out.position++] = writer.delimiter
      if (column !== this.#keyColumn || this.#start < 0) writer.writeNull(out)
      else writer.writeValue(out, this.#bytes, this.#start, this.#end)
    }
  }
}

abstract class LineReader implements Lines {
  readonly bounds: number[] = []
  fault: Fault = openQuote

  abstract read(bytes: Buffer, start: number, end: number): boolean

  protected refuse(fault: Fault): false {
    this.fault = fault
    return false
  }

  /** Where the message's last line ends, its newline apart. */
  protected stopOf(bytes: Buffer, end: number): number {
    return bytes[end - 1] === newline ? end - 1 : end
  }
}

export class TextLines extends LineReader {
  readonly #width: CharacterWidth | null

  constructor(width: CharacterWidth | null) {
    super()
    this.#width = width
  }

  read(bytes: Buffer, start: number, end: number): boolean {
    const bounds = this.bounds
    const width = this.#width
    const stop = this.stopOf(bytes, end)
    let line = start
    bounds.length = 0
    for (let p = start; p < stop; ) {
      const byte = bytes[p]!
      if (byte === backslash) {
        if (p + 1 === stop) return this.refuse(trailingBackslash)
        const next = bytes[p + 1]!
        if (next === dot && (p + 2 === stop || isLineEnd(bytes[p + 2]!))) {
          return this.refuse(copyEndMarker)
        }
        p += next < 0x80 ? 2 : 1
      } else if (byte === newline) {
        bounds.push(line, p)
        line = ++p
      } else if (byte === carriageReturn) {
        if (p + 1 === stop) {
          bounds.push(line, p)
          return true
        }
        if (bytes[p + 1] !== newline) return this.refuse(textCarriageReturn)
        bounds.push(line, p)
        line = p += 2
      } else {
        p += width === null || byte < 0x80 ? 1 : width(bytes, p, stop)
      }
    }
    bounds.push(line, stop)
    return true
  }
}

export class CsvLines extends LineReader {
  readonly #dialect: CsvDialect

  constructor(dialect: CsvDialect) {
    super()
    this.#dialect = dialect
  }

  read(bytes: Buffer, start: number, end: number): boolean {
    const bounds = this.bounds
    const { quote, escape: escaping, width } = this.#dialect
    let stop = this.stopOf(bytes, end)
    if (stop > start && bytes[stop - 1] === carriageReturn) stop--
    let line = start
    let quoted = false
    let escaped = false
    bounds.length = 0
    for (let p = start; p < stop; ) {
      const byte = bytes[p]!
      if (byte >= 0x80 && width !== null) {
        p += width(bytes, p, stop)
        escaped = false
        continue
      }
      // COPY looks for quotes like this before it looks at fields
      if (byte === escaping) {
        escaped = quoted && !escaped
      } else {
        if (byte === quote && !escaped) quoted = !quoted
        escaped = false
      }
      p++
      if (quoted) continue
      if (byte === newline) {
        bounds.push(line, p - 1)
        line = p
      } else if (byte === carriageReturn) {
        // the one at the message's end is gone already
        if (p === stop || bytes[p] !== newline) return this.refuse(csvCarriageReturn)
        bounds.push(line, p - 1)
        line = ++p
      }
    }
    if (quoted) return this.refuse(openQuote)
    bounds.push(line, stop)
    return true
  }
}
