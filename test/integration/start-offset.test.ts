// Where a consumer starts: at its saved position, or where one call of consume_begin says, once.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { databaseFor } from '../support/database.ts'
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
import { millrace } from '../support/millrace.ts'
import { adminOf, produce, topicFor } from '../support/topic.ts'

const values = (...numbers: number[]) => numbers.map((n) => ({ value: String(n), partition: 0 }))
const numbers = 'SELECT array_agg(n ORDER BY n) FROM numbers'

async function setUp(t: Parameters<typeof databaseFor>[0], partitions = 1) {
  const db = await databaseFor(t)
  await addBroker(db)
  await db.query('CREATE TABLE numbers (n int)')
  return { db, topic: await topicFor(t, { partitions }) }
}

test('-2 is the beginning, -1 the end, a number that offset', async (t) => {
  const { db, topic } = await setUp(t)
  await promptDaemon(t, db)
  await produce(topic, values(0, 1, 2, 3, 4))
  for (const [start, expected] of [
    [-2, [0, 1, 2, 3, 4, 5]],
    [-1, [5]],
    [3, [3, 4, 5]],
  ] as const) {
    const table = `t${Math.abs(start)}`
    await db.query(`CREATE TABLE ${table} (n int)`)
    await begin(db, topic, table, { start_offset: start })
    await untilRows(db, `SELECT start_pending FROM millrace.consumer WHERE target_name = '${table}'`, [
      [false],
    ])
    if (start === -2) await produce(topic, values(5))
    if (start === -1) {
      await end(db, topic, table)
      continue
    }
    await untilRows(db, `SELECT array_agg(n ORDER BY n) FROM ${table}`, [[expected]])
  }
  await untilRows(db, 'SELECT count(*)::int FROM t1', [[0]])
  const { rows } = await db.query(
    `SELECT next_offset::int FROM millrace.position AS p JOIN millrace.consumer AS c ON c.id = p.consumer_id
      WHERE target_name = 't1'`,
  )
  assert.equal(rows[0].next_offset, 6)
})

test('without start_offset the end is the one that the daemon finds when it first sees the consumer', async (t) => {
  const { db, topic } = await setUp(t)
  await produce(topic, values(0, 1))
  await begin(db, topic, 'numbers')
  // no daemon yet: these are before the end
  await produce(topic, values(2, 3))
  assert.equal((await consumerOf(db, topic)).state, 'no-daemon')
  await promptDaemon(t, db)
  await untilState(db, topic, 'running')
  assert.deepEqual(await positionsOf(db, topic), { 0: 4 })
  await produce(topic, values(4, 5))
  await untilRows(db, numbers, [[[4, 5]]])
})

test('the end is recorded before anything is read: what comes after it is never passed over', async (t) => {
  const { db, topic } = await setUp(t)
  await produce(topic, values(0))
  await begin(db, topic, 'numbers')
  const daemon = await promptDaemon(t, db)
  await untilState(db, topic, 'running')
  daemon.kill('SIGKILL')
  await daemon.exited
  await produce(topic, values(1, 2))
  await promptDaemon(t, db)
  await untilRows(db, numbers, [[[1, 2]]])
})

test('an offset outside the partition is moved inside, with a warning that SQL and status show', async (t) => {
  const { db, topic } = await setUp(t, 2)
  await promptDaemon(t, db)
  await produce(topic, [...values(0, 1, 2), { value: '10', partition: 1 }])
  await begin(db, topic, 'numbers', { start_offset: 2 })
  await untilRows(db, numbers, [[[2]]])
  const { warning } = await consumerOf(db, topic)
  assert.equal(
    warning,
    'start-offset-clamped: start_offset 2 is outside what is there in partition 1, reading starts at 1',
  )
  const { stdout } = await millrace(['status', '--database', db.url])
  assert.match(stdout, /start_offset 2 is outside what is there in partition 1/)
})

test('an offset of a topic that does not exist yet is not to be had, and a warning says so', async (t) => {
  const { db } = await setUp(t)
  await promptDaemon(t, db)
  const warnings: Record<number, string | null> = {}
  for (const start of [5, 0, -1, -2]) {
    const topic = `later-${start}-${db.name}`
    await begin(db, topic, 'numbers', { start_offset: start })
    warnings[start] = (await untilState(db, topic, 'waiting-for-topic')).warning
  }
  const { 5: warning, ...none } = warnings
  assert.equal(
    warning,
    'start-offset-clamped: start_offset 5 is outside what is there: the topic does not exist yet, and will be read from its beginning',
  )
  assert.deepEqual(Object.values(none), [null, null, null])
})

test('an offset that retention has removed is moved to the first that is there', async (t) => {
  const { db, topic } = await setUp(t)
  await produce(topic, values(0, 1, 2, 3, 4))
  await adminOf().deleteRecords({ topics: [{ name: topic, partitions: [{ partition: 0, offset: 3n }] }] })
  await promptDaemon(t, db)
  await begin(db, topic, 'numbers', { start_offset: 1 })
  await untilRows(db, numbers, [[[3, 4]]])
  const { warning } = await consumerOf(db, topic)
  assert.match(warning ?? '', /start_offset 1 is outside what is there in partition 0, reading starts at 3/)
  // the beginning is not offset 0 then either
  await db.query('CREATE TABLE again (n int)')
  await begin(db, topic, 'again', { start_offset: -2 })
  await untilRows(db, 'SELECT array_agg(n ORDER BY n) FROM again', [[[3, 4]]])
})

test('an explicit start_offset applies once, not again when the daemon restarts', async (t) => {
  const { db, topic } = await setUp(t)
  await produce(topic, values(0, 1, 2))
  await begin(db, topic, 'numbers', { start_offset: -2 })
  const daemon = await promptDaemon(t, db)
  await untilRows(db, numbers, [[[0, 1, 2]]])
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
  await produce(topic, values(3))
  await promptDaemon(t, db)
  await untilRows(db, numbers, [[[0, 1, 2, 3]]])
})

test('consume_end and consume_begin go on from the saved position; a start_offset replaces it', async (t) => {
  const { db, topic } = await setUp(t)
  await promptDaemon(t, db)
  await produce(topic, values(0, 1))
  await begin(db, topic, 'numbers', { start_offset: -2 })
  await untilRows(db, numbers, [[[0, 1]]])
  await end(db, topic, 'numbers')
  await untilState(db, topic, 'stopped')
  await produce(topic, values(2, 3))
  await begin(db, topic, 'numbers')
  await untilRows(db, numbers, [[[0, 1, 2, 3]]])
  await end(db, topic, 'numbers')
  await begin(db, topic, 'numbers', { start_offset: 1 })
  await untilRows(db, numbers, [[[0, 1, 1, 2, 2, 3, 3]]])
  await end(db, topic, 'numbers')
  await produce(topic, values(4))
  await begin(db, topic, 'numbers', { start_offset: -1 })
  await untilPassed(db, topic, 5)
  await produce(topic, values(5))
  await untilRows(db, numbers, [[[0, 1, 1, 2, 2, 3, 3, 5]]])
})

test('consume_begin for a consumer that runs changes nothing and warns', async (t) => {
  const { db, topic } = await setUp(t)
  await promptDaemon(t, db)
  await produce(topic, values(0, 1))
  await begin(db, topic, 'numbers', { start_offset: -2 })
  await untilRows(db, numbers, [[[0, 1]]])
  const [warning] = await begin(db, topic, 'numbers', { start_offset: -2, batchsize: 7 })
  assert.match(warning?.message ?? '', /already being consumed/)
  await produce(topic, values(2))
  await untilRows(db, numbers, [[[0, 1, 2]]])
})

test('a daemon that starts later does what was asked for meanwhile, and consume_begin said that none was there', async (t) => {
  const { db, topic } = await setUp(t)
  const [warning] = await begin(db, topic, 'numbers', { start_offset: -2 })
  assert.match(warning?.message ?? '', /no daemon is connected/)
  await produce(topic, values(0))
  await promptDaemon(t, db)
  await untilRows(db, numbers, [[[0]]])
  await db.query('CREATE TABLE other (n int)')
  assert.deepEqual(await begin(db, topic, 'other', { start_offset: -2 }), [])
})

test('what is stored is what counts: a batch that does not continue it is not loaded', async (t) => {
  const { db, topic } = await setUp(t)
  const daemon = await promptDaemon(t, db)
  await produce(topic, values(0, 1, 2, 3))
  await begin(db, topic, 'numbers', { start_offset: -2 })
  await untilRows(db, numbers, [[[0, 1, 2, 3]]])
  await db.query('BEGIN; TRUNCATE numbers; UPDATE millrace.position SET next_offset = 2; COMMIT')
  await produce(topic, values(4))
  await untilRows(db, numbers, [[[2, 3, 4]]])
  await daemon.waitForLog('position-lost')
  // the same for whoever raises the owner's epoch
  await db.query('UPDATE millrace.position SET owner_epoch = owner_epoch + 1')
  await produce(topic, values(5))
  await untilRows(db, numbers, [[[2, 3, 4, 5]]])
  await untilState(db, topic, 'running')
})
