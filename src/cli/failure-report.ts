// Messages that could not be loaded, and why, in lines for people.

import type { FailureReason } from '../postgres/request.ts'
import { type Column, table } from './table.ts'

const columns: readonly Column[] = [
  { title: 'PARTITION', align: 'right' },
  { title: 'OFFSET', align: 'right' },
  { title: 'SQLSTATE', align: 'left' },
  { title: 'REASON', align: 'left' },
]

/** @param failed how many there are; the reasons may be those of the first ones only */
export function failureLines(reasons: FailureReason[], failed: number): string[] {
  if (reasons.length === 0) return []
  const rows = reasons.map(({ partition, offset, code, sqlstate, message }) => [
    String(partition),
    offset,
    sqlstate ?? '-',
    sqlstate === null ? `${code}: ${message}` : message,
  ])
  const more = failed > reasons.length ? [`... and ${failed - reasons.length} more`] : []
  return ['', ...table(columns, rows), ...more]
}
