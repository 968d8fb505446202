// The relation is altered, exchanged or locked while it is loaded. Whatever the messages still fit goes on, at the
// latest when the daemon looks again; nothing is lost, and nothing is twice.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Cleanup } from '../support/cleanup.ts'
import { databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { addBroker, begin, promptDaemon, untilPassed, untilRows, untilState } from '../support/flow.ts'
import { Ledger } from '../support/ledger.ts'
import { produce, topicFor } from '../support/topic.ts'

async function setUp(t: Cleanup) {
  const db = await databaseFor(t)
  await addBroker(db)
  const daemon = await promptDaemon(t, db)
  return { db, daemon }
}

for (const [what, alter, message, expected] of [
  ['added', 'ADD city text', '{"n": 2, "name": "b", "city": "Rome"}', [2, 'b', 'Rome']],
  ['dropped', 'DROP name', '{"n": 2, "name": "b"}', [2]],
  ['renamed', 'RENAME name TO title', '{"n": 2, "name": "b", "title": "c"}', [2, 'c']],
  [
    'of another type',
    'ALTER name TYPE jsonb USING to_jsonb(name)',
    '{"n": 2, "name": {"a": 1}}',
    [2, { a: 1 }],
  ],
] as const) {
  test(`a column is ${what} while the consumer runs: the next messages go by it`, async (t) => {
    const { db, daemon } = await setUp(t)
    const topic = await topicFor(t, { partitions: 1 })
    await db.query('CREATE TABLE target (n int, name text)')
    await produce(topic, [{ value: '{"n": 1, "name": "a", "city": "Oslo"}' }])
    await begin(db, topic, 'target', { format: 'json', start_offset: -2 })
    await untilPassed(db, topic, 1)
    await db.query(`ALTER TABLE target ${alter}`)
    await daemon.waitForLog('the relation was altered')
    await produce(topic, [{ value: message }])
    await untilPassed(db, topic, 2)
    await untilRows(db, 'SELECT * FROM target WHERE n = 2', [[...expected]])
    await untilState(db, topic, 'running')
  })
}

test('columns and triggers come and go under load, which goes on', async (t) => {
  const { db, daemon } = await setUp(t)
  const topic = await topicFor(t, { partitions: 2 })
  await db.query(`CREATE TABLE target (n int);
    CREATE TABLE seen (n int);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN INSERT INTO seen VALUES (NEW.n); RETURN NEW; END $$`)
  await begin(db, topic, 'target', { format: 'json', start_offset: -2, maxbytes: 10_000, parallelism: 2 })
  let sent = 0
  const send = async () => {
    const messages = Array.from({ length: 500 }, (_, i) => ({
      value: `{"n": ${sent + i}}`,
      partition: i % 2,
    }))
    await produce(topic, messages)
    sent += messages.length
  }
  for (const change of [
    'ALTER TABLE target ADD first text',
    'ALTER TABLE target ALTER n TYPE bigint',
    'CREATE TRIGGER note BEFORE INSERT ON target FOR EACH ROW EXECUTE FUNCTION note()',
    "ALTER TABLE target ADD second text DEFAULT 'x' NOT NULL",
    'CREATE INDEX ON target (n)',
  ]) {
    await send()
    await db.query(change)
    await send()
  }
  await untilPassed(db, topic, sent, { deadline: 60_000 })
  await untilRows(db, 'SELECT count(*)::int AS rows, count(DISTINCT n)::int AS "distinct" FROM target', [
    [sent, sent],
  ])
  await untilRows(
    db,
    'SELECT count(*)::int > 0 AS some, count(*) = count(DISTINCT n) AS once, bool_and(n IN (SELECT n FROM target)) AS known FROM seen',
    [[true, true, true]],
  )
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
})

test('a table that takes the place of another under load gets what the other did not', async (t) => {
  const { db } = await setUp(t)
  const ledger = await Ledger.open(t, db)
  await ledger.begin({ maxbytes: 20_000, parallelism: 2 })
  const load = ledger.keepProducing()
  await ledger.untilLoaded(1000)
  const client = await db.client()
  await client.query(`BEGIN;
    ALTER TABLE ${ledger.table} RENAME TO former;
    CREATE TABLE ${ledger.table} (LIKE former INCLUDING ALL);
    COMMIT`)
  await eventually('the new one is loaded', async () => {
    const { rows } = await db.query(`SELECT EXISTS (SELECT FROM ${ledger.table}) AS loaded`)
    return rows[0].loaded
  })
  await load.stop()
  await untilPassed(db, ledger.topic, ledger.total, { deadline: 60_000 })
  await db.query(`INSERT INTO ${ledger.table} SELECT * FROM former`)
  assert.equal(await ledger.check(), ledger.total, 'each in one of the two')
  await untilState(db, ledger.topic, 'running')
})
