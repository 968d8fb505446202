// Retention removes messages before they are read. The consumer stops and says which, or goes on after them where it
// was told so, and records what it left out; an offset above the end of the log stops it whatever it was told.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Cleanup } from '../support/cleanup.ts'
import { type Database, databaseFor } from '../support/database.ts'
import {
  addBroker,
  begin,
  consumerOf,
  end,
  positionsOf,
  promptDaemon,
  untilPassed,
  untilRows,
  untilState,
} from '../support/flow.ts'
import { adminOf, produce, topicFor } from '../support/topic.ts'

const numbers = 'SELECT array_agg(n ORDER BY n) FROM numbers'
const gaps = `SELECT partition, from_offset::int, to_offset::int, messages::int FROM millrace.batch
               WHERE kind = 'gap' ORDER BY 1, 2`

const values = (partition: number, ...numbers: number[]) =>
  numbers.map((n) => ({ value: String(n), partition }))

async function setUp(t: Cleanup, partitions = 1) {
  const db = await databaseFor(t)
  await addBroker(db)
  await db.query('CREATE TABLE numbers (n int)')
  return { db, topic: await topicFor(t, { partitions }), daemon: await promptDaemon(t, db) }
}

async function stop(db: Database, topic: string): Promise<void> {
  await end(db, topic, 'numbers')
  await untilState(db, topic, 'stopped')
}

/** As retention does it. */
async function removeBefore(topic: string, ...offsets: number[]): Promise<void> {
  const partitions = offsets.map((offset, partition) => ({ partition, offset: BigInt(offset) }))
  await adminOf().deleteRecords({ topics: [{ name: topic, partitions }] })
}

async function goOnAfterGaps(db: Database): Promise<void> {
  await db.query(`UPDATE millrace.consumer SET on_offset_gap = 'earliest'`)
}

test('F08 a position below the start of the log: the failure says which offset and what there is', async (t) => {
  const { db, topic, daemon } = await setUp(t)
  await produce(topic, values(0, 1, 2))
  await begin(db, topic, 'numbers', { start_offset: -2 })
  await untilPassed(db, topic, 2)
  await stop(db, topic)
  await produce(topic, values(0, 3, 4, 5))
  await removeBefore(topic, 4)
  await begin(db, topic, 'numbers')
  const failed = await untilState(db, topic, 'failed')
  assert.equal(failed.error_code, 'offset-out-of-range')
  assert.match(failed.error_message ?? '', /offset 2 .*it holds 4 to 5/)
  assert.deepEqual([failed.error_partition, failed.error_offset], [0, '2'])
  await untilRows(db, gaps, [])
  // somebody who reads that may decide so
  await goOnAfterGaps(db)
  await untilRows(db, numbers, [[[1, 2, 5]]])
  await untilRows(db, gaps, [[0, 2, 4, 0]])
  await daemon.waitForLog('offset-gap')
})

test('F08 on_offset_gap := earliest goes on with what is left, and says what is not', async (t) => {
  const { db, topic, daemon } = await setUp(t, 3)
  await produce(topic, [...values(0, 1, 2), ...values(1, 11), ...values(2, 21)])
  await begin(db, topic, 'numbers', { start_offset: -2, parallelism: 3 })
  await goOnAfterGaps(db)
  await untilPassed(db, topic, 4)
  await daemon.stop()
  await produce(topic, [...values(0, 3, 4, 5), ...values(1, 12, 13), ...values(2, 22)])
  await removeBefore(topic, 4, 3, 1)
  await promptDaemon(t, db)
  await untilRows(db, numbers, [[[1, 2, 5, 11, 21, 22]]])
  await untilRows(db, gaps, [
    [0, 2, 4, 0],
    [1, 1, 3, 0],
  ])
  assert.deepEqual(await positionsOf(db, topic), { 0: 5, 1: 3, 2: 2 })
  const running = await untilState(db, topic, 'running')
  assert.match(running.warning ?? '', /offset-gap: offsets 2 to 3 .*partition 0/)
  assert.match(running.warning ?? '', /offset-gap: offsets 1 to 2 .*partition 1/)
  assert.equal(running.error_code, null)
  // and then as ever
  await produce(topic, values(1, 14))
  await untilRows(db, numbers, [[[1, 2, 5, 11, 14, 21, 22]]])
})

test('F08 a gap that opens while the consumer is behind', async (t) => {
  const { db, topic } = await setUp(t)
  await begin(db, topic, 'numbers', { start_offset: -2, maxbytes: 1 })
  await goOnAfterGaps(db)
  await produce(topic, values(0, 1))
  await untilPassed(db, topic, 1)
  const other = await db.client()
  await other.query('BEGIN; LOCK TABLE numbers')
  // each a record batch of its own, so that only the first few are in hand
  for (let n = 2; n <= 20; n++) await produce(topic, values(0, n))
  await removeBefore(topic, 18)
  await other.query('COMMIT')
  await untilPassed(db, topic, 20)
  const { rows } = await db.query(gaps)
  assert.equal(rows.length, 1)
  const { from_offset: from, to_offset: to } = rows[0]
  assert.equal(to, 18)
  const expected = Array.from({ length: 20 }, (_, n) => n + 1).filter((n) => n <= from || n > to)
  await untilRows(db, numbers, [[expected]])
})

test('F08 a position above the end of the log stops the consumer, also with on_offset_gap := earliest', async (t) => {
  const { db, topic } = await setUp(t)
  await produce(topic, values(0, 1, 2, 3))
  await begin(db, topic, 'numbers', { start_offset: -2 })
  await untilRows(db, numbers, [[[1, 2, 3]]])
  await stop(db, topic)
  // as a cluster that was restored from a copy would have it: no epoch tells
  await db.query('UPDATE millrace.position SET next_offset = 10, leader_epoch = -1')
  await goOnAfterGaps(db)
  await begin(db, topic, 'numbers')
  const failed = await untilState(db, topic, 'failed')
  assert.equal(failed.error_code, 'offset-beyond-end')
  assert.match(failed.error_message ?? '', /offset 10 .*at 3/)
  assert.deepEqual(await positionsOf(db, topic), { 0: 10 })
  await untilRows(db, gaps, [])
  await untilRows(db, numbers, [[[1, 2, 3]]])
  // where it begins again is for somebody to say
  await begin(db, topic, 'numbers', { start_offset: 3 })
  await produce(topic, values(0, 4))
  await untilRows(db, numbers, [[[1, 2, 3, 4]]])
  assert.equal((await consumerOf(db, topic)).error_code, null)
})
