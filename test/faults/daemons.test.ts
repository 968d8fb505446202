// F05 Daemons share the partitions of a topic, come and go under load, and each offset is loaded once.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Database, databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { addBroker, promptDaemon } from '../support/flow.ts'
import { Ledger } from '../support/ledger.ts'

/** How many daemons own partitions now. */
async function owners(db: Database): Promise<number> {
  const { rows } = await db.query('SELECT count(DISTINCT owner)::int AS owners FROM millrace.position')
  return rows[0].owners
}

test('F05 two daemons, a third that joins and leaves, all under load', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const ledger = await Ledger.open(t, db, { partitions: 6 })
  await ledger.begin({ maxbytes: 20_000, parallelism: 2 })
  const load = ledger.keepProducing()
  await promptDaemon(t, db)
  await promptDaemon(t, db)
  await eventually('both have partitions', async () => (await owners(db)) === 2)
  await ledger.untilLoaded(ledger.total)
  for (let round = 0; round < 2; round++) {
    const third = await promptDaemon(t, db)
    await eventually('the third has partitions', async () => (await owners(db)) === 3)
    await ledger.untilLoaded(ledger.total)
    assert.deepEqual(await third.stop(), { code: 0, signal: null })
    await eventually('the third has none', async () => (await owners(db)) === 2)
    await ledger.untilLoaded(ledger.total)
  }
  await load.stop()
  await ledger.untilWhole()
})

test('F05 a daemon is killed under load: the survivor takes over', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const ledger = await Ledger.open(t, db)
  await ledger.begin({ maxbytes: 20_000 })
  const load = ledger.keepProducing()
  const daemons = [await promptDaemon(t, db), await promptDaemon(t, db)]
  for (let round = 0; round < 3; round++) {
    await eventually('both have partitions', async () => (await owners(db)) === 2)
    await ledger.untilLoaded(ledger.total)
    const victim = daemons.shift()!
    victim.kill('SIGKILL')
    await victim.exited
    await ledger.untilLoaded(ledger.total)
    daemons.push(await promptDaemon(t, db))
  }
  await load.stop()
  await ledger.untilWhole()
})

test('F05 more daemons than partitions, many consumers, few connections', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const ledgers = await Promise.all(Array.from({ length: 6 }, () => Ledger.open(t, db, { partitions: 2 })))
  for (const ledger of ledgers) await ledger.begin({ maxbytes: 20_000, parallelism: 3 })
  // of four connections one is left to load with
  const env = { MILLRACE_DATABASE_MAX_CONNECTIONS: '4' }
  await promptDaemon(t, db, { env })
  await promptDaemon(t, db, { env })
  const third = await promptDaemon(t, db, { env })
  for (const ledger of ledgers) await ledger.produce(2_000)
  await third.waitForLog('connected to PostgreSQL')
  assert.deepEqual(await third.stop(), { code: 0, signal: null })
  for (const ledger of ledgers) await ledger.untilWhole()
  const { rows } = await db.query(
    `SELECT count(*)::int AS sessions FROM pg_stat_activity
      WHERE datname = current_database() AND application_name LIKE 'millrace%'`,
  )
  assert.ok(rows[0].sessions <= 8, `${rows[0].sessions} sessions of two daemons`)
})

test('F05 consume_end and consume_begin under load, with two daemons', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const ledger = await Ledger.open(t, db)
  await ledger.begin({ maxbytes: 20_000 })
  const load = ledger.keepProducing()
  await promptDaemon(t, db)
  await promptDaemon(t, db)
  for (let round = 0; round < 5; round++) {
    await ledger.untilLoaded(ledger.total)
    await db.query('SELECT pipeline_kafka.consume_end()')
    await ledger.check()
    await db.query('SELECT pipeline_kafka.consume_begin()')
  }
  await load.stop()
  await ledger.untilWhole()
})
