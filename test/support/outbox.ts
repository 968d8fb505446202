// A database with a broker, where alice may produce to `topic`, and what the outbox holds.

import { type OwnedDatabase, ownedDatabase, type RoleSession } from './owned-database.ts'

export interface OutboxRow {
  topic: string
  partition: number | null
  key: string | null
  value: string | null
  source: string | null
}

export interface OutboxDatabase extends OwnedDatabase {
  owner: RoleSession
  admin: RoleSession
  alice: RoleSession
  bob: RoleSession
  /** In the order of their numbers; bytes as text. */
  outbox(): Promise<OutboxRow[]>
  /** Of the values alone. */
  values(): Promise<unknown[]>
}

export async function outboxDatabase(t: Parameters<typeof ownedDatabase>[0]): Promise<OutboxDatabase> {
  const db = await ownedDatabase(t)
  const { roles } = db
  const owner = await db.as(roles.owner)
  await owner.run(`SELECT millrace.add_broker('localhost:9092'),
    millrace.grant_topic('topic', '${roles.alice}', action := 'produce')`)
  const values = `SELECT convert_from(value, 'UTF8') FROM millrace.outbox ORDER BY id`
  return {
    ...db,
    owner,
    admin: await db.as(roles.admin),
    alice: await db.as(roles.alice),
    bob: await db.as(roles.bob),
    values: () => db.superuser.column(values),
    outbox: async () => {
      const { rows } = await db.superuser.run(`SELECT topic, partition, convert_from(key, 'UTF8') AS key,
        convert_from(value, 'UTF8') AS value, source FROM millrace.outbox ORDER BY id`)
      return rows as unknown as OutboxRow[]
    },
  }
}
