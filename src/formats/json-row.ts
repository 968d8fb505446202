// A row of the columns' values of one object, in COPY's text format with tabs. No digit and no byte of a value changes
// on the way. What becomes of a column without a key is the caller's choice; null is NULL, also in a json column.

import type { ChunkWriter } from './chunk-writer.ts'
import { writeArray, writeBytes, writeString } from './copy-text.ts'
import type { Column } from './format.ts'
import { arrayLiteral, asIs, escaped, type JsonObject, sqlNull, unescaped } from './json-object.ts'
import { closeBrace, comma, openBrace, tab } from './json-scanner.ts'

const nullMarker = Buffer.from('\\N')
/** Of COPY's DEFAULT option, from version 16 on. No value is written like this: a backslash in it is doubled. */
export const defaultMarker = Buffer.from('\\D')

/**
 * How a row says that a column with a default has none: by COPY's marker, by a COPY that does not list the column, or
 * by its number, for whoever puts the default in later.
 */
export type Absence = 'marked' | 'unlisted' | 'numbered'

export class JsonRow {
  /** Of the fields. Another array: another list of columns. */
  columns: string[]
  /** With `numbered`: counted from 1. */
  readonly absent: number[] = []
  readonly #columns: Column[]
  readonly #rest: number
  readonly #absence: Absence
  readonly #hasDefaults: boolean
  #listed: Int32Array
  #object: JsonObject

  constructor(columns: Column[], restColumn: string | null, absence: Absence, object: JsonObject) {
    this.#columns = columns
    this.#rest = columns.findIndex(({ name }) => name === restColumn)
    this.#absence = absence
    this.#hasDefaults = columns.some(({ hasDefault }, i) => hasDefault && i !== this.#rest)
    this.#object = object
    this.#listed = Int32Array.from(columns.keys())
    this.columns = columns.map(({ name }) => name)
  }

  /** Takes the values of the object as it is now. @param length its bytes. @returns bytes that the row takes at most */
  choose(object: JsonObject, length: number): number {
    this.#object = object
    if (this.#hasDefaults) {
      if (this.#absence === 'unlisted') this.#chooseColumns()
      else if (this.#absence === 'numbered') this.#countAbsent()
    }
    return length * object.growth + 3 * this.#listed.length + 2
  }

  write(out: ChunkWriter): void {
    const object = this.#object
    const listed = this.#listed
    const bytes = object.bytes
    for (let i = 0; i < listed.length; i++) {
      const column = listed[i]!
      if (i > 0) out.chunk[out.position++] = tab
      if (!object.has(column)) {
        this.#writeMissing(out, column)
        continue
      }
      const start = object.starts[column]!
      const end = object.ends[column]!
      const way = object.ways[column]
      if (way === asIs) out.copy(bytes, start, end - start)
      else if (way === sqlNull) writeMarker(out, nullMarker)
      else if (way === escaped) writeBytes(out, bytes, start, end)
      else if (way === unescaped) writeString(out, bytes, start, end, false)
      else if (way === arrayLiteral) writeArray(out, bytes, start, end, this.#columns[column]!.type)
    }
  }

  #writeMissing(out: ChunkWriter, column: number): void {
    if (column === this.#rest) this.#writeRest(out)
    else if (this.#absence === 'marked' && this.#columns[column]!.hasDefault) writeMarker(out, defaultMarker)
    else writeMarker(out, nullMarker)
  }

  /** The members that are no column, each as it stands in the message. */
  #writeRest(out: ChunkWriter): void {
    const { bytes, members, membersEnd } = this.#object
    out.chunk[out.position++] = openBrace
    for (let i = 0; i < membersEnd; i += 2) {
      if (i > 0) out.chunk[out.position++] = comma
      writeBytes(out, bytes, members[i]!, members[i + 1]!)
    }
    out.chunk[out.position++] = closeBrace
  }

  #isAbsent(column: number): boolean {
    return this.#columns[column]!.hasDefault && column !== this.#rest && !this.#object.has(column)
  }

  #countAbsent(): void {
    this.absent.length = 0
    for (let column = 0; column < this.#columns.length; column++) {
      if (this.#isAbsent(column)) this.absent.push(column + 1)
    }
  }

  #chooseColumns(): void {
    let listed = 0
    let same = true
    for (let column = 0; column < this.#columns.length; column++) {
      if (!this.#isAbsent(column) && this.#listed[listed++] !== column) same = false
    }
    if (same && listed === this.#listed.length) return
    this.#listed = Int32Array.from([...this.#columns.keys()].filter((column) => !this.#isAbsent(column)))
    this.columns = Array.from(this.#listed, (column) => this.#columns[column]!.name)
  }
}

function writeMarker(out: ChunkWriter, marker: Buffer): void {
  out.chunk[out.position++] = marker[0]!
  out.chunk[out.position++] = marker[1]!
}
