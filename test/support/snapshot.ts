// What millrace.snapshots says of the one snapshot that there is.
import assert from 'node:assert/strict'
import type { Database } from './database.ts'
import { eventually } from './eventually.ts'

export interface SnapshotRow {
  id: string
  relation: string
  state: string
  rows: string
  blocks_done: string
  blocks: string
  locked_rows: string
  waits_for: string | null
  error_code: string | null
  error_message: string | null
}

export async function snapshotOf(db: Pick<Database, 'query'>): Promise<SnapshotRow> {
  const { rows } = await db.query<SnapshotRow>('SELECT * FROM millrace.snapshots')
  assert.equal(rows.length, 1, 'one snapshot')
  return rows[0]!
}

export async function untilSnapshot(
  db: Pick<Database, 'query'>,
  state: string,
  options: { deadline?: number } = { deadline: 60_000 },
): Promise<SnapshotRow> {
  let last: SnapshotRow | undefined
  const there = async () => {
    last = await snapshotOf(db)
    return last.state === state && last
  }
  return eventually(`the snapshot is ${state}`, there, options).catch((error) => {
    throw new Error(`${error.message}; it is ${JSON.stringify(last)}`, { cause: error })
  })
}
