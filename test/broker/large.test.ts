// Messages of 50 MB, where the broker and the memory budget allow them; and one that is larger than the budget.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { type KafkaServer, startKafka } from '../../stack/kafka.ts'
import { databaseFor } from '../support/database.ts'
import {
  addBroker,
  begin,
  positionsOf,
  promptDaemon,
  untilPassed,
  untilRows,
  untilState,
} from '../support/flow.ts'
import { produce, topicFor } from '../support/topic.ts'

let kafka: KafkaServer
before(async () => {
  const settings = { 'message.max.bytes': '80000000', 'replica.fetch.max.bytes': '80000000' }
  kafka = await startKafka({ brief: true, settings, heap: 700 })
})
after(() => kafka?.remove())

const sizes = 'SELECT array_agg(length(value) ORDER BY length(value)) FROM received'

/** Bytes of memory that a process has had at the most. */
function peakOf(pid: number): number {
  const [, kilobytes] = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))!
  return Number(kilobytes) * 1024
}

const large = 50_000_000

// beside the program itself, plain: the response, its COPY bytes, and what is not collected yet; compressed: also what
// it is decompressed with
for (const [kind, codecs, most] of [
  ['plain', ['none', 'none', 'none'], 9 * large],
  ['compressed', ['gzip', 'lz4', 'zstd'], 14 * large],
] as const) {
  test(`messages of 50 MB, ${kind}, between small ones`, async (t) => {
    const { brokers } = kafka
    const db = await databaseFor(t)
    await addBroker(db, brokers)
    await db.query('CREATE TABLE received (value text)')
    const topic = await topicFor(t, { partitions: 2, brokers })
    await produce(topic, [{ value: 'small', partition: 0 }], { brokers })
    for (const compression of codecs) {
      const message = { value: 'x'.repeat(large), partition: 0 }
      await produce(topic, [message], { brokers, compression, fresh: true })
    }
    const tiny = [0, 1].map((partition) => ({ value: 'tiny', partition }))
    await produce(topic, tiny, { brokers })
    const daemon = await promptDaemon(t, db, { env: { MILLRACE_DAEMON_MEMORY_BUDGET: '64MB' } })
    await begin(db, topic, 'received', { start_offset: -2 })
    await untilPassed(db, topic, codecs.length + 3, { deadline: 120_000 })
    await untilRows(db, sizes, [[[4, 4, 5, ...codecs.map(() => large)]]])
    assert.ok(peakOf(daemon.pid) < most, `${peakOf(daemon.pid)} bytes`)
    t.diagnostic(`at most ${Math.round(peakOf(daemon.pid) / 1e6)} MB resident`)
  })
}

test('a message beyond the budget stops the consumer there; nothing is lost, and a larger budget loads it', async (t) => {
  const { brokers } = kafka
  const db = await databaseFor(t)
  await addBroker(db, brokers)
  await db.query('CREATE TABLE received (value text)')
  const topic = await topicFor(t, { partitions: 3, brokers })
  const small = [0, 1, 2].map((partition) => ({ value: 'small', partition }))
  await produce(topic, small, { brokers })
  await produce(topic, [{ value: 'x'.repeat(30_000_000), partition: 1 }], { brokers, fresh: true })
  await produce(topic, small, { brokers })
  const daemon = await promptDaemon(t, db, { env: { MILLRACE_DAEMON_MEMORY_BUDGET: '16MB' } })
  await begin(db, topic, 'received', { start_offset: -2 })
  const failed = await untilState(db, topic, 'failed', { deadline: 60_000 })
  assert.equal(failed.error_code, 'message-too-large')
  assert.deepEqual([failed.error_partition, failed.error_offset], [1, '1'])
  assert.match(failed.error_message ?? '', /offset 1 .*partition 1 is larger, with 300\d+ bytes/)
  assert.equal((await positionsOf(db, topic))[1], 1)
  await daemon.stop()
  await promptDaemon(t, db, { env: { MILLRACE_DAEMON_MEMORY_BUDGET: '64MB' } })
  await begin(db, topic, 'received')
  await untilPassed(db, topic, 7, { deadline: 60_000 })
  await untilRows(db, sizes, [[[...Array(6).fill(5), 30_000_000]]])
})
