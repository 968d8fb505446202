// The COPY statement: names and option values are always quoted, whatever they are.

import type { FormatName, Target } from './format.ts'

/** The options that are COPY's own. Null: left out. */
export interface CopyOptions {
  format: FormatName
  delimiter?: string | null
  quote?: string | null
  escape?: string | null
  default?: string | null
  encoding?: string | null
}

/** @param columns of the column list; null leaves it out */
export function copyStatement(target: Target, columns: string[] | null, options: CopyOptions): string {
  const list = columns === null ? '' : ` (${columns.map(identifier).join(', ')})`
  const settings = [`FORMAT ${options.format}`]
  for (const name of ['delimiter', 'quote', 'escape', 'default', 'encoding'] as const) {
    const value = options[name] ?? null
    if (value !== null) settings.push(`${name.toUpperCase()} ${literal(value)}`)
  }
  const relation = `${identifier(target.schema)}.${identifier(target.name)}`
  return `COPY ${relation}${list} FROM STDIN WITH (${settings.join(', ')})`
}

function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

/** Means the same whatever standard_conforming_strings is; a control character is written so that a log shows it. */
function literal(value: string): string {
  const quoted = value.replaceAll("'", "''")
  if (!/[\\\x00-\x1f]/.test(quoted)) return `'${quoted}'`
  const escaped = quoted
    .replaceAll('\\', '\\\\')
    .replaceAll('\t', '\\t')
    .replace(/[\x00-\x1f]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`)
  return `E'${escaped}'`
}
