// F13 When writing stands still, reading does: memory is bounded by settings and not by the backlog, and the
// membership of the group is kept or regained. And a daemon that is asked to end does so, with what it has in hand.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { addBroker, begin, positionsOf, promptDaemon, untilPassed, untilState } from '../support/flow.ts'
import { Ledger } from '../support/ledger.ts'
import { residentBytes } from '../support/process.ts'
import { produce, topicFor } from '../support/topic.ts'

const mebibyte = 1024 * 1024

test('F13 a target that is locked for a while before a large backlog', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const topic = await topicFor(t)
  const other = await Ledger.open(t, db)
  const value = 'x'.repeat(10_000)
  for (let sent = 0; sent < 12_000; sent += 400) {
    await produce(
      topic,
      Array.from({ length: 400 }, (_, n) => ({ value, partition: n % 4 })),
    )
  }
  await db.query('CREATE TABLE target (value text)')
  const daemon = await promptDaemon(t, db, { env: { MILLRACE_DAEMON_MEMORY_BUDGET: '16MB' } })
  await other.begin()
  await other.produce(500)
  await other.untilWhole()
  const idle = residentBytes(daemon.pid)
  const client = await db.client()
  await client.query('BEGIN; LOCK TABLE target IN ACCESS EXCLUSIVE MODE')
  await begin(db, topic, 'target', { start_offset: -2, parallelism: 4 })
  let most = 0
  await eventually(
    'it is retrying',
    async () => {
      most = Math.max(most, residentBytes(daemon.pid))
      const { rows } = await db.query('SELECT state FROM millrace.consumers WHERE topic = $1', [topic])
      return rows[0].state === 'retrying'
    },
    { deadline: 40_000 },
  )
  // others still get their turn, and their share of the memory
  await other.produce(500)
  await other.untilWhole()
  await client.query('COMMIT')
  await eventually(
    'everything is loaded',
    async () => {
      most = Math.max(most, residentBytes(daemon.pid))
      const positions = Object.values(await positionsOf(db, topic))
      return positions.reduce((sum, next) => sum + next, 0) === 12_000
    },
    { deadline: 60_000 },
  )
  await untilState(db, topic, 'running')
  const { rows } = await db.query('SELECT count(*)::int AS loaded FROM target')
  assert.equal(rows[0].loaded, 12_000)
  const grown = Math.round((most - idle) / mebibyte)
  t.diagnostic(`resident memory: ${Math.round(idle / mebibyte)} MB idle, ${grown} MB more at most`)
  assert.ok(grown < 100, `${grown} MB more than idle, for 120 MB of backlog and a budget of 16 MB`)
  assert.doesNotMatch(daemon.output(), /group-lost/)
})

test('F13 a consumer that waits for a lock longer than its session keeps its partitions', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const daemon = await promptDaemon(t, db, {
    env: { MILLRACE_GROUP_SESSION_TIMEOUT: '1s', MILLRACE_GROUP_HEARTBEAT_INTERVAL: '200ms' },
  })
  const ledger = await Ledger.open(t, db)
  await ledger.produce(1_000)
  await ledger.begin()
  await ledger.untilWhole()
  const client = await db.client()
  await client.query(`BEGIN; LOCK TABLE ${ledger.table} IN ACCESS EXCLUSIVE MODE`)
  await ledger.produce(1_000)
  await untilState(db, ledger.topic, 'retrying', { deadline: 40_000 })
  await client.query('COMMIT')
  await ledger.untilWhole()
  const readings = daemon.output().split('"msg":"reading"').length - 1
  assert.equal(readings, 1, 'it never had to join again')
})

test('SIGTERM under load finishes the batch in hand, commits and exits 0', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const ledger = await Ledger.open(t, db)
  await ledger.produce(1_000)
  await ledger.begin({ maxbytes: 20_000, parallelism: 2 })
  const load = ledger.keepProducing()
  for (let round = 0; round < 4; round++) {
    const daemon = await promptDaemon(t, db)
    await ledger.untilLoaded(ledger.total)
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
    await ledger.check()
    const { rows } = await db.query(
      'SELECT count(*)::int AS held FROM millrace.position WHERE owner IS NOT NULL',
    )
    assert.equal(rows[0].held, 0, 'it has let go of its partitions')
  }
  await load.stop()
  await promptDaemon(t, db)
  await ledger.untilWhole()
})

test('a second signal ends a daemon that waits for a lock, at once', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const daemon = await promptDaemon(t, db)
  const ledger = await Ledger.open(t, db)
  await ledger.produce(1_000)
  await ledger.begin()
  await ledger.untilWhole()
  const client = await db.client()
  await client.query(`BEGIN; LOCK TABLE ${ledger.table} IN ACCESS EXCLUSIVE MODE`)
  await ledger.produce(1_000)
  await eventually('the load waits for the lock', async () => {
    const { rows } = await db.query('SELECT FROM pg_locks WHERE relation = $1::regclass AND NOT granted', [
      ledger.table,
    ])
    return rows.length > 0
  })
  daemon.kill('SIGTERM')
  await daemon.waitForLog('stopping')
  // one that comes at once after the first is taken for its echo
  let gone = false
  void daemon.exited.then(() => {
    gone = true
  })
  await eventually('another signal ends it', async () => {
    if (!gone) daemon.kill('SIGTERM')
    return gone
  })
  assert.deepEqual(await daemon.exited, { code: 143, signal: null })
  await client.query('COMMIT')
  await ledger.check()
  await promptDaemon(t, db)
  await untilPassed(db, ledger.topic, 2_000)
  await ledger.untilWhole()
})
