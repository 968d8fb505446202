// Compaction leaves holes anywhere: the last offset of a record batch, whole batches, a partition without a single
// message. The position passes over all of them and comes to the end.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Cleanup } from '../support/cleanup.ts'
import { databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { addBroker, begin, consumerOf, promptDaemon, untilPassed, untilRows } from '../support/flow.ts'
import { endsOf, offsetsOf } from '../support/log.ts'
import { adminOf, type Message, produce, topicFor } from '../support/topic.ts'

const received = 'SELECT array_agg(value ORDER BY value) FROM received'

async function setUp(t: Cleanup) {
  const db = await databaseFor(t)
  await addBroker(db)
  await db.query('CREATE TABLE received (value text)')
  const topic = await topicFor(t, {
    partitions: 1,
    config: {
      'cleanup.policy': 'compact',
      'segment.ms': '50',
      'min.cleanable.dirty.ratio': '0.01',
      'max.compaction.lag.ms': '50',
      'min.compaction.lag.ms': '0',
      'delete.retention.ms': '0',
    },
  })
  return { db, topic }
}

/** Whatever is sent begins a new segment, and the broker cleans those before it. */
async function compactUntil(
  topic: string,
  filler: Message,
  done: (offsets: number[]) => boolean,
): Promise<void> {
  await eventually(
    'the broker has compacted the topic',
    async () => {
      await produce(topic, [filler])
      return done(await offsetsOf(topic))
    },
    { deadline: 60_000 },
  )
}

test('the last offset of a record batch is compacted away', async (t) => {
  const { db, topic } = await setUp(t)
  // one record batch; its last message is replaced later
  await produce(topic, [
    { key: 'a', value: 'a1' },
    { key: 'b', value: 'b1' },
    { key: 'c', value: 'c1' },
  ])
  await produce(topic, [{ key: 'c', value: 'c2' }])
  await compactUntil(topic, { key: 'z', value: 'z' }, (offsets) => !offsets.includes(2))
  assert.deepEqual((await offsetsOf(topic)).slice(0, 3), [0, 1, 3])
  // batches end where messages were: a transaction for each
  await promptDaemon(t, db)
  await begin(db, topic, 'received', { start_offset: -2, batchsize: 1, maxbytes: 1 })
  const { end } = await endsOf(topic)
  await untilPassed(db, topic, end)
  await untilRows(db, `${received} WHERE value <> 'z'`, [[['a1', 'b1', 'c2']]])
  // a position in the hole
  await db.query('CREATE TABLE later (value text)')
  await begin(db, topic, 'later', { start_offset: 2 })
  await untilRows(db, `SELECT array_agg(value) FROM later WHERE value <> 'z'`, [[['c2']]])
})

test('nothing is left of a partition but the marker of a transaction', async (t) => {
  const { db, topic } = await setUp(t)
  await produce(topic, [
    { key: 'a', value: 'a1' },
    { key: 'b', value: 'b1' },
  ])
  await produce(topic, [
    { key: 'a', value: null },
    { key: 'b', value: null },
  ])
  // Counted, not asked for: the broker says that a transaction has ended before its marker is in the log.
  let end = 4
  await eventually(
    'the broker has compacted the topic',
    async () => {
      await produce(topic, [{ key: 'x', value: 'aborted' }], { transaction: 'abort' })
      end += 2
      return (await offsetsOf(topic)).length === 0
    },
    { deadline: 90_000 },
  )
  assert.ok(end > (await endsOf(topic)).start, 'there are offsets')
  await promptDaemon(t, db)
  await begin(db, topic, 'received', { start_offset: -2 })
  await untilPassed(db, topic, end)
  assert.equal((await consumerOf(db, topic)).messages, '0')
  await produce(topic, [{ key: 'c', value: 'c1' }])
  await untilRows(db, received, [[['c1']]])
})

test('a partition whose messages were all removed is empty, and read on from its end', async (t) => {
  const { db, topic } = await setUp(t)
  await adminOf().incrementalAlterConfigs({
    resources: [
      {
        resourceType: 2,
        resourceName: topic,
        configs: [{ name: 'cleanup.policy', configOperation: 0, value: 'compact,delete' }],
      },
    ],
  })
  await produce(topic, [
    { key: 'a', value: 'a1' },
    { key: 'b', value: 'b1' },
  ])
  await adminOf().deleteRecords({ topics: [{ name: topic, partitions: [{ partition: 0, offset: 2n }] }] })
  assert.deepEqual(await endsOf(topic), { start: 2, end: 2 })
  await promptDaemon(t, db)
  await begin(db, topic, 'received', { start_offset: -2 })
  await untilPassed(db, topic, 2)
  await produce(topic, [{ key: 'c', value: 'c1' }])
  await untilRows(db, received, [[['c1']]])
})
