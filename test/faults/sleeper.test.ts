// F04 A daemon that sleeps while its partitions are taken changes nothing when it wakes; and wherever it fell asleep,
// it holds nobody up.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { databaseFor } from '../support/database.ts'
import { addBroker, begin, promptDaemon } from '../support/flow.ts'
import { Ledger } from '../support/ledger.ts'
import { plainRoles } from '../support/plain-roles.ts'
import { untilStopped } from '../support/process.ts'

for (const [where, failpoint] of [
  ['after the position is written', 'inbound.after-position'],
  ['in the middle of a COPY into a table with a primary key', 'postgres.mid-copy'],
  ['before COMMIT', 'inbound.before-commit'],
  ['after COMMIT', 'inbound.after-commit'],
] as const) {
  test(`F04 a daemon stopped ${where}: the survivor gets on, the sleeper changes nothing`, async (t) => {
    const db = await databaseFor(t)
    await addBroker(db)
    const ledger = await Ledger.open(t, db, { constraint: 'PRIMARY KEY (partition, n)' })
    await ledger.produce(20_000)
    await ledger.begin({ maxbytes: 200_000 })
    const sleeper = await promptDaemon(t, db, { env: { MILLRACE_FAILPOINTS: `${failpoint}=stop@3` } })
    await untilStopped(sleeper.pid)
    assert.ok((await ledger.check()) < ledger.total)
    await promptDaemon(t, db)
    await ledger.untilWhole({ deadline: 40_000 })

    const before = sleeper.output().length
    const load = ledger.keepProducing()
    sleeper.kill('SIGCONT')
    // it is back when it has partitions again
    await sleeper.waitForLog(new RegExp(`^[^]{${before}}[^]*"msg":"reading"`), { deadline: 30_000 })
    await load.stop()
    await ledger.untilWhole()
    assert.deepEqual(await sleeper.stop(), { code: 0, signal: null })
    await ledger.produce(500)
    await ledger.untilWhole()
  })
}

test('F04 a daemon that sleeps and wakes again and again, while others take over', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const ledger = await Ledger.open(t, db)
  await ledger.produce(1_000)
  await ledger.begin({ maxbytes: 20_000, parallelism: 2 })
  const daemons = [await promptDaemon(t, db), await promptDaemon(t, db)]
  await ledger.untilLoaded(1_000)
  const load = ledger.keepProducing()
  for (const sleeper of [...daemons, ...daemons]) {
    sleeper.kill('SIGSTOP')
    // the other one has to take its partitions to get there
    const sent = ledger.total
    await ledger.untilLoaded(sent + 1_000)
    sleeper.kill('SIGCONT')
    await ledger.untilLoaded(ledger.total)
  }
  await load.stop()
  await ledger.untilWhole()
  for (const daemon of daemons) assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
})

test('F04 every daemon sleeps: the first to wake goes on', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const ledger = await Ledger.open(t, db)
  await ledger.produce(5_000)
  await ledger.begin({ maxbytes: 20_000 })
  const daemons = [await promptDaemon(t, db), await promptDaemon(t, db)]
  await ledger.untilLoaded(1_000)
  for (const daemon of daemons) daemon.kill('SIGSTOP')
  await ledger.produce(2_000)
  daemons[0]!.kill('SIGCONT')
  await ledger.untilWhole()
  daemons[1]!.kill('SIGCONT')
  await ledger.produce(2_000)
  await ledger.untilWhole()
})

test('F04 the survivor ends the sleeper’s session without being a superuser', async (t) => {
  const { db, daemon, owner, urlOf } = await plainRoles(t)
  const ledger = await Ledger.open(t, db, { constraint: 'PRIMARY KEY (partition, n)' })
  await db.query(`ALTER TABLE ${ledger.table} OWNER TO ${owner}`)
  await ledger.produce(20_000)
  const client = () => db.client({ connectionString: urlOf(owner) })
  await begin({ client }, ledger.topic, ledger.table, {
    format: 'csv',
    delimiter: ',',
    start_offset: -2,
    maxbytes: 200_000,
  })
  const env = { MILLRACE_FAILPOINTS: 'postgres.mid-copy=stop@3' }
  const sleeper = await promptDaemon(t, { url: urlOf(daemon) }, { env })
  await untilStopped(sleeper.pid)
  await promptDaemon(t, { url: urlOf(daemon) })
  await ledger.untilWhole({ deadline: 40_000 })
  sleeper.kill('SIGCONT')
  await ledger.produce(500)
  await ledger.untilWhole()
})
