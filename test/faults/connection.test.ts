// F03 The connection breaks around COMMIT: whether it took place, only the stored position knows.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { databaseFor } from '../support/database.ts'
import { type Cut, databaseProxy } from '../support/database-proxy.ts'
import { addBroker, promptDaemon, untilState } from '../support/flow.ts'
import { Ledger } from '../support/ledger.ts'

for (const [cut, what] of [
  ['before', 'the COMMIT is lost'],
  ['after', 'the answer to the COMMIT is lost'],
  ['during', 'the outcome is open'],
] as [Cut, string][]) {
  test(`F03 connection lost during COMMIT, ${what}: the stored position decides`, async (t) => {
    const db = await databaseFor(t)
    await addBroker(db)
    const proxy = await databaseProxy(t, db.url)
    const daemon = await promptDaemon(t, proxy)
    // without a key: a batch that is loaded twice would be there twice
    const ledger = await Ledger.open(t, db)
    await ledger.produce(8_000)
    proxy.cutCommits(cut, 3)
    await ledger.begin({ maxbytes: 20_000, parallelism: 2 })
    await ledger.untilWhole()
    assert.ok(proxy.cuts >= 5, `${proxy.cuts} COMMITs were cut`)
    proxy.cutCommits(null)
    await ledger.produce(500)
    await ledger.untilWhole()
    await untilState(db, ledger.topic, 'running')
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
  })
}

test('F03 with a deferred constraint that fails at the COMMIT whose answer is lost', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const proxy = await databaseProxy(t, db.url)
  await promptDaemon(t, proxy)
  const ledger = await Ledger.open(t, db, {
    partitions: 1,
    constraint: 'CONSTRAINT once UNIQUE (partition, n) DEFERRABLE INITIALLY DEFERRED',
  })
  await db.query(`INSERT INTO ${ledger.table} VALUES (0, 700, 'was there before')`)
  await ledger.produce(1_000, 100)
  proxy.cutCommits('after', 2)
  await ledger.begin({ maxbytes: 2_000 })
  const failed = await untilState(db, ledger.topic, 'failed', { deadline: 60_000 })
  assert.deepEqual([failed.error_sqlstate, failed.error_offset], ['23505', '700'])
  proxy.cutCommits(null)
  await db.query(`DELETE FROM ${ledger.table} WHERE body = 'was there before'`)
  assert.equal(await ledger.check(), 700)
  await db.query('SELECT pipeline_kafka.consume_begin()')
  await ledger.untilWhole()
})
