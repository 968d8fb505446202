// Dead letters as they come to be: messages that the daemon could not load.
import assert from 'node:assert/strict'
import type { Cleanup } from './cleanup.ts'
import { type Database, databaseFor } from './database.ts'
import { addBroker, type ConsumeOptions, consume, promptDaemon, untilPassed, untilRows } from './flow.ts'
import { type Message, produce, topicFor } from './topic.ts'

export interface Letters {
  db: Database
  topic: string
  /** The consumer. */
  id: string
}

/** Numbers from 0 that no row may have yet, each in a message of its own. @param count of them */
export function numbers(count: number): Message[] {
  return Array.from({ length: count }, (_, n) => ({ value: String(n) }))
}

/** A table `target (n int)` that takes no number, until `mend` is called. */
export const refusing = 'CREATE TABLE target (n int CONSTRAINT refuse CHECK (n < 0))'

export async function mend(db: Database): Promise<void> {
  await db.query('ALTER TABLE target DROP CONSTRAINT refuse')
}

/** Consumes the messages into `target`; the daemon that did it is stopped afterwards. */
export async function deadLetters(
  t: Cleanup & { passed?: boolean },
  table: string,
  messages: Message[],
  options: ConsumeOptions & { failing?: number } = {},
): Promise<Letters> {
  const { failing = messages.length, ...rest } = options
  const db = await databaseFor(t)
  await addBroker(db)
  const topic = await topicFor(t, { partitions: 2 })
  await db.query(table)
  await produce(topic, messages)
  const id = await consume(db, topic, 'target', { format: 'text', on_error: 'dead_letter', ...rest })
  const daemon = await promptDaemon(t, db)
  await untilPassed(db, topic, messages.length)
  await untilRows(db, 'SELECT count(*)::int FROM millrace.dead_letter', [[failing]])
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
  return { db, topic, id }
}

/** More letters, as if so many messages had followed, each with a number of its own. */
export async function multiply(db: Database, { from, to }: { from: number; to: number }): Promise<void> {
  await db.query(
    `INSERT INTO millrace.dead_letter (consumer_id, cluster, topic, partition, "offset", "timestamp", key, value, headers, code, sqlstate, message)
     SELECT d.consumer_id, d.cluster, d.topic, n % 2, n / 2, d."timestamp", d.key, convert_to(n::text, 'UTF8'), d.headers,
            d.code, d.sqlstate, d.message
       FROM (SELECT * FROM millrace.dead_letter ORDER BY id LIMIT 1) AS d, generate_series($1::int, $2::int) AS n`,
    [from, to - 1],
  )
}
