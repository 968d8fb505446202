// A message of any format is one value, as it is: every byte of it in a bytea column, else as text in the messages'
// encoding.

import type { ChunkWriter } from './chunk-writer.ts'
import { copyStatement } from './copy-statement.ts'
import { type FieldWriter, fieldRoom, hexRoom } from './field-writer.ts'
import type { Column, Format, FormatOptions } from './format.ts'
import { needsRecords, prefixOf, tabFields } from './layout.ts'
import type { Message } from './message.ts'
import { RowEncoder } from './row-encoder.ts'
import { type Fault, keyless, type Rows, upsert } from './rows.ts'

export function createValue(options: FormatOptions, column: Column): Format {
  const { format, target, tombstone, encoding } = options
  const fields = tabFields(options)
  // hexadecimal digits are the same in every encoding
  const settings = {
    format: 'text',
    delimiter: '\t',
    encoding: format === 'json' ? 'UTF8' : encoding,
  } as const
  return {
    name: format,
    needsRecords: needsRecords(options, prefixOf(options, fields)),
    columns: [column.name],
    encoder: (pool) =>
      new RowEncoder(pool, new ValueRows(column, fields), prefixOf(options, fields), tombstone),
    copyStatement: ({ columns }) => copyStatement(target, columns ?? [column.name], settings),
  }
}

export class ValueRows implements Rows {
  readonly op = upsert
  readonly absent: readonly number[] = []
  readonly columns: string[]
  fault: Fault = keyless(null)
  readonly #fields: FieldWriter
  readonly #isBytes: boolean
  #bytes: Buffer = Buffer.alloc(0)
  /** -1: the value is NULL. */
  #start = -1
  #end = -1

  constructor({ name, type }: Column, fields: FieldWriter) {
    this.columns = [name]
    this.#fields = fields
    this.#isBytes = type === 'bytea'
  }

  read(bytes: Buffer, start: number, end: number): number {
    this.#bytes = bytes
    this.#start = start
    this.#end = end
    return 1
  }

  /** Nothing in a value says which row it is about. */
  readTombstone(message: Message | null, key: boolean): number {
    this.#start = this.#end = -1
    if (!key) return 1
    this.fault = keyless(message)
    return -1
  }

  select(): number {
    const length = this.#end - this.#start
    return this.#isBytes ? hexRoom(length) : fieldRoom(length)
  }

  write(out: ChunkWriter): void {
    if (this.#start < 0) this.#fields.writeNull(out)
    else if (this.#isBytes) this.#fields.writeHex(out, this.#bytes, this.#start, this.#end)
    else this.#fields.writeValue(out, this.#bytes, this.#start, this.#end)
  }
}
