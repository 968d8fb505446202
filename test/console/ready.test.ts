// Ready is a daemon that is connected to PostgreSQL and does what it finds there; alive is one whose event loop turns.

import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { afterwards } from '../support/cleanup.ts'
import { watchedDaemon } from '../support/console.ts'
import { startDaemon } from '../support/daemon.ts'
import { databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { sampleOf } from '../support/exposition.ts'
import { postgresFor } from '../support/servers.ts'

test('PostgreSQL away: alive, not ready, and why; back: ready', async (t) => {
  const server = await postgresFor(t)
  const db = await databaseFor(t, { server })
  const daemon = await watchedDaemon(t, db)
  await eventually('ready', async () => (await daemon.page('/readyz')).status === 200)
  await server.stop()
  const unready = await eventually('not ready, with a reason', async () => {
    const { status, text } = await daemon.page('/readyz')
    const answer = JSON.parse(text)
    // for a moment it may be the server's farewell (57P01)
    return status === 503 && answer.missing[0].code === 'database-unreachable' && answer
  })
  assert.equal(unready.missing[0].what, 'postgresql')
  assert.deepEqual(unready.checks, { postgresql: false, schema: false, reconciling: false })
  assert.equal((await daemon.page('/healthz')).status, 200)
  const found = await daemon.metrics()
  assert.equal(sampleOf(found, 'millrace_ready').value, 0)
  await server.start()
  await eventually('ready again', async () => (await daemon.page('/readyz')).status === 200)
  assert.ok(
    sampleOf(await daemon.metrics(), 'millrace_postgres_connect_failures_total', { use: 'listener' }).value >
      0,
  )
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
})

test('PostgreSQL that is there and does not answer: not ready, until it does', async (t) => {
  const db = await databaseFor(t)
  const daemon = await watchedDaemon(t, db)
  await eventually('ready', async () => (await daemon.page('/readyz')).status === 200)
  const { rows } = await db.query(
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'millrace listener'",
  )
  const { pid } = rows[0]
  process.kill(pid, 'SIGSTOP')
  afterwards(t, () => process.kill(pid, 'SIGCONT'))
  const unready = await eventually(
    'not ready',
    async () => {
      const { status, text } = await daemon.page('/readyz')
      return status === 503 && JSON.parse(text)
    },
    { deadline: 60_000 },
  )
  assert.deepEqual(unready.missing, [{ what: 'reconciling' }])
  process.kill(pid, 'SIGCONT')
  await eventually('ready again', async () => (await daemon.page('/readyz')).status === 200)
})

test('a port that is taken stops the daemon at once, with a code', async (t) => {
  const db = await databaseFor(t)
  const taken = createServer()
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
  t.after(() => taken.close())
  const { port } = taken.address() as { port: number }
  const daemon = await startDaemon(t, { url: db.url, env: { MILLRACE_HTTP_LISTEN: String(port) } })
  assert.equal((await daemon.exited).code, 1)
  assert.match(daemon.output(), /"code":"http-listen-failed"/)
  assert.match(daemon.output(), new RegExp(`127.0.0.1:${port}`))
})

test('nothing is served unless it is asked for', async (t) => {
  const db = await databaseFor(t)
  const daemon = await startDaemon(t, { url: db.url })
  await daemon.waitForLog('connected to PostgreSQL')
  assert.doesNotMatch(daemon.output(), /serving/)
})
