// How far snapshots are, for whoever may see them. Numbers stay text, as the server wrote them: they may be past 2^53.

import type pg from 'pg'
import { lookUntilOver } from './daemon-presence.ts'

/** Of those that are not over. */
export const openStates = ['pending', 'running', 'waiting', 'failing'] as const

export type SnapshotState = (typeof openStates)[number] | 'done' | 'ended'

export interface SnapshotStatus {
  id: string
  relation: string
  state: SnapshotState
  rows: string
  blocksDone: string
  blocks: string
  waitsFor: string | null
  errorCode: string | null
  errorMessage: string | null
}

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
  let looked = false
  const look = async () => {
    // the first look decided which ones
    if (looked)
      followed = await readSnapshots(
        client,
        followed.map(({ id }) => id),
      )
    looked = true
    show(followed)
    return !followed.some(isOpen)
  }
  await lookUntilOver(client, look, 'snapshots wait for one')
  return followed
}
