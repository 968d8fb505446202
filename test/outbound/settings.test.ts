// What the settings of sending do to the record batches on the topic: their codec, how many messages one has, how large one is.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Cleanup } from '../support/cleanup.ts'
import { databaseFor } from '../support/database.ts'
import { addBroker, promptDaemon } from '../support/flow.ts'
import { batchesOf } from '../support/log.ts'
import { promptRelay, untilCount } from '../support/sent.ts'
import { topicFor } from '../support/topic.ts'

async function setUp(t: Cleanup, env: Record<string, string>) {
  const db = await databaseFor(t)
  await addBroker(db)
  const topic = await topicFor(t, { partitions: 1 })
  const produce = (count: number, size: number) =>
    db.query("SELECT count(millrace.produce($1, repeat('x', $3), 'k')) FROM generate_series(1, $2)", [
      topic,
      count,
      size,
    ])
  const start = () => promptDaemon(t, db, { env: { ...promptRelay, ...env } })
  return { db, topic, produce, start }
}

test('outbound.compression: batches are compressed so', async (t) => {
  for (const [compression, codec] of [
    ['none', 0],
    ['zstd', 4],
  ] as const) {
    const { topic, produce, start } = await setUp(t, { MILLRACE_OUTBOUND_COMPRESSION: compression })
    await produce(200, 1000)
    const daemon = await start()
    await untilCount(topic, 200, { deadline: 60_000 })
    const batches = await batchesOf(topic)
    assert.deepEqual(new Set(batches.map((batch) => batch.codec)), new Set([codec]))
    const bytes = batches.reduce((sum, { payload }) => sum + payload.length, 0)
    assert.ok(compression === 'none' ? bytes > 200_000 : bytes < 20_000, `${bytes} bytes`)
    await daemon.stop()
  }
})

test('outbound.batchSize: a batch is not much larger, and a message that is makes one of its own', async (t) => {
  const { db, topic, produce, start } = await setUp(t, { MILLRACE_OUTBOUND_BATCH_SIZE: '10kB' })
  await produce(100, 1000)
  await db.query("SELECT millrace.produce($1, repeat('y', 100000), 'k')", [topic])
  await produce(100, 1000)
  await start()
  await untilCount(topic, 201, { deadline: 60_000 })
  const sizes = (await batchesOf(topic)).map(({ records, payload }) => ({ records, bytes: payload.length }))
  for (const { records, bytes } of sizes)
    assert.ok(records <= 11 || bytes > 100_000, `${records} of ${bytes}`)
  assert.ok(sizes.length >= 20 && sizes.length < 40, `${sizes.length} batches`)
  const large = sizes.filter(({ bytes }) => bytes > 100_000)
  assert.equal(large.length, 1)
})
