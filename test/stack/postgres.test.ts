import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import pg from 'pg'
import type { PostgresServer } from '../../stack/postgres.ts'
import { eventually } from '../support/eventually.ts'
import { postgresFor } from '../support/servers.ts'

async function ask(server: PostgresServer, sql: string): Promise<any[]> {
  const client = new pg.Client({ connectionString: server.url })
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query(sql)).rows
  } finally {
    await client.end()
  }
}

test('PostgreSQL comes back with its data after kill -9, on the same port', async (t) => {
  const server = await postgresFor(t)
  const [url, firstPid] = [server.url, server.pid()]
  await ask(server, 'CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n')

  await server.kill()
  assert.throws(() => server.pid(), /down/)
  await assert.rejects(ask(server, 'SELECT 1'), { code: 'ECONNREFUSED' })

  await server.start()
  assert.equal(server.url, url)
  assert.notEqual(server.pid(), firstPid)
  assert.deepEqual(await ask(server, 'SELECT count(*)::int FROM kept'), [{ count: 1000 }])
})

test('PostgreSQL is set up for what the project needs', async (t) => {
  const server = await postgresFor(t, { settings: { fsync: 'off', application_name: 'x y' } })
  const rows = await ask(server, 'SELECT name, setting FROM pg_settings')
  const settings = Object.fromEntries(rows.map(({ name, setting }) => [name, setting]))
  assert.equal(settings.wal_level, 'logical')
  assert.equal(settings.fsync, 'off')
  assert.equal(settings.application_name, 'x y')
  assert.equal(settings.server_encoding, 'UTF8')
  assert.equal(settings.extension_control_path, `${server.shareDirectory}:$system`)
  assert.match(settings.server_version!, /^18\./)
})

test('remove() leaves neither the process nor a file, also of a server that was killed', async (t) => {
  for (const end of ['nothing', 'stop', 'kill'] as const) {
    const server = await postgresFor(t)
    const pid = server.pid()
    if (end !== 'nothing') await server[end]()
    await server.remove()
    assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' })
    assert.equal(existsSync(dirname(server.logFile)), false)
  }
})

test('a data directory of its own outlives remove() and can be started again', async (t) => {
  const scratch = await postgresFor(t)
  const dataDirectory = join(scratch.socketDirectory, 'given')
  const first = await postgresFor(t, { dataDirectory })
  await ask(first, 'CREATE TABLE kept AS SELECT 1 AS n')
  await first.remove()
  const second = await postgresFor(t, { dataDirectory })
  assert.deepEqual(await ask(second, 'SELECT n FROM kept'), [{ n: 1 }])
})

test('kill() ends the backends, too, whatever they are at', async (t) => {
  const server = await postgresFor(t)
  const busy = new pg.Client({ connectionString: server.url })
  busy.on('error', () => {})
  await busy.connect()
  const { rows } = await busy.query('SELECT pg_backend_pid() AS pid')
  const ended = assert.rejects(busy.query('SELECT pg_sleep(3600)'))
  await server.kill()
  await ended
  await eventually('the backend is gone', () => !isAlive(rows[0].pid))
})

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
