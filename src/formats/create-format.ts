// The format that the options ask for. Nothing below knows which formats there are.

import { createCsv } from './csv.ts'
import type { Format, FormatOptions } from './format.ts'
import { createJson } from './json.ts'
import { createText } from './text.ts'
import { createValue } from './value-rows.ts'

/** @throws MillraceError json-path-invalid */
export function createFormat(options: FormatOptions): Format {
  if (options.format === 'json') return createJson(options)
  if (options.mode === 'changes') throw new TypeError('change events are json')
  if (options.value) return createValue(options, options.value)
  return options.format === 'text' ? createText(options) : createCsv(options)
}
