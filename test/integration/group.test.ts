// Kafka's own tools see the lag: positions are mirrored to the consumer group. The ones that count are in the database.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Cleanup } from '../support/cleanup.ts'
import { databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { addBroker, begin, promptDaemon, untilPassed, untilRows, untilState } from '../support/flow.ts'
import { Ledger } from '../support/ledger.ts'
import { adminOf, produce, topicFor } from '../support/topic.ts'

async function setUp(t: Cleanup) {
  const db = await databaseFor(t)
  await addBroker(db)
  const daemon = await promptDaemon(t, db)
  return { db, daemon }
}

/** partition → committed offset */
async function groupOffsets(groupId: string, topic: string): Promise<Record<number, number>> {
  const groups = await adminOf().listConsumerGroupOffsets({ groups: [{ groupId }] })
  const found = groups[0]?.topics.find(({ name }) => name === topic)?.partitions ?? []
  return Object.fromEntries(
    found
      .toSorted((a, b) => a.partitionIndex - b.partitionIndex)
      .map(({ partitionIndex, committedOffset }) => [partitionIndex, Number(committedOffset)]),
  )
}

test('the positions are committed to the group that the caller named', async (t) => {
  const { db, daemon } = await setUp(t)
  const topic = await topicFor(t, { partitions: 2 })
  const group = `group-of-${topic}`
  await db.query('CREATE TABLE target (n int)')
  await produce(
    topic,
    [0, 0, 0, 1].map((partition, n) => ({ value: String(n), partition })),
  )
  await begin(db, topic, 'target', { start_offset: -2, group_id: group })
  await untilPassed(db, topic, 4)
  const offsets = () => groupOffsets(group, topic)
  const committed = (expected: Record<number, number>) =>
    eventually('the group has the positions', async () => {
      assert.deepEqual(await offsets(), expected)
      return true
    })
  await committed({ 0: 3, 1: 1 })
  // what is committed last, at the end, is there as well
  await produce(topic, [{ value: '5', partition: 1 }])
  await untilPassed(db, topic, 5)
  await daemon.stop()
  assert.deepEqual(await offsets(), { 0: 3, 1: 2 })
})

test('without a group_id the group contains the installation, so that two databases never share one', async (t) => {
  const { db } = await setUp(t)
  const other = await setUp(t)
  const topic = await topicFor(t, { partitions: 2 })
  for (const { db: each } of [{ db }, other]) {
    await each.query('CREATE TABLE target (n int)')
    await begin(each, topic, 'target', { start_offset: -2 })
  }
  await produce(
    topic,
    [0, 1].map((partition) => ({ value: String(partition), partition })),
  )
  for (const { db: each } of [{ db }, other])
    await untilRows(each, 'SELECT n FROM target ORDER BY n', [[0], [1]])
  const { rows } = await db.query(
    'SELECT i.id, c.id AS consumer FROM millrace.installation AS i, millrace.consumer AS c',
  )
  const group = `millrace.${rows[0].id}.${rows[0].consumer}`
  await eventually('its own group has the positions', async () => {
    assert.deepEqual(await groupOffsets(group, topic), { 0: 1, 1: 1 })
    return true
  })
})

test('offsets that somebody else committed to the group are not believed', async (t) => {
  const { db, daemon } = await setUp(t)
  const topic = await topicFor(t, { partitions: 1 })
  const group = `group-of-${topic}`
  await db.query('CREATE TABLE target (n int)')
  await produce(topic, [{ value: '0' }, { value: '1' }, { value: '2' }])
  await begin(db, topic, 'target', { start_offset: -2, group_id: group })
  await untilPassed(db, topic, 3)
  await daemon.stop()
  const partitionOffset = { partition: 0, offset: 0n }
  await adminOf().alterConsumerGroupOffsets({
    groupId: group,
    topics: [{ name: topic, partitionOffsets: [partitionOffset] }],
  })
  await promptDaemon(t, db)
  await untilState(db, topic, 'running')
  await produce(topic, [{ value: '3' }])
  await untilRows(db, 'SELECT n FROM target ORDER BY n', [[0], [1], [2], [3]])
})

test('a group of several topics: each member gets the partitions of its own topic', async (t) => {
  const { db } = await setUp(t)
  const group = `group-of-several-${process.pid}-${Date.now()}`
  const ledgers = [await Ledger.open(t, db), await Ledger.open(t, db, { partitions: 2 })]
  for (const ledger of ledgers) {
    await ledger.produce(1000)
    await ledger.begin({ group_id: group })
  }
  for (const ledger of ledgers) await ledger.untilWhole()
})

test('topic_watermarks and consumer_lag show what the daemon last saw', async (t) => {
  const { db } = await setUp(t)
  const topic = await topicFor(t, { partitions: 2 })
  await db.query('CREATE TABLE target (n int)')
  await produce(
    topic,
    [0, 0, 0, 1].map((partition, n) => ({ value: String(n), partition })),
  )
  await adminOf().deleteRecords({ topics: [{ name: topic, partitions: [{ partition: 0, offset: 1n }] }] })
  // nobody consumes it: asking is what makes the daemon look
  const marks =
    'SELECT partition, low_watermark::int, high_watermark::int FROM pipeline_kafka.topic_watermarks($1, NULL)'
  await eventually('the watermarks are there', async () => {
    const { rows } = await db.query(marks, [topic])
    assert.deepEqual(
      rows.map((row) => Object.values(row)),
      [
        [0, 1, 3],
        [1, 0, 1],
      ],
    )
    return true
  })
  await begin(db, topic, 'target', { start_offset: -1 })
  await untilPassed(db, topic, 4)
  const lag = `SELECT partition, "offset"::int, high_watermark::int, lag::int FROM pipeline_kafka.consumer_lag ORDER BY 1`
  await untilRows(db, lag, [
    [0, 3, 3, 0],
    [1, 1, 1, 0],
  ])
  await db.query('BEGIN; LOCK TABLE target; COMMIT')
  const client = await db.client()
  await client.query('BEGIN; LOCK TABLE target')
  await produce(topic, [
    { value: '7', partition: 1 },
    { value: '8', partition: 1 },
  ])
  await untilRows(db, lag, [
    [0, 3, 3, 0],
    [1, 1, 3, 2],
  ])
  await client.query('COMMIT')
  await untilRows(db, lag, [
    [0, 3, 3, 0],
    [1, 3, 3, 0],
  ])
  await untilRows(db, 'SELECT partition, "offset"::int FROM pipeline_kafka.offsets ORDER BY 1', [
    [0, 2],
    [1, 2],
  ])
})
