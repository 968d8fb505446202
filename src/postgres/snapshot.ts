// How far snapshots are, for whoever may see them. Numbers stay text, as the server wrote them: they may be past 2^53.

import { setTimeout } from 'node:timers/promises'
import type pg from 'pg'
import { MillraceError } from '../errors.ts'

export interface SnapshotStatus {
  id: string
  relation: string
  state: 'pending' | 'running' | 'waiting' | 'failing' | 'done' | 'ended'
  rows: string
  blocksDone: string
  blocks: string
  waitsFor: string | null
  errorCode: string | null
  errorMessage: string | null
}

/** Milliseconds between two looks. */
const interval = 200

/** Milliseconds without any daemon after which nobody waits on: a restart takes less. */
const patience = 20_000

export function isOpen({ state }: SnapshotStatus): boolean {
  return state !== 'done' && state !== 'ended'
}

/** @param ids null: all that there are */
export async function readSnapshots(client: pg.ClientBase, ids: string[] | null): Promise<SnapshotStatus[]> {
  const { rows } = await client.query<SnapshotStatus>(
    `SELECT id, relation, state, rows, blocks_done AS "blocksDone", blocks, waits_for AS "waitsFor",
            error_code AS "errorCode", error_message AS "errorMessage"
       FROM millrace.snapshots WHERE $1::bigint[] IS NULL OR id = ANY ($1) ORDER BY id`,
    [ids],
  )
  return rows
}

/** Follows those that are open to their end. @throws MillraceError no-daemon */
export async function followSnapshots(
  client: pg.ClientBase,
  ids: string[] | null,
  show: (snapshots: SnapshotStatus[]) => void,
): Promise<SnapshotStatus[]> {
  let followed = (await readSnapshots(client, ids)).filter((one) => ids !== null || isOpen(one))
  let seen = performance.now()
  for (;;) {
    show(followed)
    if (!followed.some(isOpen)) return followed
    if (await isDaemonConnected(client)) seen = performance.now()
    if (performance.now() - seen > patience)
      throw new MillraceError('no-daemon', {
        reason: 'no daemon is connected to this database; snapshots wait for one',
      })
    await setTimeout(interval)
    followed = await readSnapshots(
      client,
      followed.map(({ id }) => id),
    )
  }
}

export async function isDaemonConnected(client: pg.ClientBase): Promise<boolean> {
  const { rows } = await client.query<{ connected: boolean }>(
    'SELECT millrace.daemon_connected() AS connected',
  )
  return rows[0]?.connected ?? false
}
