// What the formats text and csv have in common: messages go out as they are, or, where rows have something before the
// message's own fields, line by line.

import type { ChunkPool } from './chunk-pool.ts'
import type { FieldWriter } from './field-writer.ts'
import type { Encoder, Format, FormatOptions, Segment } from './format.ts'
import { filledColumns, needsRecords, prefixOf } from './layout.ts'
import { LineRows, type Lines } from './line-rows.ts'
import { RowEncoder } from './row-encoder.ts'

export interface LineParts {
  reader: () => Lines
  fields: FieldWriter
}

/** @param runs makes the encoder of plain messages; `nulls` is a message of NULLs for one without a value */
export function lineFormat(
  options: FormatOptions,
  { reader, fields }: LineParts,
  runs: (pool: ChunkPool, nulls: Buffer | null) => Encoder,
): Pick<Format, 'needsRecords' | 'columns' | 'encoder'> {
  const columns = filledColumns(options).map(({ name }) => name)
  const { prefix = [], tombstone = 'skip', keyColumns = [] } = options
  const nulls = tombstone === 'row' ? nullsMessage(columns.length, fields) : null
  const makeRows = () => new LineRows(reader(), fields, columns, keyColumns)
  const isPlain = prefix.length === 0 && tombstone !== 'delete'
  return {
    columns,
    needsRecords: needsRecords(options, prefixOf(options, fields)),
    encoder: (pool) =>
      isPlain ? runs(pool, nulls) : new RowEncoder(pool, makeRows(), prefixOf(options, fields), tombstone),
  }
}

/** Of COPY: what the segment says, else what the options say. */
export function listOf({ columns }: FormatOptions, segment: Segment): string[] | null {
  return segment.columns ?? columns ?? null
}

function nullsMessage(columns: number, fields: FieldWriter): Buffer {
  const room = { chunk: Buffer.alloc(3 * columns + 1), position: 0 }
  for (let column = 0; column < columns; column++) {
    if (column > 0) room.chunk[room.position++] = fields.delimiter
    fields.writeNull(room)
  }
  room.chunk[room.position++] = 0x0a
  return room.chunk.subarray(0, room.position)
}
