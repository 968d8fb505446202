// Topics come, grow, go and come again. What is read is what was promised, or the consumer stops and says why.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import type { Cleanup } from '../support/cleanup.ts'
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

const values = (partition: number, ...numbers: number[]) =>
  numbers.map((n) => ({ value: String(n), partition }))
const numbers = 'SELECT array_agg(n ORDER BY n) FROM numbers'

async function setUp(t: Cleanup) {
  const db = await databaseFor(t)
  await addBroker(db)
  await db.query('CREATE TABLE numbers (n int)')
  return db
}

for (const start of [undefined, -1, -2]) {
  test(`a topic that does not exist yet is waited for and read from its beginning (${start})`, async (t) => {
    const db = await setUp(t)
    await promptDaemon(t, db)
    const name = `late-${randomUUID()}`
    await begin(db, name, 'numbers', start === undefined ? {} : { start_offset: start })
    await untilState(db, name, 'waiting-for-topic')
    const { stdout } = await millrace(['status', '--database', db.url], { expect: null })
    assert.match(stdout, /waiting-for-topic/)
    await topicFor(t, { name, partitions: 2 })
    await produce(name, [...values(0, 1, 2), ...values(1, 11)])
    await untilRows(db, numbers, [[[1, 2, 11]]])
    await untilState(db, name, 'running')
  })
}

test('a daemon never creates the topic that it waits for', async (t) => {
  const db = await setUp(t)
  await promptDaemon(t, db)
  const name = `never-${randomUUID()}`
  await begin(db, name, 'numbers')
  await untilState(db, name, 'waiting-for-topic')
  assert.ok(!(await adminOf().listTopics()).includes(name))
})

test('F11 a partition that is added is read from its beginning', async (t) => {
  const db = await setUp(t)
  await promptDaemon(t, db)
  const topic = await topicFor(t, { partitions: 1 })
  await produce(topic, values(0, 1))
  await begin(db, topic, 'numbers', { start_offset: -1 })
  await untilPassed(db, topic, 1)
  await produce(topic, values(0, 2))
  await untilRows(db, numbers, [[[2]]])
  await adminOf().createPartitions({ topics: [{ name: topic, count: 3 }] })
  await produce(topic, [...values(1, 11, 12), ...values(2, 21), ...values(0, 3)], { fresh: true })
  await untilRows(db, numbers, [[[2, 3, 11, 12, 21]]])
  assert.deepEqual(await positionsOf(db, topic), { 0: 3, 1: 2, 2: 1 })
})

test('F11 a partition that is added while no daemon runs is read from its beginning', async (t) => {
  const db = await setUp(t)
  const daemon = await promptDaemon(t, db)
  const topic = await topicFor(t, { partitions: 1 })
  await begin(db, topic, 'numbers')
  await untilState(db, topic, 'running')
  await daemon.stop()
  await adminOf().createPartitions({ topics: [{ name: topic, count: 2 }] })
  await produce(topic, [...values(1, 11, 12), ...values(0, 1)], { fresh: true })
  await promptDaemon(t, db)
  await untilRows(db, numbers, [[[1, 11, 12]]])
})

test('F09 a topic that is deleted and created again stops the consumer', async (t) => {
  const db = await setUp(t)
  const daemon = await promptDaemon(t, db)
  const topic = await topicFor(t, { partitions: 1 })
  const other = await topicFor(t, { partitions: 1 })
  await produce(topic, values(0, 1, 2))
  await begin(db, topic, 'numbers', { start_offset: -2 })
  await db.query('CREATE TABLE others (n int)')
  await begin(db, other, 'others', { start_offset: -2 })
  await untilRows(db, numbers, [[[1, 2]]])
  await adminOf().deleteTopics({ topics: [topic] })
  await untilState(db, topic, 'waiting-for-topic')
  await adminOf().createTopics({ topics: [topic], partitions: 1, replicas: 1 })
  await produce(topic, values(0, 7, 8, 9))
  const failed = await untilState(db, topic, 'failed')
  assert.equal(failed.error_code, 'topic-recreated')
  await daemon.waitForLog('topic-recreated')
  await untilRows(db, numbers, [[[1, 2]]])
  assert.deepEqual(await positionsOf(db, topic), { 0: 2 })
  // without saying where, the saved position is still another topic's
  await begin(db, topic, 'numbers')
  await untilState(db, topic, 'failed')
  await produce(other, values(0, 5))
  await untilRows(db, 'SELECT n FROM others', [[5]])
  await begin(db, topic, 'numbers', { start_offset: -2 })
  await untilRows(db, numbers, [[[1, 2, 7, 8, 9]]])
  assert.equal((await consumerOf(db, topic)).error_code, null)
})

test('F09 a topic that was created again while no daemon ran stops the consumer, too', async (t) => {
  const db = await setUp(t)
  const daemon = await promptDaemon(t, db)
  const topic = await topicFor(t, { partitions: 1 })
  await produce(topic, values(0, 1, 2))
  await begin(db, topic, 'numbers', { start_offset: -2 })
  await untilRows(db, numbers, [[[1, 2]]])
  await daemon.stop()
  await adminOf().deleteTopics({ topics: [topic] })
  await adminOf().createTopics({ topics: [topic], partitions: 1, replicas: 1 })
  await produce(topic, values(0, 7, 8, 9))
  await promptDaemon(t, db)
  assert.equal((await untilState(db, topic, 'failed')).error_code, 'topic-recreated')
  await untilRows(db, numbers, [[[1, 2]]])
})

test('F08 a position below the start of the log stops the consumer; it never jumps', async (t) => {
  const db = await setUp(t)
  const daemon = await promptDaemon(t, db)
  const topic = await topicFor(t, { partitions: 1 })
  await produce(topic, values(0, 1, 2))
  await begin(db, topic, 'numbers', { start_offset: -2 })
  await untilRows(db, numbers, [[[1, 2]]])
  await end(db, topic, 'numbers')
  await untilState(db, topic, 'stopped')
  await produce(topic, values(0, 3, 4, 5, 6))
  await adminOf().deleteRecords({ topics: [{ name: topic, partitions: [{ partition: 0, offset: 4n }] }] })
  await begin(db, topic, 'numbers')
  const failed = await untilState(db, topic, 'failed')
  assert.equal(failed.error_code, 'offset-out-of-range')
  assert.equal(failed.error_partition, 0)
  assert.equal(failed.error_offset, '2')
  await daemon.waitForLog('offset-out-of-range')
  assert.deepEqual(await positionsOf(db, topic), { 0: 2 })
  await untilRows(db, numbers, [[[1, 2]]])
  await begin(db, topic, 'numbers', { start_offset: -2 })
  await untilRows(db, numbers, [[[1, 2, 5, 6]]])
})

test('F08 a log cut below what was read stops the consumer', async (t) => {
  const db = await setUp(t)
  await promptDaemon(t, db)
  const topic = await topicFor(t, { partitions: 1 })
  await produce(topic, values(0, 1, 2, 3))
  await begin(db, topic, 'numbers', { start_offset: -2 })
  await untilRows(db, numbers, [[[1, 2, 3]]])
  await end(db, topic, 'numbers')
  await untilState(db, topic, 'stopped')
  // as if an unclean election had taken messages back that were loaded already
  await db.query('UPDATE millrace.position SET next_offset = 10')
  await begin(db, topic, 'numbers')
  const failed = await untilState(db, topic, 'failed')
  assert.match(failed.error_code ?? '', /^(offset-out-of-range|log-truncated)$/)
  assert.deepEqual(await positionsOf(db, topic), { 0: 10 })
})
