// A quota of the broker: the pauses that it asks for are kept and shown, and everything arrives in the end.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import {
  addBroker,
  begin,
  consumerOf,
  promptDaemon,
  untilPassed,
  untilRows,
  untilState,
} from '../support/flow.ts'
import { adminOf, produce, topicFor } from '../support/topic.ts'

/** Bytes a second that the client id may read; none: without a quota. */
async function limit(clientId: string, rate?: number): Promise<void> {
  await adminOf().alterClientQuotas({
    entries: [
      {
        entities: [{ entityType: 'client-id', entityName: clientId }],
        ops: [{ key: 'consumer_byte_rate', value: rate ?? 0, remove: rate === undefined }],
      },
    ],
  })
}

test('throttle_time_ms is honoured and visible, and what comes late comes whole', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  await db.query('CREATE TABLE received (value text)')
  const topic = await topicFor(t, { partitions: 2 })
  const clientId = `slow-${topic}`
  await limit(clientId, 50_000)
  t.after(() => limit(clientId))
  const values = Array.from({ length: 160 }, (_, n) => String(n).padEnd(10_000, '.'))
  for (let n = 0; n < values.length; n += 10) {
    const part = values.slice(n, n + 10)
    await produce(
      topic,
      part.map((value, index) => ({ value, partition: index % 2 })),
    )
  }
  const daemon = await promptDaemon(t, db, { env: { MILLRACE_KAFKA_CLIENT_ID: clientId } })
  await begin(db, topic, 'received', { start_offset: -2, maxbytes: 50_000 })
  await eventually('the quota is shown', async () => {
    const { state, error_code: code } = await consumerOf(db, topic)
    assert.deepEqual([state, code], ['running', 'broker-throttled'])
    return true
  })
  await daemon.waitForLog('the broker asks for a pause')
  const pauses = [...daemon.output().matchAll(/"milliseconds":(\d+)/g)].map(([, text]) => Number(text))
  assert.ok(pauses.length > 0 && pauses.every((pause) => pause > 0), String(pauses))
  // somebody raises the quota
  await limit(clientId)
  await untilPassed(db, topic, values.length, { deadline: 60_000 })
  await untilRows(db, 'SELECT count(*)::int AS rows, count(DISTINCT value)::int AS values FROM received', [
    [160, 160],
  ])
  await untilState(db, topic, 'running')
  await eventually('it is not said for ever', async () => (await consumerOf(db, topic)).error_code === null)
})
