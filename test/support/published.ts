// A database where alice may produce to every topic, and what a table's publication has written.

import type { Cleanup } from './cleanup.ts'
import { type OutboxDatabase, outboxDatabase } from './outbox.ts'

export interface Sent {
  topic: string
  key: string | null
  /** Parsed; null: a tombstone. */
  value: unknown
}

export interface PublishedDatabase extends OutboxDatabase {
  /** Since the last call, in the order of their numbers. */
  sent(): Promise<Sent[]>
  /** The same as `key=value`, with the values' text. */
  lines(): Promise<string[]>
  /** Of the publications. */
  problems(): Promise<unknown[]>
}

export async function publishedDatabase(t: Cleanup): Promise<PublishedDatabase> {
  const db = await outboxDatabase(t)
  await db.owner.run(`SELECT millrace.grant_topic('*', '${db.roles.alice}', action := 'produce')`)
  let seen = 0
  const fresh = async () => {
    const rows = (await db.outbox()).slice(seen)
    seen += rows.length
    return rows
  }
  return {
    ...db,
    sent: async () =>
      (await fresh()).map(({ topic, key, value }) => ({
        topic,
        key,
        value: value === null ? null : JSON.parse(value),
      })),
    lines: async () => (await fresh()).map(({ key, value }) => `${key}=${value}`),
    problems: () => db.superuser.column('SELECT problem FROM millrace.publications ORDER BY id'),
  }
}
