// A consumer is moved to an offset of some partitions, to a moment, to the beginning or the end. Each move is made
// once and recorded; whatever was under way from the former place changes nothing any more.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Cleanup } from '../support/cleanup.ts'
import { type Database, databaseFor } from '../support/database.ts'
import {
  addBroker,
  begin,
  consume,
  consumerOf,
  positionsOf,
  promptDaemon,
  untilPassed,
  untilRows,
  untilState,
} from '../support/flow.ts'
import { adminOf, type Message, produce, topicFor } from '../support/topic.ts'

const numbers = 'SELECT array_agg(n ORDER BY n) FROM numbers'
const moves = `SELECT kind, partition, from_offset::int, to_offset::int FROM millrace.batch
                WHERE kind <> 'load' ORDER BY id`

async function setUp(t: Cleanup, config: Record<string, string> = {}) {
  const db = await databaseFor(t)
  await addBroker(db)
  await db.query('CREATE TABLE numbers (n int)')
  return { db, topic: await topicFor(t, { partitions: 2, config }), daemon: await promptDaemon(t, db) }
}

const at = (partition: number, ...numbers: number[]): Message[] =>
  numbers.map((n) => ({ value: String(n), partition }))

/** What millrace.seek writes. */
async function seek(
  db: Database,
  to: { offset?: number; time?: string | Date; partitions?: Record<number, number> },
): Promise<void> {
  await db.query('UPDATE millrace.consumer SET start_offset = $1, start_time = $2, start_partitions = $3', [
    to.offset ?? null,
    to.time ?? null,
    to.partitions ? JSON.stringify(to.partitions) : null,
  ])
}

test('a start and a partition that is added later are recorded', async (t) => {
  const { db, topic } = await setUp(t)
  await produce(topic, [...at(0, 1, 2), ...at(1, 11)])
  await begin(db, topic, 'numbers', { start_offset: 1 })
  await untilPassed(db, topic, 3)
  await adminOf().createPartitions({ topics: [{ name: topic, count: 3 }] })
  await produce(topic, at(2, 21), { fresh: true })
  await untilRows(db, numbers, [[[2, 21]]])
  await untilRows(db, moves, [
    ['start', 0, 1, 1],
    ['start', 1, 1, 1],
    ['start', 2, 0, 0],
  ])
})

test('some partitions are moved, the others stay', async (t) => {
  const { db, topic } = await setUp(t)
  await produce(topic, [...at(0, 1, 2, 3), ...at(1, 11, 12)])
  await begin(db, topic, 'numbers', { start_offset: -2 })
  await untilPassed(db, topic, 5)
  await seek(db, { partitions: { 0: 1 } })
  await untilRows(db, numbers, [[[1, 2, 2, 3, 3, 11, 12]]])
  await produce(topic, at(1, 13))
  await untilRows(db, numbers, [[[1, 2, 2, 3, 3, 11, 12, 13]]])
  await untilRows(db, `${moves} OFFSET 2`, [['seek', 0, 3, 1]])
  // forwards, to the end, and a partition that there is not
  await db.query('TRUNCATE numbers')
  await seek(db, { partitions: { 0: -2, 1: -1, 7: 3 } })
  await untilRows(db, numbers, [[[1, 2, 3]]])
  assert.match((await consumerOf(db, topic)).warning ?? '', /^start-partition-missing: .*partition 7/)
  assert.deepEqual(await positionsOf(db, topic), { 0: 3, 1: 3 })
})

test('a partition is moved before the start is found: the others start where they were told to', async (t) => {
  const { db, topic, daemon } = await setUp(t)
  await produce(topic, [...at(0, 1, 2, 3), ...at(1, 11, 12)])
  daemon.kill('SIGKILL')
  await daemon.exited
  const id = await consume(db, topic, 'numbers', { format: 'text' })
  await db.query('SELECT millrace.seek($1, 2::bigint, 0)', [id])
  await promptDaemon(t, db)
  await untilRows(db, numbers, [[[3, 11, 12]]])
  await untilRows(db, moves, [
    ['start', 0, 2, 2],
    ['start', 1, 0, 0],
  ])
})

test('to a moment: the first message of each partition that is not older, or the end', async (t) => {
  // the messages are older than any retention
  const { db, topic, daemon } = await setUp(t, { 'retention.ms': '-1' })
  const moment = (hour: number) => Date.UTC(2026, 0, 1, hour)
  await produce(topic, [
    { value: '1', partition: 0, timestamp: moment(1) },
    { value: '2', partition: 0, timestamp: moment(2) },
    { value: '3', partition: 0, timestamp: moment(3) },
    { value: '11', partition: 1, timestamp: moment(1) },
  ])
  await begin(db, topic, 'numbers', { start_offset: -2 })
  await untilPassed(db, topic, 4)
  await db.query('TRUNCATE numbers')
  await seek(db, { time: new Date(moment(2)) })
  await untilRows(db, numbers, [[[2, 3]]])
  assert.deepEqual(await positionsOf(db, topic), { 0: 3, 1: 1 })
  await untilRows(db, `${moves} OFFSET 2`, [
    ['seek', 0, 3, 1],
    ['seek', 1, 1, 1],
  ])
  // a fraction of a millisecond after a message is after it
  await seek(db, { time: '2026-01-01 02:00:00.0001Z' })
  await untilRows(db, numbers, [[[2, 3, 3]]])
  // before everything, and after it; while no daemon runs
  await daemon.stop()
  await seek(db, { time: '1960-01-01Z' })
  await promptDaemon(t, db)
  await untilRows(db, numbers, [[[1, 2, 2, 3, 3, 3, 11]]])
  await seek(db, { time: '2100-01-01Z' })
  await untilState(db, topic, 'running')
  await untilRows(db, 'SELECT start_pending FROM millrace.consumer', [[false]])
  await produce(topic, at(0, 4))
  await untilRows(db, numbers, [[[1, 2, 2, 3, 3, 3, 4, 11]]])
})

test('LogAppendTime: messages load, and a moment is one of the broker', async (t) => {
  const { db, topic } = await setUp(t, { 'message.timestamp.type': 'LogAppendTime' })
  for (const compression of ['none', 'gzip', 'zstd'] as const) {
    // the broker writes its own time over that of 1970
    await produce(topic, [{ value: compression.length.toString(), partition: 0, timestamp: 1000 }], {
      compression,
    })
  }
  await begin(db, topic, 'numbers', { start_offset: -2 })
  await untilRows(db, numbers, [[[4, 4, 4]]])
  await seek(db, { time: new Date(Date.now() - 3_600_000) })
  await untilRows(db, numbers, [[[4, 4, 4, 4, 4, 4]]])
})

test('a seek while a batch is under way: what was read before it is not loaded after it', async (t) => {
  const { db, topic } = await setUp(t)
  await begin(db, topic, 'numbers', { start_offset: -2 })
  await produce(topic, at(0, 1))
  await untilPassed(db, topic, 1)
  const other = await db.client()
  await other.query('BEGIN; LOCK TABLE numbers')
  await produce(topic, at(0, 2, 3))
  await untilRows(
    db,
    `SELECT count(*)::int FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`,
    [[1]],
  )
  await seek(db, { partitions: { 0: 0 } })
  await other.query('COMMIT')
  await untilPassed(db, topic, 3)
  await untilState(db, topic, 'running')
  await produce(topic, at(0, 4))
  await untilRows(db, 'SELECT n, count(*)::int FROM numbers WHERE n IN (1, 4) GROUP BY n ORDER BY n', [
    [1, 2],
    [4, 1],
  ])
  // the batch in hand was committed before the seek or not at all
  const { rows } = await db.query('SELECT array_agg(n ORDER BY n) AS n FROM numbers')
  const { from_offset: stood } = (
    await db.query(`SELECT from_offset::int FROM millrace.batch WHERE kind = 'seek'`)
  ).rows[0]
  assert.deepEqual(rows[0].n, stood === 3 ? [1, 1, 2, 2, 3, 3, 4] : [1, 1, 2, 3, 4])
})
