// json: whole messages into a relation whose only column takes them, objects into the columns of any other. Either way
// COPY gets its text format with a fixed delimiter, in UTF-8, which is what JSON is.

import { copyStatement } from './copy-statement.ts'
import type { Format, FormatOptions } from './format.ts'
import { defaultMarker, JsonColumnsEncoder } from './json-columns.ts'
import { JsonWholeEncoder } from './json-whole.ts'

export function createJson({ target, serverVersion }: FormatOptions): Format {
  const options = { format: 'text', delimiter: '\t', encoding: 'UTF8' } as const
  const only = target.columns.length === 1 ? target.columns[0] : undefined
  if (only && ['json', 'jsonb', 'text'].includes(only.type)) {
    return {
      name: 'json',
      encoder: (pool) => new JsonWholeEncoder(pool, only),
      copyStatement: ({ columns }) => copyStatement(target, columns, options),
    }
  }
  const marksDefaults = serverVersion >= 160000
  // without a default in the relation the option would only cost COPY time
  const marker =
    marksDefaults && target.columns.some(({ hasDefault }) => hasDefault) ? `${defaultMarker}` : null
  return {
    name: 'json',
    encoder: (pool) => new JsonColumnsEncoder(pool, target.columns, marksDefaults),
    copyStatement: ({ columns }) => copyStatement(target, columns, { ...options, default: marker }),
  }
}
