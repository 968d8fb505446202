// json: whole messages into a relation whose only column takes them, objects into the columns of any other, and change
// events into what they change. Either way COPY gets its text format with a fixed delimiter, in UTF-8, which is what
// JSON is.

import { ChangeRows } from './change-rows.ts'
import { copyStatement } from './copy-statement.ts'
import type { Column, Format, FormatOptions } from './format.ts'
import { JsonColumnRows, type ObjectOptions } from './json-column-rows.ts'
import { parseJsonPath } from './json-path.ts'
import { type Absence, defaultMarker } from './json-row.ts'
import { JsonWholeRows } from './json-whole-rows.ts'
import { filledColumns, needsRecords, prefixOf, tabFields } from './layout.ts'
import { RowEncoder } from './row-encoder.ts'
import type { Rows } from './rows.ts'
import { ValueRows } from './value-rows.ts'

export function createJson(options: FormatOptions): Format {
  const { target, tombstone } = options
  const columns = filledColumns(options)
  const absence = absenceOf(options)
  // without a default in the relation the option would only cost COPY time
  const marks = absence === 'marked' && columns.some(({ hasDefault }) => hasDefault)
  const settings = { format: 'text', delimiter: '\t', encoding: 'UTF8' } as const
  const makeRows = jsonRows(options, absence)
  const fields = tabFields(options)
  const names = columns.map(({ name }) => name)
  return {
    name: 'json',
    needsRecords: needsRecords(options, prefixOf(options, fields)),
    columns: names,
    encoder: (pool) => new RowEncoder(pool, makeRows(), prefixOf(options, fields), tombstone),
    copyStatement: (segment) =>
      copyStatement(target, segment.columns, { ...settings, default: marks ? `${defaultMarker}` : null }),
  }
}

/**
 * What makes rows of a message, one maker for each encoder.
 * @throws MillraceError json-path-invalid
 */
export function jsonRows(options: FormatOptions, absence: Absence): () => Rows {
  const columns = filledColumns(options)
  const path = options.jsonPath ? parseJsonPath(options.jsonPath) : null
  const whole = wholeColumn(options, columns)
  if (whole?.type === 'bytea') return () => new ValueRows(whole, tabFields(options))
  if (whole) return () => new JsonWholeRows(whole, path)
  const needsColumn =
    absence === 'unlisted' &&
    !options.prefix?.length &&
    columns.length > 0 &&
    columns.every(({ name, hasDefault }) => hasDefault && name !== options.restColumn)
  const { keyColumns = [], restColumn = null, unknownKeys, missingKeys } = options
  const rules: ObjectOptions = {
    columns,
    absence,
    needsColumn,
    path,
    keyColumns,
    restColumn,
    ...(unknownKeys ? { unknownKeys } : {}),
    ...(missingKeys ? { missingKeys } : {}),
  }
  return options.mode === 'changes' ? () => new ChangeRows(rules) : () => new JsonColumnRows(rules)
}

function absenceOf({ prefix = [], serverVersion }: FormatOptions): Absence {
  if (prefix.some(({ field }) => field === 'absent')) return 'numbered'
  return serverVersion >= 160000 ? 'marked' : 'unlisted'
}

/** The column that takes whole messages: one that is said to, or the only one there is. */
function wholeColumn(options: FormatOptions, columns: Column[]): Column | null {
  const { value, restColumn, mode = 'insert' } = options
  if (value) return value
  const only =
    columns.length === 1 && !options.columns && !restColumn && mode === 'insert' ? columns[0]! : null
  return only && ['json', 'jsonb', 'text'].includes(only.type) ? only : null
}
