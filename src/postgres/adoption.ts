// Recording what a database is, where it is not the one that was recorded. It happens as the role that the schema
// belongs to, in one transaction with everything that follows from it.

import type pg from 'pg'
import { becomeOwner, changing, checkSchema } from './schema.ts'

export interface Adoption {
  clone: boolean
  keptRunning: boolean
  /** What was another, in words; null: nothing that can be seen. */
  difference: string | null
  /** The installation's id now. */
  installation: string
  /** Consumers that were to run and are not any more. */
  stopped: number
  /** Messages of a clone's outbox that it does not send. */
  discarded: number
  /** Consumers in a group whose name was given: the original's are in the same. */
  ownGroups: { topic: string; group: string }[]
}

/** @throws MillraceError schema-missing, schema-older, schema-newer */
export async function readDifference(client: pg.ClientBase): Promise<string | null> {
  await checkSchema(client)
  const { rows } = await client.query<{ difference: string | null }>(
    'SELECT millrace.identity_difference() AS difference',
  )
  return rows[0]?.difference ?? null
}

/** @throws MillraceError schema-missing, schema-older, schema-newer, not-daemon-role, database-refused */
export async function adopt(
  client: pg.ClientBase,
  { clone, keepRunning }: { clone: boolean; keepRunning: boolean },
): Promise<Adoption> {
  await checkSchema(client)
  return changing(client, async ({ owner }) => {
    await becomeOwner(client, owner)
    const difference = await readDifference(client)
    const before = await countRunning(client)
    const unsent = clone ? await countUnsent(client) : 0
    await client.query('SELECT millrace.adopt($1, $2)', [clone, keepRunning])
    const installed = await client.query<{ id: string }>('SELECT id FROM millrace.installation')
    const groups = await client.query<{ topic: string; group: string }>(
      'SELECT topic, group_id AS "group" FROM millrace.consumer WHERE group_id IS NOT NULL ORDER BY topic, group_id',
    )
    return {
      clone,
      keptRunning: keepRunning,
      difference,
      installation: installed.rows[0]!.id,
      stopped: before - (await countRunning(client)),
      discarded: unsent,
      ownGroups: groups.rows,
    }
  })
}

async function countUnsent(client: pg.ClientBase): Promise<number> {
  const { rows } = await client.query<{ unsent: string }>(
    'SELECT coalesce(pg_catalog.sum(backlog + waiting), 0) AS unsent FROM millrace.outbox_status',
  )
  return Number(rows[0]!.unsent)
}

async function countRunning(client: pg.ClientBase): Promise<number> {
  const { rows } = await client.query<{ running: number }>(
    "SELECT pg_catalog.count(*)::integer AS running FROM millrace.consumer WHERE wanted = 'running'",
  )
  return rows[0]!.running
}
