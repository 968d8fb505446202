// A Debezium envelope becomes what has to be done: the row after the change, the row to delete, or both, the deletion
// first, when the change gave a row another key. Create, update, delete, read (of a snapshot) and truncate are known;
// anything else is bad, since passing it over would lose a change.
//
// Events: https://debezium.io/documentation/reference/stable/connectors/postgresql.html#postgresql-events

import type { ChunkWriter } from './chunk-writer.ts'
import type { BadCode, Column } from './format.ts'
import type { ObjectOptions } from './json-column-rows.ts'
import { JsonKeyRow, SchemaEnvelope } from './json-key.ts'
import { JsonObject, sqlNull } from './json-object.ts'
import { JsonRow } from './json-row.ts'
import { JsonScanner, openBrace } from './json-scanner.ts'
import { byteOrderMark } from './json-whole-rows.ts'
import type { Message } from './message.ts'
import { type Fault, keyless, type Rows, remove, truncate, upsert } from './rows.ts'

/** What Debezium puts where PostgreSQL did not send a large value that an update left alone. */
const unavailable = Buffer.from('__debezium_unavailable_value')
/** As it looks in a text column, and in a bytea one by binary.handling.mode. */
const placeholders = [
  unavailable,
  Buffer.from(unavailable.toString('hex')),
  Buffer.from(unavailable.toString('base64')),
].flatMap((bytes) => [bytes, Buffer.from(`["${bytes}"]`), Buffer.from(`"${bytes}"`)])
const placeholderLengths = new Set(placeholders.map(({ length }) => length))

const envelopeColumns = ['op', 'before', 'after'].map(
  (name): Column => ({ name, type: 'json', hasDefault: false }),
)
const [op, before, after] = [0, 1, 2] as const

export class ChangeRows implements Rows {
  op = upsert
  fault: Fault = { code: 'change-invalid', reason: '' }
  readonly #columns: Column[]
  readonly #keyColumns: number[]
  readonly #scanner = new JsonScanner()
  readonly #schema = new SchemaEnvelope()
  readonly #envelope = new JsonObject(envelopeColumns, this.#scanner)
  readonly #before: JsonObject
  readonly #after: JsonObject
  readonly #key: JsonKeyRow
  readonly #row: JsonRow
  #start = 0
  #keyLength = 0
  /** The rows: what to do, and with which values. */
  readonly #ops: number[] = []
  readonly #objects: JsonObject[] = []
  /** Of the JSON that they are made of, in bytes. */
  readonly #lengths: number[] = []

  constructor(options: ObjectOptions) {
    const { keyColumns, restColumn = null, absence } = options
    const columns = options.columns.map(readAsText)
    this.#columns = columns
    this.#keyColumns = keyColumns.map((name) => columns.findIndex((column) => column.name === name))
    this.#before = new JsonObject(columns, this.#scanner)
    this.#after = new JsonObject(columns, this.#scanner, options)
    this.#key = new JsonKeyRow(columns, keyColumns)
    this.#row = new JsonRow(columns, restColumn, absence, this.#after)
  }

  get columns(): string[] {
    return this.#row.columns
  }

  get absent(): readonly number[] {
    return this.#row.absent
  }

  read(bytes: Buffer, start: number, end: number, message: Message | null): number {
    this.#begin(start, message)
    const scanner = this.#scanner
    let p = scanner.gap(bytes, byteOrderMark(bytes, start, end), end)
    const stop = scanner.value(bytes, p, end)
    if (stop < 0) return this.#refuseJson('json-invalid')
    if (scanner.gap(bytes, stop, end) < end) {
      scanner.fail(stop, 'something follows the event')
      return this.#refuseJson('json-invalid')
    }
    p = this.#schema.payload(bytes, p, end)
    // a tombstone that was written with its schema
    if (bytes[p] === 0x6e) return 0
    if (bytes[p] !== openBrace) return this.#refuse('no object')
    const envelope = this.#envelope
    envelope.read(bytes, p, end)
    if (!envelope.hasValue(op)) return this.#refuse('no "op"')
    const isSingle = envelope.ends[op]! - envelope.starts[op]! === 3
    return this.#readEvent(isSingle ? String.fromCharCode(bytes[envelope.starts[op]! + 1]!) : '', message)
  }

  /** The tombstone of compaction: with `key` it deletes once more what a delete event has deleted. */
  readTombstone(message: Message | null, key: boolean): number {
    this.#begin(0, message)
    const object = this.#key.object
    if (!key) {
      object.clear(object.bytes)
      object.nullMissing()
      return this.#add(upsert, object)
    }
    if (message !== null && this.#key.read(message)) return this.#add(remove, object)
    this.fault = keyless(message)
    return -1
  }

  select(row: number): number {
    this.op = this.#ops[row]!
    return this.#row.choose(this.#objects[row]!, this.#lengths[row]!)
  }

  write(out: ChunkWriter): void {
    this.#row.write(out)
  }

  #begin(start: number, message: Message | null): void {
    this.#start = start
    this.#keyLength = message === null ? 0 : message.keyEnd - message.keyStart
    this.#ops.length = this.#objects.length = this.#lengths.length = 0
  }

  /** @param member of the envelope that the object is; none: it is made of the key. @returns how many rows there are */
  #add(op: number, object: JsonObject, member = -1): number {
    const { starts, ends } = this.#envelope
    this.#lengths.push(member < 0 ? this.#keyLength : ends[member]! - starts[member]!)
    this.#objects.push(object)
    return this.#ops.push(op)
  }

  #readEvent(letter: string, message: Message | null): number {
    switch (letter) {
      case 'c':
      case 'r':
      case 'u':
        return this.#readUpsert(letter === 'u')
      case 'd':
        return this.#readDelete(message)
      case 't':
        this.#before.clear(this.#envelope.bytes)
        this.#before.nullMissing()
        return this.#add(truncate, this.#before)
      default:
        return this.#refuse('an "op" that is none of c, r, u, d, t')
    }
  }

  #readUpsert(changes: boolean): number {
    const object = this.#after
    const state = this.#state(after, object)
    if (state === 'none') return this.#refuse('no "after"')
    if (state === 'bad') return this.#refuseJson(object.code)
    const column = this.#columns.findIndex((_, i) => isUnavailable(object, i))
    if (column >= 0) {
      const { name } = this.#columns[column]!
      this.fault = {
        code: 'change-value-unavailable',
        reason: `the value of column "${name}" was not sent`,
      }
      return -1
    }
    const old = changes ? this.#state(before, this.#before) : 'none'
    if (old === 'bad') return this.#refuseJson(this.#before.code)
    if (old === 'read' && this.#changesKey()) {
      this.#before.nullMissing()
      this.#add(remove, this.#before, before)
    }
    return this.#add(upsert, object, after)
  }

  #readDelete(message: Message | null): number {
    const object = this.#before
    const identifies =
      this.#state(before, object) === 'read' && this.#keyColumns.every((column) => object.hasValue(column))
    if (identifies && this.#keyColumns.length > 0) {
      object.nullMissing()
      return this.#add(remove, object, before)
    }
    if (message !== null && this.#key.read(message)) return this.#add(remove, this.#key.object)
    this.fault = {
      code: 'change-no-key',
      reason: 'neither "before" nor the key has the columns that identify a row',
    }
    return -1
  }

  /** Reads what the envelope has. `bad`: the scanner knows why. */
  #state(member: number, object: JsonObject): 'read' | 'none' | 'bad' {
    const { bytes, starts, ends } = this.#envelope
    if (!this.#envelope.hasValue(member)) return 'none'
    const start = starts[member]!
    if (bytes[start] !== openBrace) return 'none'
    return object.read(bytes, start, ends[member]!) < 0 ? 'bad' : 'read'
  }

  /** A key that `before` does not have is the same: without REPLICA IDENTITY FULL it is there only when it changes. */
  #changesKey(): boolean {
    const old = this.#before
    const now = this.#after
    if (this.#keyColumns.length === 0) return false
    if (!this.#keyColumns.every((column) => old.hasValue(column))) return false
    return this.#keyColumns.some((column) => {
      if (!now.hasValue(column)) return false
      return !slice(old, column).equals(slice(now, column))
    })
  }

  #refuse(reason: string): -1 {
    this.fault = { code: 'change-invalid', reason: `it is no change event: ${reason}` }
    return -1
  }

  /** From what the scanner tells. */
  #refuseJson(code: BadCode): -1 {
    const { failedAt, reason } = this.#scanner
    this.fault = { code, reason: `${reason} (byte ${failedAt - this.#start})` }
    return -1
  }
}

/**
 * Debezium sends a value of json or jsonb as a string that holds the JSON (io.debezium.data.Json), a JSON string with its quotes
 * inside. So a string's content is the value, as it is for a text column; an object or array is taken as it stands.
 */
function readAsText(column: Column): Column {
  switch (column.type) {
    case 'json':
    case 'jsonb':
      return { ...column, type: 'text' }
    case 'json-array':
      return { ...column, type: 'array' }
    default:
      return column
  }
}

function slice(object: JsonObject, column: number): Buffer {
  return object.bytes.subarray(object.starts[column]!, object.ends[column]!)
}

function isUnavailable(object: JsonObject, column: number): boolean {
  if (!object.has(column) || object.ways[column] === sqlNull) return false
  if (!placeholderLengths.has(object.ends[column]! - object.starts[column]!)) return false
  const value = slice(object, column)
  return placeholders.some((placeholder) => placeholder.equals(value))
}
