// F15 Invariant 7: a database knows itself. A copy that can be told from the original waits for a person; one that
// cannot be told from it takes nothing away from it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import pg from 'pg'
import { afterwards, type Cleanup } from '../support/cleanup.ts'
import { backupOf, sameDatabase, startBackup } from '../support/copies.ts'
import { type Database, databaseAt, databaseFor } from '../support/database.ts'
import { copyRows } from '../support/dump.ts'
import { addBroker, promptDaemon, untilState } from '../support/flow.ts'
import { Ledger } from '../support/ledger.ts'
import { millrace } from '../support/millrace.ts'
import { postgresFor } from '../support/servers.ts'

const waits = 'everything waits for millrace adopt'

async function installationOf(db: Database): Promise<{ id: string; reasons: string[] }> {
  const { rows } = await db.query(
    'SELECT i.id, array(SELECT reason FROM millrace.identity_history ORDER BY id) AS reasons FROM millrace.installation AS i',
  )
  return rows[0]
}

/** A database into which a topic was loaded; no daemon runs any more. */
async function loaded(t: Cleanup, db: Database): Promise<Ledger> {
  await addBroker(db)
  const ledger = await Ledger.open(t, db)
  await ledger.produce(1000)
  await ledger.begin({ parallelism: 2 })
  const daemon = await promptDaemon(t, db)
  await ledger.untilWhole()
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
  return ledger
}

/** Statements for the server as a whole, with nobody connected to the test's database. */
async function onServer(db: Database, ...statements: string[]): Promise<void> {
  const url = new URL(db.url)
  url.pathname = '/postgres'
  const client = new pg.Client({ connectionString: url.href })
  await client.connect()
  try {
    await client.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [db.name])
    for (const statement of statements) await client.query(statement)
  } finally {
    await client.end()
  }
}

/** The same database by another name. */
function named(t: Cleanup, db: Database, name: string): Database {
  const url = new URL(db.url)
  url.pathname = `/${name}`
  afterwards(t, () => onServer({ ...db, name }, `DROP DATABASE IF EXISTS ${name}`))
  return databaseAt(t, url.href)
}

test('F15 a copy made by CREATE DATABASE waits, then is adopted as a clone and reads for itself', async (t) => {
  const db = await databaseFor(t)
  const ledger = await loaded(t, db)
  const copy = named(t, db, `${db.name}_copy`)
  await onServer(db, `CREATE DATABASE ${copy.name} TEMPLATE ${db.name}`)
  const original = await promptDaemon(t, db)
  const daemon = await promptDaemon(t, copy)
  await daemon.waitForLog(waits)
  await ledger.produce(1000)
  await ledger.untilWhole()
  assert.equal(await ledger.in(copy).check(), 1000, 'the copy has read nothing')

  const status = await millrace(['status', '--database', copy.url], { expect: 1 })
  assert.match(status.stdout, /identity-changed: .*was called test_\w+ and is called test_\w+_copy/)
  const asked = await millrace(['adopt', '--database', copy.url], { expect: 4 })
  assert.match(asked.stderr, /millrace: identity-changed: /)
  await millrace(['adopt', '--clone', '--moved', '--database', copy.url], { expect: 2 })
  await millrace(['adopt', '--moved', '--keep-running', '--database', copy.url], { expect: 2 })

  const before = await installationOf(db)
  const { stdout } = await millrace(['adopt', '--clone', '--database', copy.url])
  const after = await installationOf(copy)
  assert.match(stdout, new RegExp(`clone, installation ${after.id}`))
  assert.match(stdout, /consumers stopped: 1/)
  assert.notEqual(after.id, before.id)
  assert.equal(after.reasons.at(-1), 'clone')
  await untilState(copy, ledger.topic, 'stopped')
  await millrace(['adopt', '--database', copy.url])

  // the daemon that waited serves it now
  await copy.query('SELECT pipeline_kafka.consume_begin()')
  await ledger.in(copy).untilWhole()
  await ledger.produce(1000)
  await ledger.untilWhole()
  await ledger.in(copy).untilWhole()
  for (const running of [original, daemon]) {
    assert.deepEqual(await running.stop(), { code: 0, signal: null })
  }
})

test('F15 a database that was renamed waits, then is adopted as moved and goes on', async (t) => {
  const db = await databaseFor(t)
  const ledger = await loaded(t, db)
  const before = await installationOf(db)
  const renamed = named(t, db, `${db.name}_renamed`)
  await onServer(db, `ALTER DATABASE ${db.name} RENAME TO ${renamed.name}`)
  await ledger.produce(1000)
  const daemon = await promptDaemon(t, renamed)
  await daemon.waitForLog(waits)
  assert.equal(await ledger.in(renamed).check(), 1000)
  const { stdout } = await millrace(['adopt', '--moved', '--database', renamed.url])
  assert.match(stdout, /adopted as the original: the database was called /)
  await ledger.in(renamed).untilWhole()
  assert.equal((await installationOf(renamed)).id, before.id)
  await untilState(renamed, ledger.topic, 'running')
})

test('F15 a dump that is restored on another server waits, then goes on from its positions', async (t) => {
  const db = await databaseFor(t)
  const ledger = await loaded(t, db)
  const server = await postgresFor(t, { settings: { fsync: 'off' } })
  const restored = databaseAt(t, server.urlOf(db.name))
  const client = new pg.Client({ connectionString: server.url })
  await client.connect()
  await client.query(`CREATE DATABASE ${db.name} TEMPLATE template0`)
  await client.end()
  await millrace(['install', '--all', '--database', restored.url])
  await restored.query(`CREATE TABLE ${ledger.table} (partition int, n bigint, body text)`)
  await copyRows(db, restored, [ledger.table])
  // the original is out of service; its log goes on
  await ledger.produce(1000)
  const daemon = await promptDaemon(t, restored)
  await daemon.waitForLog(waits)
  assert.match(daemon.output(), /the system identifier was \d+ and is \d+/)
  assert.equal(await ledger.in(restored).check(), 1000)
  await millrace(['adopt', '--moved', '--database', restored.url])
  await ledger.in(restored).untilWhole()
  assert.equal((await installationOf(restored)).id, (await installationOf(db)).id)
})

test('F15 a running daemon whose database is exchanged stops everything', async (t) => {
  const db = await databaseFor(t)
  const ledger = await loaded(t, db)
  const daemon = await promptDaemon(t, db)
  await ledger.produce(1000)
  await ledger.untilWhole()
  await untilState(db, ledger.topic, 'running')
  await onServer(
    db,
    `ALTER DATABASE ${db.name} ALLOW_CONNECTIONS false`,
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${db.name}'`,
    `CREATE DATABASE ${db.name}_new TEMPLATE ${db.name}`,
    `DROP DATABASE ${db.name}`,
    `ALTER DATABASE ${db.name}_new RENAME TO ${db.name}`,
  )
  await ledger.produce(1000)
  await daemon.waitForLog(waits)
  assert.match(daemon.output(), /had the oid \d+ and has \d+/)
  assert.equal(await ledger.check(), 2000)
  const { rows } = await db.query(
    "SELECT application_name FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'millrace%'",
  )
  assert.deepEqual(
    rows.map((row) => row.application_name),
    ['millrace listener'],
  )
  await millrace(['adopt', '--moved', '--database', db.url])
  await ledger.untilWhole()
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
})

test('F15 a copied server that cannot be told from its original takes nothing from it', async (t) => {
  const server = await postgresFor(t, { settings: { fsync: 'off' } })
  const db = await databaseFor(t, { server })
  const ledger = await loaded(t, db)
  const twin = await startBackup(t, await backupOf(t, server), 'clone')
  const copy = databaseAt(t, sameDatabase(db.url, twin))
  const identities = await Promise.all(
    [db, copy].map((each) => each.query('SELECT i::text FROM millrace.identity() AS i')),
  )
  assert.deepEqual(identities[1]!.rows, identities[0]!.rows, 'nothing tells the one from the other')

  // both in one consumer group: without care each would get some of the partitions
  const daemons = [await promptDaemon(t, db), await promptDaemon(t, copy)]
  await ledger.produce(2000)
  await ledger.untilWhole()
  await ledger.in(copy).untilWhole()
  const output = daemons.map((daemon) => daemon.output()).join('\n')
  assert.match(output, /group-shared/, 'the leader of the group has said so')

  const { stdout } = await millrace(['adopt', '--clone', '--keep-running', '--database', copy.url])
  assert.match(stdout, /go on from the positions/)
  await ledger.produce(1000)
  await ledger.untilWhole()
  await ledger.in(copy).untilWhole()
  assert.notEqual((await installationOf(copy)).id, (await installationOf(db)).id)
  await untilState(copy, ledger.topic, 'running')
  for (const daemon of daemons) assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
})
