// What Kafka's own client writes with each codec, in one topic.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { databaseFor } from '../support/database.ts'
import { addBroker, begin, promptDaemon, untilPassed, untilRows } from '../support/flow.ts'
import { produceWithJava } from '../support/java-client.ts'
import { batchesOf } from '../support/log.ts'
import { produce, topicFor } from '../support/topic.ts'

/** What each batch of the framing begins with. */
const xerial = Buffer.from('\x82SNAPPY\0', 'latin1')

test('every codec as the Java client writes it, snappy in the framing of xerial, mixed with others', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  await db.query('CREATE TABLE received (value text)')
  const topic = await topicFor(t, { partitions: 1 })
  const expected = await produceWithJava(t, topic, 500)
  // and in a topic that already holds them, what another client writes: snappy without frames
  for (const compression of ['snappy', 'lz4'] as const) {
    const values = Array.from({ length: 100 }, (_, n) => `again ${compression} ${n}`)
    await produce(
      topic,
      values.map((value) => ({ value })),
      { compression },
    )
    expected.push(...values)
  }
  const written = await batchesOf(topic)
  assert.deepEqual([...new Set(written.map(({ codec }) => codec))].toSorted(), [0, 1, 2, 3, 4])
  const framed = written.filter(({ payload }) => payload.subarray(0, 8).equals(xerial))
  assert.ok(framed.length > 0, 'the Java client frames snappy')
  assert.ok(written.filter(({ codec }) => codec === 2).length > framed.length, 'the other one does not')
  await promptDaemon(t, db)
  await begin(db, topic, 'received', { start_offset: -2 })
  await untilPassed(db, topic, expected.length)
  await untilRows(db, 'SELECT array_agg(value ORDER BY value COLLATE "C") FROM received', [
    [expected.toSorted()],
  ])
})
