// The columns by which a record's key says which row it is about: an object with a member for each, plain or as the
// payload of a schema, or a scalar where one column is enough. Text that is no JSON is a scalar, too.

import type { Column } from './format.ts'
import { JsonObject } from './json-object.ts'
import { JsonScanner, openBrace } from './json-scanner.ts'
import type { Message } from './message.ts'

export class JsonKeyRow {
  /** The key columns; all others are NULL. */
  readonly object: JsonObject
  readonly #scanner = new JsonScanner()
  readonly #envelope = new SchemaEnvelope()
  /** Of the key columns. */
  readonly #numbers: number[]

  constructor(columns: Column[], keyColumns: string[]) {
    this.object = new JsonObject(columns, this.#scanner)
    this.#numbers = keyColumns.map((name) => columns.findIndex((column) => column.name === name))
  }

  /** @returns whether the key has all the columns */
  read({ bytes, keyStart, keyEnd }: Message): boolean {
    const object = this.object
    const numbers = this.#numbers
    object.clear(bytes)
    if (keyStart < 0 || numbers.length === 0 || !this.#fill(bytes, keyStart, keyEnd)) return false
    if (!numbers.every((column) => object.hasValue(column))) return false
    object.nullMissing((column) => numbers.includes(column))
    return true
  }

  #fill(bytes: Buffer, start: number, end: number): boolean {
    const scanner = this.#scanner
    const object = this.object
    const single = this.#numbers.length === 1 ? this.#numbers[0]! : -1
    let p = scanner.gap(bytes, start, end)
    const after = scanner.value(bytes, p, end)
    if (after < 0 || scanner.gap(bytes, after, end) < end) {
      if (single >= 0) object.setText(bytes, start, end, single)
      return single >= 0
    }
    p = this.#envelope.payload(bytes, p, end)
    if (bytes[p] === openBrace) return object.read(bytes, p, end) >= 0
    return single >= 0 && object.setValue(bytes, p, end, single) >= 0
  }
}

/** What Kafka Connect's JsonConverter writes with schemas.enable: {"schema": ..., "payload": ...}. */
export class SchemaEnvelope {
  readonly #object = new JsonObject(
    ['schema', 'payload'].map((name) => ({ name, type: 'json', hasDefault: false })),
    new JsonScanner(),
    { unknownKeys: 'error', missingKeys: 'error' },
  )

  /** @param p at a valid value. @returns where its payload begins; `p` when it is none of these */
  payload(bytes: Buffer, p: number, end: number): number {
    if (bytes[p] !== openBrace || this.#object.read(bytes, p, end) < 0) return p
    return this.#object.starts[1]!
  }
}
