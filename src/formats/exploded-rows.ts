// Rows whose fields are judged one by one: what COPY's reader would refuse is refused here, message by message, before
// anything of it goes to a staging table. What a column's type refuses is found there.

import { ChunkPool } from './chunk-pool.ts'
import { ChunkWriter } from './chunk-writer.ts'
import { type FieldSplitter, rejected } from './field-splitter.ts'
import type { FieldWriter } from './field-writer.ts'
import { LineRows, type Lines } from './line-rows.ts'
import type { Message } from './message.ts'
import type { Fault, Rows } from './rows.ts'

/** @returns null for what COPY takes */
export type Judge = (bytes: Buffer) => Fault | null

export interface ExplodedParts {
  lines: Lines
  splitter: FieldSplitter
  /** Of the rows that are written: with tabs. */
  fields: FieldWriter
  judge: Judge
  columns: string[]
  keyColumns: string[]
}

const tab = 0x09
const lineEnd = Buffer.from('\n')

/** The lines of text and csv, split into fields. */
export class ExplodedRows extends LineRows {
  readonly #splitter: FieldSplitter
  readonly #judge: Judge
  readonly #starts: Lines
  #bytes: Buffer = Buffer.alloc(0)
  #isLine = false

  constructor({ lines, splitter, fields, judge, columns, keyColumns }: ExplodedParts) {
    super(lines, fields, columns, keyColumns)
    this.#starts = lines
    this.#splitter = splitter
    this.#judge = judge
  }

  override read(bytes: Buffer, start: number, end: number): number {
    this.#bytes = bytes
    this.#isLine = true
    const count = super.read(bytes, start, end)
    if (count < 0) {
      this.fault = { sqlstate: '22P04', ...this.fault }
      return -1
    }
    const isValid = this.#judge(bytes.subarray(start, end)) === null
    for (let row = 0; row < count; row++) {
      const invalid = isValid ? null : this.#judgeLine(row)
      const fields = this.#split(row)
      if (invalid !== null) return this.#refuse(fields < 0 ? earlier(invalid, this.#splitter.fault) : invalid)
      if (fields < 0) return this.#refuse(this.#splitter.fault)
      if (fields > this.columns.length) {
        return this.#refuse(rejected('22P04', 'extra data after last expected column'))
      }
      if (fields < this.columns.length) {
        return this.#refuse(rejected('22P04', `missing data for column "${this.columns[fields]}"`))
      }
    }
    return count
  }

  override readTombstone(message: Message | null, key: boolean): number {
    this.#isLine = false
    const count = super.readTombstone(message, key)
    if (count < 0 || !key || message === null) return count
    const invalid = this.#judge(message.bytes.subarray(message.keyStart, message.keyEnd))
    return invalid === null ? count : this.#refuse(invalid)
  }

  override select(row: number): number {
    if (!this.#isLine) return super.select(row)
    this.#split(row)
    return this.#splitter.room + this.columns.length
  }

  override write(out: ChunkWriter): void {
    if (!this.#isLine) {
      super.write(out)
      return
    }
    for (let field = 0; field < this.columns.length; field++) {
      if (field > 0) out.chunk[out.position++] = tab
      this.#splitter.writeField(out, field)
    }
  }

  /** COPY sees the line's newline, too, where a character is cut short. */
  #judgeLine(row: number): Fault | null {
    const { bounds } = this.#starts
    const line = this.#bytes.subarray(bounds[2 * row]!, bounds[2 * row + 1]!)
    return this.#judge(Buffer.concat([line, lineEnd]))
  }

  #split(row: number): number {
    const { bounds } = this.#starts
    return this.#splitter.split(this.#bytes, bounds[2 * row]!, bounds[2 * row + 1]!)
  }

  #refuse(fault: Fault): -1 {
    this.fault = fault
    return -1
  }
}

/** The line is looked at byte by byte before its fields are. */
function earlier(invalid: Fault, fault: Fault): Fault {
  return fault.at !== undefined && fault.at + 2 < invalid.at! ? fault : invalid
}

const escapedNul = Buffer.from('\\u0000')
const noPool = new ChunkPool(0)

/** Rows of JSON, or of whole values, that are in COPY's text format already. */
export class JudgedRows implements Rows {
  readonly #rows: Rows
  readonly #judge: Judge
  #fault: Fault | null = null

  constructor(rows: Rows, judge: Judge) {
    this.#rows = rows
    this.#judge = judge
  }

  get op(): number {
    return this.#rows.op
  }

  get absent(): readonly number[] {
    return this.#rows.absent
  }

  get columns(): string[] {
    return this.#rows.columns
  }

  get fault(): Fault {
    return this.#fault ?? this.#rows.fault
  }

  read(bytes: Buffer, start: number, end: number, message: Message | null): number {
    const count = this.#begin(this.#rows.read(bytes, start, end, message))
    const value = bytes.subarray(start, end)
    const isPlain = this.#judge(value) === null && !value.includes(escapedNul)
    return count > 0 && !isPlain ? this.#judgeRows(count) : count
  }

  readTombstone(message: Message | null, key: boolean): number {
    const count = this.#begin(this.#rows.readTombstone(message, key))
    return count > 0 && key ? this.#judgeRows(count) : count
  }

  select(row: number): number {
    return this.#rows.select(row)
  }

  write(out: ChunkWriter): void {
    this.#rows.write(out)
  }

  #begin(count: number): number {
    this.#fault = null
    return count
  }

  /** What COPY will read: bytes of the message that no column takes may be anything. */
  #judgeRows(count: number): number {
    for (let row = 0; row < count; row++) {
      const out = new ChunkWriter(noPool)
      out.next(this.#rows.select(row))
      this.#rows.write(out)
      this.#fault = this.#judge(out.chunk.subarray(0, out.position))
      if (this.#fault !== null) return -1
    }
    return count
  }
}
