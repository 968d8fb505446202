// The daemon merges old batches, removes dead letters past their age and what dropped consumers left; one daemon at a time.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Cleanup } from '../support/cleanup.ts'
import { type Database, databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { addBroker, consume, promptDaemon, untilRows } from '../support/flow.ts'

/** Batches (an old pair, a young pair, one of nobody's) and dead letters (old, young, asked for again, of nobody's). */
async function setUp(t: Cleanup): Promise<Database> {
  const db = await databaseFor(t)
  await addBroker(db)
  await db.query('CREATE TABLE target (n int)')
  const id = await consume(db, 'never-created', 'target', {
    on_error: 'dead_letter',
    dead_letter_max_age: '1 day',
  })
  await db.query(
    `INSERT INTO millrace.batch (consumer_id, partition, from_offset, to_offset, messages, committed_at)
     SELECT $1, 0, n * 10, n * 10 + 10, 10, now() - CASE WHEN n < 2 THEN interval '40 days' ELSE '0' END
       FROM generate_series(0, 3) AS n`,
    [id],
  )
  await db.query(
    `INSERT INTO millrace.dead_letter (consumer_id, cluster, topic, partition, "offset", code, message, failed_at, replay_id)
     VALUES ($1, 'default', 't', 0, 1, 'c', 'old', now() - interval '2 days', NULL),
            ($1, 'default', 't', 0, 2, 'c', 'young', now(), NULL),
            ($1, 'default', 't', 0, 3, 'c', 'asked for', now() - interval '2 days', 1)`,
    [id],
  )
  await db.query(
    `INSERT INTO millrace.batch (consumer_id, partition, from_offset, to_offset) VALUES (0, 0, 0, 1);
     INSERT INTO millrace.dead_letter (consumer_id, cluster, topic, partition, "offset", code, message)
     VALUES (0, 'default', 't', 0, 1, 'c', 'of nobody')`,
  )
  return db
}

const batches = `SELECT from_offset::int AS from, to_offset::int AS to, messages::int, commits FROM millrace.batch
  ORDER BY consumer_id, from_offset`
const letters = 'SELECT message FROM millrace.dead_letter ORDER BY "offset"'

test('what grows is tidied', async (t) => {
  const db = await setUp(t)
  await promptDaemon(t, db)
  await promptDaemon(t, db)
  await untilRows(db, batches, [
    [0, 20, 20, 2],
    [20, 30, 10, 1],
    [30, 40, 10, 1],
  ])
  await untilRows(db, letters, [['young'], ['asked for']])
  await untilRows(db, 'SELECT dead_letters_expired::int FROM millrace.consumer', [[1]])
})

test('a daemon leaves it to the one that is at it', async (t) => {
  const db = await setUp(t)
  const other = await db.client()
  await other.query('SELECT pg_advisory_lock(1298756723, 3)')
  const daemon = await promptDaemon(t, db)
  await eventually('it has asked', async () => {
    const { rows } = await db.query(
      `SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'millrace pump'
          AND state = 'idle' AND query LIKE '%pg_try_advisory_lock(1298756723, 3)%'`,
    )
    return rows.length > 0
  })
  await untilRows(db, `SELECT count(*)::int FROM (${batches}) AS b`, [[5]])
  await untilRows(db, `SELECT count(*)::int FROM (${letters}) AS l`, [[4]])
  await other.query('SELECT pg_advisory_unlock(1298756723, 3)')
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
  // the next one is in nobody's way
  await promptDaemon(t, db)
  await untilRows(db, `SELECT count(*)::int FROM (${batches}) AS b`, [[3]])
})
