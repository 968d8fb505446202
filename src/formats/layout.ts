// Which columns a row has: the prefix's, then those that the message fills.

import { embeddingWidth } from './encodings.ts'
import { type FieldWriter, TextFields } from './field-writer.ts'
import type { Column, FormatOptions } from './format.ts'
import { Prefix } from './prefix.ts'

/** The columns that the message fills. A name that the relation does not have is left to COPY to refuse. */
export function filledColumns({ target, prefix = [], columns, value }: FormatOptions): Column[] {
  if (value) return [value]
  if (!columns) return target.columns.filter(({ name }) => !prefix.some(({ column }) => column === name))
  const known = new Map(target.columns.map((column) => [column.name, column]))
  return columns.map((name) => known.get(name) ?? { name, type: 'other', hasDefault: false })
}

/** One for each encoder, since it counts rows. Null: no field. */
export function prefixOf(
  { format, prefix = [], encoding }: FormatOptions,
  writer: FieldWriter,
): Prefix | null {
  if (prefix.length === 0) return null
  return new Prefix(prefix, writer, format !== 'json' && !isUtf8Encoding(encoding))
}

/** @param prefix any of the format's */
export function needsRecords({ tombstone, mode }: FormatOptions, prefix: Prefix | null): boolean {
  return (tombstone ?? 'skip') !== 'skip' || mode === 'changes' || prefix?.needsRecords === true
}

/** The fields of rows that are not the messages' own lines: COPY's text format with tabs. */
export function tabFields({ format, encoding, databaseEncoding }: FormatOptions): TextFields {
  return new TextFields('\t', format === 'json' ? null : embeddingWidth(encoding, databaseEncoding))
}

/** PostgreSQL's names for UTF-8. Null is the connection's, which is that. */
export function isUtf8Encoding(encoding: string | null): boolean {
  return encoding === null || ['utf8', 'unicode'].includes(encoding.toLowerCase().replace(/[^a-z0-9]/g, ''))
}
