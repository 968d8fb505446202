// TLS and SASL come from the daemon's configuration; what goes wrong with them is said without the secret.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { securityVariants } from '../../stack/kafka-security.ts'
import type { Cleanup } from '../support/cleanup.ts'
import { databaseFor } from '../support/database.ts'
import { addBroker, begin, promptDaemon, untilRows, untilState } from '../support/flow.ts'
import { settingsFor, sharedServers } from '../support/servers.ts'
import { produce, topicFor } from '../support/topic.ts'

async function setUp(t: Cleanup, brokers: string) {
  const db = await databaseFor(t)
  await addBroker(db, brokers)
  await db.query('CREATE TABLE target (n int)')
  const topic = await topicFor(t, { partitions: 2 })
  await produce(
    topic,
    [0, 1].map((partition) => ({ value: String(partition), partition })),
  )
  await begin(db, topic, 'target', { start_offset: -2 })
  return { db, topic }
}

for (const variant of securityVariants) {
  test(`a cluster with ${variant}, by environment`, async (t) => {
    const listener = sharedServers().secure[variant]
    const { db, topic } = await setUp(t, listener.brokers)
    const daemon = await promptDaemon(t, db, { env: settingsFor(listener) })
    await untilRows(db, 'SELECT n FROM target ORDER BY n', [[0], [1]])
    await untilState(db, topic, 'running')
    if (listener.password) assert.ok(!daemon.output().includes(listener.password))
  })
}

test('a cluster with TLS and SCRAM, by configuration file', async (t) => {
  const listener = sharedServers().secure.tls_sasl_scram512
  const { db } = await setUp(t, listener.brokers)
  const { mechanism, username, password } = listener
  await promptDaemon(t, db, {
    config: {
      clusters: { default: { tls: { ca: listener.caFile }, sasl: { mechanism, username, password } } },
    },
  })
  await untilRows(db, 'SELECT n FROM target ORDER BY n', [[0], [1]])
})

test('F39 a wrong password: retried, with a code, and the password is shown nowhere', async (t) => {
  const listener = sharedServers().secure.sasl_scram256
  const { db, topic } = await setUp(t, listener.brokers)
  const sentinel = 'sentinel-secret-of-this-test'
  const env = { ...settingsFor(listener), MILLRACE_KAFKA_SASL_PASSWORD: sentinel }
  const daemon = await promptDaemon(t, db, { env })
  const retrying = await untilState(db, topic, 'retrying')
  assert.equal(retrying.error_code, 'broker-authentication')
  await daemon.waitForLog('broker-authentication')
  assert.ok(!daemon.output().includes(sentinel))
  const { rows } = await db.query('SELECT to_jsonb(r)::text AS report FROM millrace.report AS r')
  assert.ok(!JSON.stringify(rows).includes(sentinel))
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
})

test('a certificate that is not trusted: retried, with a code', async (t) => {
  const listener = sharedServers().secure.tls
  const { db, topic } = await setUp(t, listener.brokers)
  await promptDaemon(t, db, { env: { MILLRACE_KAFKA_TLS: 'true' } })
  const retrying = await untilState(db, topic, 'retrying')
  assert.equal(retrying.error_code, 'kafka-unreachable')
  assert.match(retrying.error_message ?? '', /certificate/)
})
