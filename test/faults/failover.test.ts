// F15 A standby is promoted, in order or without the last commits, and a backup is restored to an earlier point.
// Rows and positions are of one moment on every timeline, so the daemon goes on by itself, and what was lost is
// read again.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { PostgresServer } from '../../stack/postgres.ts'
import type { Cleanup } from '../support/cleanup.ts'
import { archiving, backupOf, sameDatabase, startBackup } from '../support/copies.ts'
import { type Database, databaseAt, databaseFor } from '../support/database.ts'
import { databaseProxy } from '../support/database-proxy.ts'
import { eventually } from '../support/eventually.ts'
import { addBroker, positionsOf, promptDaemon, untilState } from '../support/flow.ts'
import { Ledger } from '../support/ledger.ts'
import { postgresFor } from '../support/servers.ts'
import { adminOf } from '../support/topic.ts'

/** A daemon that reaches its primary by an address that can lead to the standby. */
async function setUp(t: Cleanup, settings: Record<string, string> = {}) {
  const primary = await postgresFor(t, { settings: { fsync: 'off', ...settings } })
  const db = await databaseFor(t, { server: primary })
  await addBroker(db)
  const standby = await startBackup(t, await backupOf(t, primary), { standbyOf: primary })
  const after = databaseAt(t, sameDatabase(db.url, standby))
  const proxy = await databaseProxy(t, db.url)
  const daemon = await promptDaemon(t, proxy, { env: { MILLRACE_DATABASE_CONNECT_TIMEOUT: '1s' } })
  const ledger = await Ledger.open(t, db)
  await ledger.begin({ parallelism: 2, maxbytes: 20_000 })
  return { primary, db, standby, after, proxy, daemon, ledger }
}

/** What the pump commits is not on disk at once: the insert position is ahead of what is written. */
async function untilReplayed(primary: Database, standby: Database): Promise<void> {
  const { rows } = await primary.query('SELECT pg_current_wal_insert_lsn() AS lsn')
  await eventually('the standby has everything', async () => {
    const replayed = await standby.query('SELECT pg_last_wal_replay_lsn() >= $1 AS all', [rows[0].lsn])
    return replayed.rows[0].all
  })
}

async function timelinesOf(db: Database): Promise<[string, number][]> {
  const { rows } = await db.query('SELECT reason, timeline FROM millrace.identity_history ORDER BY id')
  return rows.map(({ reason, timeline }) => [reason, timeline])
}

/** The standby finds nobody to follow when it comes back. */
async function refuseStandbys(primary: PostgresServer, db: Database): Promise<void> {
  const file = join(primary.dataDirectory, 'pg_hba.conf')
  await writeFile(file, `host replication all all reject\n${await readFile(file, 'utf8')}`)
  await db.query('SELECT pg_reload_conf()')
}

async function promote(standby: PostgresServer, after: Database): Promise<void> {
  await after.query('SELECT pg_promote()')
  assert.ok(!existsSync(join(standby.dataDirectory, 'standby.signal')))
}

test('F15 a planned failover under load needs nobody', async (t) => {
  const { primary, standby, after, proxy, daemon, ledger } = await setUp(t)
  const load = ledger.keepProducing()
  await ledger.untilLoaded(1500)
  // a fast shutdown waits until the standby has received everything
  await primary.stop()
  proxy.switchTo(after.url, 'cut')
  await daemon.waitForLog('server-standby')
  await promote(standby, after)
  const moved = ledger.in(after)
  await moved.untilLoaded(ledger.total)
  await load.stop()
  await moved.untilWhole()
  await untilState(after, ledger.topic, 'running')
  await daemon.waitForLog('the database is on another timeline')
  assert.deepEqual((await timelinesOf(after)).at(-1), ['found', 2])
  assert.doesNotMatch(daemon.output(), /identity-changed/)
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
})

for (const old of ['cut', 'silent'] as const) {
  const what = old === 'cut' ? 'the primary dies' : 'the primary vanishes without a word and lives on'
  test(`F15 an asynchronous failover that lost the last commits: ${what}`, async (t) => {
    const { primary, db, standby, after, proxy, daemon, ledger } = await setUp(t)
    await ledger.produce(2000)
    await ledger.untilWhole()
    await untilReplayed(db, after)
    // from here on nothing reaches the standby
    await standby.stop()
    await refuseStandbys(primary, db)
    await ledger.produce(3000)
    await ledger.untilWhole()
    if (old === 'cut') await primary.kill()
    await standby.start()
    await promote(standby, after)
    assert.equal(await ledger.in(after).check(), 2000, 'rows and positions of the same moment')
    const load = ledger.keepProducing()
    proxy.switchTo(after.url, old)
    await ledger.in(after).untilLoaded(6000)
    await load.stop()
    await ledger.in(after).untilWhole()
    await untilState(after, ledger.topic, 'running')
    await daemon.waitForLog('beginning anew')
    assert.deepEqual((await timelinesOf(after)).at(-1), ['found', 2])
    if (old === 'silent') assert.equal(await ledger.check(), 5000, 'the old primary was left as it was')
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
  })
}

for (const retention of ['holds', 'does not hold'] as const) {
  test(`F15 restored to an earlier point, and the log ${retention} what came after it`, async (t) => {
    const { archive, settings } = await archiving(t)
    const server = await postgresFor(t, { settings })
    const db = await databaseFor(t, { server })
    await addBroker(db)
    const daemon = await promptDaemon(t, db)
    const ledger = await Ledger.open(t, db, { partitions: 1 })
    const backup = await backupOf(t, server)
    await ledger.begin()
    await ledger.produce(1000)
    await ledger.untilWhole()
    await db.query("SELECT pg_create_restore_point('before'), pg_switch_wal()")
    await ledger.produce(1000)
    await ledger.untilWhole()
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
    const { rows } = await db.query('SELECT pg_walfile_name(pg_switch_wal()) AS last')
    await eventually('the WAL is archived', () => existsSync(join(archive, rows[0].last)))
    await server.stop()

    const restored = await startBackup(t, backup, { restoredTo: 'before', archive })
    const after = databaseAt(t, sameDatabase(db.url, restored))
    await eventually('it takes writes', async () => {
      const found = await after.query('SELECT pg_is_in_recovery() AS recovering')
      return !found.rows[0].recovering
    })
    assert.equal(await ledger.in(after).check(), 1000)
    assert.deepEqual(await positionsOf(after, ledger.topic), { 0: 1000 })
    if (retention === 'does not hold') {
      const partitions = [{ partition: 0, offset: 1500n }]
      await adminOf().deleteRecords({ topics: [{ name: ledger.topic, partitions }] })
    }
    await promptDaemon(t, after)
    if (retention === 'holds') {
      await ledger.in(after).untilWhole()
      assert.equal((await timelinesOf(after)).at(-1)![0], 'found')
    } else {
      const failed = await untilState(after, ledger.topic, 'failed')
      assert.equal(failed.error_code, 'offset-out-of-range')
      assert.equal(await ledger.in(after).check(), 1000, 'nothing was passed over')
    }
  })
}
