// A pooler that gives every transaction another session takes away what the daemon works with. It says so and does
// nothing; by way of a pool in session mode it works as it does directly.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import pg from 'pg'
import { databaseFor } from '../support/database.ts'
import { addBroker, promptDaemon, untilState } from '../support/flow.ts'
import { Ledger } from '../support/ledger.ts'
import { millrace } from '../support/millrace.ts'
import { noPgBouncer, pgBouncerFor } from '../support/pgbouncer.ts'

for (const mode of ['transaction', 'statement'] as const) {
  test(`a pooler in ${mode} mode is refused, by every command`, { skip: noPgBouncer }, async (t) => {
    const db = await databaseFor(t)
    await addBroker(db)
    const ledger = await Ledger.open(t, db)
    await ledger.begin()
    await ledger.produce(100)
    const url = await pgBouncerFor(t, db.url, mode)
    const daemon = await promptDaemon(t, { url })
    assert.deepEqual(await daemon.exited, { code: 4, signal: null })
    assert.match(daemon.output(), /"code":"pooler-transaction-mode"/)
    assert.match(daemon.output(), /LISTEN, temporary tables, session settings and advisory locks/)
    const { stderr } = await millrace(['status', '--database', url], { expect: 4 })
    assert.match(stderr, /^millrace: pooler-transaction-mode: /)
    const password = new URL(url).password
    assert.ok(!`${stderr}${daemon.output()}`.includes(password), 'no word of the password')
    // sessions of the pool go on to others: none of them may keep what a daemon had set
    const { rows } = await db.query(
      `SELECT count(*)::int AS daemons, (SELECT count(*)::int FROM millrace.position) AS positions FROM millrace.daemon`,
    )
    assert.deepEqual(rows, [{ daemons: 0, positions: 0 }])
    assert.equal(await searchPathVia(url), '"$user", public')
  })
}

/** The search path that the pool's first free session has. */
async function searchPathVia(url: string): Promise<string> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    const { rows } = await client.query('SHOW search_path')
    return rows[0].search_path
  } finally {
    await client.end()
  }
}

test('by way of a pool in session mode everything works', { skip: noPgBouncer }, async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const url = await pgBouncerFor(t, db.url, 'session')
  const daemon = await promptDaemon(t, { url })
  const ledger = await Ledger.open(t, db)
  await ledger.produce(4000)
  await ledger.begin({ parallelism: 2, maxbytes: 20_000 })
  await ledger.untilWhole()
  await untilState(db, ledger.topic, 'running')
  await millrace(['status', '--database', url])
  // a daemon that dies leaves sessions behind which its successor ends
  daemon.kill('SIGKILL')
  await daemon.exited
  await ledger.produce(2000)
  const successor = await promptDaemon(t, { url })
  await ledger.untilWhole()
  assert.deepEqual(await successor.stop(), { code: 0, signal: null })
})
