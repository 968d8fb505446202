// How snapshots read: a line for each table, then what they wait for or what is wrong with them, in full.

import { errorCodes, isErrorCode } from '../errors.ts'
import type { SnapshotStatus } from '../postgres/snapshot.ts'
import { type Column, plain, table } from './table.ts'

const columns: readonly Column[] = [
  { title: 'ID', align: 'right' },
  { title: 'TABLE', align: 'left' },
  { title: 'STATE', align: 'left' },
  { title: 'ROWS', align: 'right' },
  { title: 'BLOCKS', align: 'right' },
  { title: 'OF', align: 'right' },
]

export function snapshotLines(found: SnapshotStatus[]): string[] {
  const rows = found.map(({ id, relation, state, rows, blocksDone, blocks }) => [
    ...[id, relation, state, rows, blocksDone, blocks],
  ])
  return [...table(columns, rows), ...found.flatMap(remarkLines)]
}

/** What hinders it, in one line; empty: nothing does. */
export function remarkOn({ waitsFor, errorCode, errorMessage }: SnapshotStatus): string {
  if (errorCode !== null) return `${errorCode}: ${errorMessage}`
  return waitsFor === null ? '' : `waits for ${waitsFor}`
}

function remarkLines(one: SnapshotStatus): string[] {
  const remark = remarkOn(one)
  if (remark === '') return []
  const { relation, errorCode } = one
  const known = errorCode !== null && isErrorCode(errorCode)
  return ['', plain(`${relation}: ${remark}`), ...(known ? [`  hint: ${errorCodes[errorCode].hint}`] : [])]
}
