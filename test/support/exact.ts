// A database whose messages are sent exactly once, and what a reader with read_committed then has to see.
import assert from 'node:assert/strict'
import type { Cleanup } from './cleanup.ts'
import { type Database, databaseFor } from './database.ts'
import { addBroker } from './flow.ts'
import { readWithJava } from './java-client.ts'
import { idOf } from './sent.ts'

export async function exactDatabase(
  t: Cleanup,
  options: Parameters<typeof databaseFor>[1] & { brokers?: string } = {},
): Promise<Database> {
  const { brokers, ...others } = options
  const db = await databaseFor(t, others)
  await addBroker(db, brokers)
  await deliver(db, 'exactly_once')
  return db
}

export async function deliver(
  db: Pick<Database, 'query'>,
  delivery: 'at_least_once' | 'exactly_once',
): Promise<void> {
  await db.query("SELECT millrace.alter_cluster('default', delivery := $1)", [delivery])
}

/** The values on the topic, none of them twice. */
export async function valuesOnce(t: Cleanup, topic: string, brokers?: string): Promise<(string | null)[]> {
  const records = await readWithJava(t, topic, brokers)
  const ids = records.map(idOf)
  assert.equal(new Set(ids).size, ids.length, 'no message is there twice')
  return records.map(({ value }) => value)
}

/** The topic of the cluster's position. */
export async function positionTopicOf(db: Pick<Database, 'query'>): Promise<string> {
  const { rows } = await db.query('SELECT id FROM millrace.installation')
  return `millrace.${rows[0].id}.default.position`
}
