// Sending with TLS and SASL: it goes through the listeners that have it, and what goes wrong there shows without the secret.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { securityVariants } from '../../stack/kafka-security.ts'
import type { Cleanup } from '../support/cleanup.ts'
import { databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { addBroker, promptDaemon } from '../support/flow.ts'
import { readWithJava } from '../support/java-client.ts'
import { outboxStatus, promptRelay, untilCount, untilSent, valuesOf } from '../support/sent.ts'
import { settingsFor, sharedServers } from '../support/servers.ts'
import { topicFor } from '../support/topic.ts'

async function setUp(t: Cleanup, brokers: string) {
  const db = await databaseFor(t)
  await addBroker(db, brokers)
  const topic = await topicFor(t, { partitions: 2 })
  await db.query("SELECT millrace.produce($1, 'first', 'key')", [topic])
  return { db, topic }
}

for (const variant of securityVariants) {
  test(`sending to a cluster with ${variant}`, async (t) => {
    const listener = sharedServers().secure[variant]
    const { db, topic } = await setUp(t, listener.brokers)
    const daemon = await promptDaemon(t, db, { env: { ...promptRelay, ...settingsFor(listener) } })
    await untilCount(topic, 1)
    await db.query("SELECT millrace.produce($1, 'second', 'key')", [topic])
    await untilCount(topic, 2)
    assert.deepEqual(valuesOf(await readWithJava(t, topic)), ['first', 'second'])
    await untilSent(db)
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
    if (listener.password) assert.ok(!daemon.output().includes(listener.password))
  })
}

test('F39 a wrong password: the backlog waits, the code shows, the password does not', async (t) => {
  const listener = sharedServers().secure.sasl_scram256
  const { db, topic } = await setUp(t, listener.brokers)
  const sentinel = 'sentinel-secret-of-this-test'
  const wrong = { ...settingsFor(listener), MILLRACE_KAFKA_SASL_PASSWORD: sentinel }
  const daemon = await promptDaemon(t, db, { env: { ...promptRelay, ...wrong } })
  const status = await eventually('the code shows', async () => {
    const found = await outboxStatus(db)
    return found.error_code === 'broker-authentication' && found
  })
  assert.equal(status.backlog, '1')
  const { rows } = await db.query('SELECT to_jsonb(s)::text AS status FROM millrace.outbox_status AS s')
  assert.ok(!JSON.stringify(rows).includes(sentinel))
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
  assert.ok(!daemon.output().includes(sentinel))
  await promptDaemon(t, db, { env: { ...promptRelay, ...settingsFor(listener) } })
  await untilCount(topic, 1)
})

test('a certificate that is not trusted: the backlog waits, with a code', async (t) => {
  const { db } = await setUp(t, sharedServers().secure.tls.brokers)
  await promptDaemon(t, db, { env: { ...promptRelay, MILLRACE_KAFKA_TLS: 'true' } })
  const status = await eventually('the code shows', async () => {
    const { rows } = await db.query('SELECT * FROM millrace.outbox_status')
    return rows[0].error_code === 'kafka-unreachable' && rows[0]
  })
  assert.match(status.error_message, /certificate/)
  assert.equal(status.backlog, '1')
})
