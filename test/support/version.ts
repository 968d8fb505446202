// Every supported major version is really run: the core of the suite, the very tests that run on the newest one,
// and what only the owner of a server can do to it. The binaries are fetched once.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { binariesOf } from '../../stack/postgres-versions.ts'
import { StackProblem } from '../../stack/problem.ts'
import type { Cleanup } from './cleanup.ts'
import { databaseFor } from './database.ts'
import { addBroker, promptDaemon, untilState } from './flow.ts'
import { Ledger } from './ledger.ts'
import { environment } from './millrace.ts'
import { ownedDatabase } from './owned-database.ts'
import { postgresFor, sharedServers, sharedServersVariable } from './servers.ts'
import { installTemplate } from './template.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** By file, the beginnings of the names of the tests that are the core. */
const core: Record<string, string[]> = {
  'test/integration/consume.test.ts': ['text, csv and json flow', 'what document 000', 'what document 001'],
  'test/integration/targets.test.ts': ['generated columns, identities and defaults'],
  'test/integration/one-by-one.test.ts': ['messages that fail', 'so they do'],
  'test/integration/poison.test.ts': ['a wrong type, found by COPY'],
  'test/integration/roles.test.ts': ['a daemon without superuser'],
  'test/integration/retry.test.ts': ['F07 what the database sets for everybody else'],
  'test/faults/crash.test.ts': ['F01 kill -9 before COMMIT'],
  'test/sql/produce.test.ts': ['millrace.produce'],
  'test/sql/produce-rights.test.ts': ['who may produce', 'what an ordinary role can do to the outbox'],
  'test/sql/emit-tuple.test.ts': [
    'pipeline_kafka.emit_tuple sends the new row',
    'pipeline_kafka.emit_tuple used otherwise',
  ],
  'test/sql/pg-kafka.test.ts': ['kafka.broker shows'],
  'test/outbound/snapshot.test.ts': [
    'every row once',
    'rows that somebody has locked',
    'a table that is rewritten',
    'pg2kafka.setup of a large table',
  ],
  'test/outbound/snapshot-attack.test.ts': [
    'F38 a writer that tries to act as the daemon a trigger that waits for COMMIT',
    'F38 a writer that tries to act as the daemon a cursor that is filled at COMMIT',
  ],
  'test/publish/statement.test.ts': [
    'millrace.publish sends',
    'a changed key',
    'COPY, ON CONFLICT',
    'MERGE',
    'UPDATE pairs',
  ],
  'test/publish/row.test.ts': [
    'F21 a partitioned table',
    'a child table',
    'PostgreSQL does not attach',
    'another trigger',
    'F21 a session that has written before',
  ],
  'test/publish/alter.test.ts': ['F21 captured by'],
  'test/publish/envelope.test.ts': ['debezium', 'pg2kafka: five', 'JSON is exact', 'generated columns'],
  'test/publish/rights.test.ts': ['F37 a writer', 'F38 code of users', 'F38 nor in a'],
  'test/sql/install.test.ts': ['millrace install installs as a plain owner'],
}

/** Its core on a server of that version. */
export function testVersion(major: number): void {
  test(`PostgreSQL ${major}: install, consume, fail, rights, kill -9, restart`, async (t) => {
    let binaries: string
    try {
      binaries = await binariesOf(major)
    } catch (error) {
      if (!(error instanceof StackProblem)) throw error
      t.skip(`the binaries of PostgreSQL ${major} are not to be had: ${error.message}`)
      return
    }
    const server = await postgresFor(t, { binaries, settings: { fsync: 'off' } })
    const servers = { ...sharedServers(), databaseUrl: server.url, template: await installTemplate(server) }
    await passes(servers)

    const db = await databaseFor(t, { server })
    const { rows } = await db.query("SELECT current_setting('server_version_num')::int / 10000 AS major")
    assert.equal(rows[0].major, major)
    await addBroker(db)
    const ledger = await Ledger.open(t, db)
    await ledger.begin({ parallelism: 2 })
    const daemon = await promptDaemon(t, db)
    await ledger.produce(5000)
    await ledger.untilLoaded(1)
    await server.kill()
    await server.start()
    await ledger.produce(1000)
    await ledger.untilWhole()
    await untilState(db, ledger.topic, 'running')
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
    await identityIsSeen(t, server)
  })
}

/** The core on these servers. */
async function passes(servers: object): Promise<void> {
  const names = Object.values(core).flat()
  const child = spawn(
    process.execPath,
    [
      ...['--test', '--test-isolation=none', '--test-reporter=tap'],
      ...names.map((name) => `--test-name-pattern=^${name}`),
      ...Object.keys(core),
    ],
    {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: environment({ [sharedServersVariable]: JSON.stringify(servers) }),
    },
  )
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text) => (output += text))
  child.stderr.setEncoding('utf8').on('data', (text) => (output += text))
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  const passed = Number(/^# pass (\d+)$/m.exec(output)?.[1])
  const failures = output.split('\n').filter((line) => /^ *not ok/.test(line))
  assert.equal(code, 0, `${failures.join('\n')}\n${output.slice(-8000)}`)
  assert.ok(passed >= names.length, `${passed} of ${names.length} tests were found`)
}

/** A daemon's role that is no superuser sees what tells its database from others. */
async function identityIsSeen(t: Cleanup, server: Awaited<ReturnType<typeof postgresFor>>): Promise<void> {
  const { as, roles, database } = await ownedDatabase(t, { server: { server } })
  const owner = await as(roles.owner)
  const { rows } = await owner.run('SELECT * FROM millrace.identity()')
  const control = await database.query(
    'SELECT system_identifier::text, timeline_id FROM pg_control_system(), pg_control_checkpoint()',
  )
  assert.equal(rows[0]!.system_identifier, control.rows[0].system_identifier)
  assert.equal(rows[0]!.timeline, control.rows[0].timeline_id)
  assert.equal(await owner.value('SELECT millrace.identity_difference()'), null)
}
