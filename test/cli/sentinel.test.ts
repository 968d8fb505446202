// FAULTS F39: a sentinel secret is absent from tables, logs, errors and the pages of the daemon's port while a daemon works, and while it fails to
// log in, which is when a client library has the most to tell.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { afterwards } from '../support/cleanup.ts'
import { watchedDaemon } from '../support/console.ts'
import { startDaemon } from '../support/daemon.ts'
import { databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { millrace } from '../support/millrace.ts'
import { sharedServers } from '../support/servers.ts'

for (const variant of ['sasl_plain', 'sasl_scram256', 'tls_sasl_scram512'] as const) {
  test(`a daemon that the broker refuses (${variant}) shows no secret, at the most talkative level`, async (t) => {
    const database = await databaseFor(t)
    const role = `daemon_${database.name}`
    await database.query(`CREATE ROLE ${role} LOGIN SUPERUSER PASSWORD 'sentinel-database'`)
    afterwards(t, () => database.query(`DROP ROLE ${role}`))
    await database.query('CREATE TABLE events (n integer)')
    const listener = sharedServers().secure[variant]
    await database.query('SELECT pipeline_kafka.add_broker($1)', [listener.brokers])
    await database.query("SELECT pipeline_kafka.consume_begin('sentinel_topic', 'events')")

    const url = database.urlAs(role, 'sentinel-database')
    const daemon = await watchedDaemon(t, database, {
      url,
      env: {
        MILLRACE_LOG_LEVEL: 'trace',
        MILLRACE_KAFKA_SASL_MECHANISM: listener.mechanism,
        MILLRACE_KAFKA_SASL_USERNAME: listener.username,
        MILLRACE_KAFKA_SASL_PASSWORD: 'sentinel-kafka',
        ...(listener.caFile && { MILLRACE_KAFKA_TLS_CA: listener.caFile }),
      },
    })
    const status = await eventually('the status says why', async () => {
      const { stdout } = await millrace(['status', '--database', url], { expect: 1 })
      return stdout.includes('broker-authentication') && stdout
    })
    const [metrics, readiness] = [await daemon.page('/metrics'), await daemon.page('/readyz')]
    assert.match(readiness.text, /broker-authentication/)
    const everything = await database.query("SELECT database_to_xml(true, false, '') AS dump")
    const sessions = await database.query(
      'SELECT string_agg(query || application_name, chr(10)) AS shown FROM pg_stat_activity WHERE datname = $1',
      [database.name],
    )
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
    for (const [where, text] of Object.entries({
      log: daemon.output(),
      status,
      metrics: metrics.text,
      readiness: readiness.text,
      tables: everything.rows[0].dump,
      statements: sessions.rows[0].shown,
    })) {
      assert.ok(text.length > 100, where)
      assert.doesNotMatch(text, /sentinel-(database|kafka)/, where)
    }
  })
}

test('a daemon that PostgreSQL refuses shows no secret', async (t) => {
  const database = await databaseFor(t)
  const daemon = await startDaemon(t, { url: database.urlAs('nobody', 'sentinel-database') })
  await daemon.waitForLog('database-unreachable')
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
  assert.match(
    daemon.output(),
    /password authentication failed for user \\"nobody\\"|role \\"nobody\\" does not exist/,
  )
  assert.doesNotMatch(daemon.output(), /sentinel/)
})
