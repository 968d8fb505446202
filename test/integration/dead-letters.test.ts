// Messages that cannot be loaded, where on_error says that the others go on: they are kept whole, in the transaction
// that passes them.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Cleanup } from '../support/cleanup.ts'
import { databaseFor } from '../support/database.ts'
import {
  addBroker,
  consume,
  consumerOf,
  promptDaemon,
  untilPassed,
  untilRows,
  untilState,
} from '../support/flow.ts'
import { produce, topicFor } from '../support/topic.ts'

async function setUp(t: Cleanup, partitions = 1) {
  const db = await databaseFor(t)
  await addBroker(db)
  const topic = await topicFor(t, { partitions })
  return { db, topic }
}

const letters = `SELECT partition, "offset"::int, sqlstate, code FROM millrace.dead_letter ORDER BY partition, "offset"`

test('F06 one bad row in 10,000: 9,999 rows and one dead letter, same transaction', async (t) => {
  const { db, topic } = await setUp(t, 4)
  await db.query('CREATE TABLE target (id int, name varchar(10))')
  const messages = Array.from({ length: 10_000 }, (_, i) => ({
    value: i === 6789 ? 'nonsense\tx' : `${i}\tname ${i % 10}`,
    partition: i % 4,
  }))
  await produce(topic, messages)
  await consume(db, topic, 'target', { format: 'text', on_error: 'dead_letter', batchsize: 100_000 })
  await promptDaemon(t, db)
  await untilPassed(db, topic, 10_000)
  await untilRows(db, 'SELECT count(*)::int, count(DISTINCT id)::int AS ids FROM target', [[9999, 9999]])
  await untilRows(db, letters, [[6789 % 4, Math.floor(6789 / 4), '22P02', 'message-rejected']])
  const { rows } = await db.query(
    `SELECT message, convert_from(value, 'UTF8') AS value FROM millrace.dead_letter`,
  )
  assert.equal(rows[0].value, 'nonsense\tx')
  assert.match(rows[0].message, /invalid input syntax for type integer: "nonsense"/)
  // the top-level transaction is the one that the batch is noted with
  await untilRows(
    db,
    `SELECT sum(messages)::int AS messages, sum(dead_letters)::int AS letters, bool_or(dead_letters = 1 AND messages >= 2400) FROM millrace.batch`,
    [[9999, 1, true]],
  )
  const row = await consumerOf(db, topic)
  assert.deepEqual([row.state, row.messages, row.error_code], ['running', '9999', null])
})

test('a dead letter has everything the message had', async (t) => {
  const { db, topic } = await setUp(t)
  await db.query('CREATE TABLE target (n int)')
  const key = Buffer.from([0, 1, 255])
  const value = Buffer.from([0x31, 0xff, 0x00])
  await produce(topic, [
    // the producer's own library gets a timestamp wrong that is far from the first one's
    { value: '1', timestamp: 1_700_000_000_000 },
    { key, value, timestamp: 1_700_000_000_123, headers: { a: 'b', c: Buffer.from([0, 254]) } },
    { value: '2', timestamp: 1_700_000_000_200 },
  ])
  await consume(db, topic, 'target', { format: 'text', on_error: 'dead_letter' })
  await promptDaemon(t, db)
  await untilPassed(db, topic, 3)
  await untilRows(db, 'SELECT n FROM target ORDER BY n', [[1], [2]])
  const { rows } = await db.query('SELECT * FROM millrace.dead_letter')
  assert.equal(rows.length, 1)
  const [letter] = rows
  assert.deepEqual(letter.key, key)
  assert.deepEqual(letter.value, value)
  assert.deepEqual(letter.headers, [
    Buffer.from('a'),
    Buffer.from('b'),
    Buffer.from('c'),
    Buffer.from([0, 254]),
  ])
  assert.equal(letter.timestamp.getTime(), 1_700_000_000_123)
  assert.deepEqual([letter.topic, letter.partition, letter.offset, letter.attempts], [topic, 0, '1', 1])
})

interface Case {
  what: string
  table: string
  format: string
  options?: Record<string, string>
  /** Every other one is bad. */
  good: (n: number) => string | Buffer
  bad: (n: number) => string | Buffer
  sqlstate: string | null
}

const cases: Case[] = [
  {
    what: 'no number',
    table: 'CREATE TABLE target (n int, t text)',
    format: 'text',
    good: (n) => `${n}\tx`,
    bad: (n) => `x${n}\tx`,
    sqlstate: '22P02',
  },
  {
    what: 'a column too few',
    table: 'CREATE TABLE target (n int, t text)',
    format: 'text',
    good: (n) => `${n}\tx`,
    bad: (n) => `${n}`,
    sqlstate: '22P04',
  },
  {
    what: 'a column too many',
    table: 'CREATE TABLE target (n int, t text)',
    format: 'csv',
    options: { delimiter: ',' },
    good: (n) => `${n},"a,b"`,
    bad: (n) => `${n},a,b`,
    sqlstate: '22P04',
  },
  {
    what: 'a quote that does not end',
    table: 'CREATE TABLE target (n int, t text)',
    format: 'csv',
    options: { delimiter: ',' },
    good: (n) => `${n},"a\nb"`,
    bad: (n) => `${n},"a`,
    sqlstate: null,
  },
  {
    what: 'a varchar that is too long, which is not cut',
    table: 'CREATE TABLE target (n int, t varchar(3))',
    format: 'json',
    good: (n) => `{"n": ${n}, "t": "abc"}`,
    bad: (n) => `{"n": ${n}, "t": "abcd"}`,
    sqlstate: '22001',
  },
  {
    what: 'a domain',
    table: `CREATE DOMAIN short AS varchar(3) CHECK (VALUE <> 'no'); CREATE TABLE target (n int, t short)`,
    format: 'json',
    good: (n) => `{"n": ${n}, "t": "abc"}`,
    bad: (n) => `{"n": ${n}, "t": "${n % 4 === 1 ? 'no' : 'abcd'}"}`,
    sqlstate: '(22001|23514)',
  },
  {
    what: 'no JSON',
    table: 'CREATE TABLE target (n int)',
    format: 'json',
    good: (n) => `{"n": ${n}}`,
    bad: (n) => `{"n": ${n}`,
    sqlstate: null,
  },
  {
    what: 'bytes that are no UTF-8',
    table: 'CREATE TABLE target (n int, t text)',
    format: 'text',
    good: (n) => `${n}\tä`,
    bad: (n) => Buffer.from([...Buffer.from(`${n}\t`), 0xc3]),
    sqlstate: '22021',
  },
  {
    what: 'a duplicate key',
    table: 'CREATE TABLE target (n int PRIMARY KEY); INSERT INTO target VALUES (-1)',
    format: 'text',
    good: (n) => `${n}`,
    bad: () => '-1',
    sqlstate: '23505',
  },
  {
    what: 'a deferred constraint',
    table: `CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (1);
      CREATE TABLE target (n int, p int REFERENCES parent DEFERRABLE INITIALLY DEFERRED)`,
    format: 'text',
    good: (n) => `${n}\t1`,
    bad: (n) => `${n}\t2`,
    sqlstate: '23503',
  },
  {
    what: 'a trigger that refuses',
    table: `CREATE TABLE target (n int); CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN IF NEW.n < 0 THEN RAISE EXCEPTION 'no %', NEW.n; END IF; RETURN NEW; END $$;
      CREATE TRIGGER refuse BEFORE INSERT ON target FOR EACH ROW EXECUTE FUNCTION refuse()`,
    format: 'text',
    good: (n) => `${n}`,
    bad: (n) => `-${n}`,
    sqlstate: 'P0001',
  },
]

describe('a bad message does not keep its neighbours out', () => {
  for (const count of [1, 40]) {
    for (const { what, table, format, options, good, bad, sqlstate } of cases) {
      test(`${what}, ${count} of them`, async (t) => {
        const { db, topic } = await setUp(t)
        await db.query(table)
        const messages = Array.from({ length: 200 }, (_, i) => ({
          value: i % 2 === 1 && i < count * 2 ? bad(i) : good(i),
        }))
        await produce(topic, messages)
        await consume(db, topic, 'target', { format, on_error: 'dead_letter', batchsize: 1000, ...options })
        await promptDaemon(t, db)
        await untilPassed(db, topic, 200)
        const goods = messages.map((_, i) => i).filter((i) => !(i % 2 === 1 && i < count * 2))
        await untilRows(
          db,
          'SELECT n FROM target WHERE n >= 0 ORDER BY n',
          goods.map((n) => [n]),
        )
        const { rows } = await db.query(
          `SELECT "offset"::int AS "offset", sqlstate FROM millrace.dead_letter ORDER BY 1`,
        )
        assert.deepEqual(
          rows.map((row) => row.offset),
          Array.from({ length: count }, (_, i) => 2 * i + 1),
        )
        for (const row of rows) {
          if (sqlstate !== null) assert.match(String(row.sqlstate), new RegExp(`^${sqlstate}$`))
        }
      })
    }
  }
})

test('with on_error skip a bad message is counted and not kept', async (t) => {
  const { db, topic } = await setUp(t)
  await db.query('CREATE TABLE target (n int)')
  await produce(
    topic,
    ['1', 'x', '2', 'y', 'z', 'w', '3'].map((value) => ({ value })),
  )
  await consume(db, topic, 'target', { format: 'text', on_error: 'skip' })
  await promptDaemon(t, db)
  await untilPassed(db, topic, 7)
  await untilRows(db, 'SELECT n FROM target ORDER BY n', [[1], [2], [3]])
  await untilRows(db, 'SELECT count(*)::int FROM millrace.dead_letter', [[0]])
  await untilRows(db, 'SELECT messages::int, dead_letters::int FROM millrace.position', [[3, 4]])
})

test('when the dead letters are full the consumer stops, and nothing is lost', async (t) => {
  const { db, topic } = await setUp(t)
  await db.query('CREATE TABLE target (n int)')
  await produce(
    topic,
    ['1', 'x', 'y'].map((value) => ({ value })),
  )
  await consume(db, topic, 'target', { format: 'text', on_error: 'dead_letter', dead_letter_limit: 2 })
  await promptDaemon(t, db)
  await untilPassed(db, topic, 3)
  await produce(
    topic,
    ['2', 'z'].map((value) => ({ value })),
  )
  const failed = await untilState(db, topic, 'failed')
  assert.equal(failed.error_code, 'dead-letters-full')
  await untilRows(db, 'SELECT count(*)::int FROM millrace.dead_letter', [[2]])
  await db.query('DELETE FROM millrace.dead_letter')
  await db.query('SELECT millrace.resume($1)', [failed.id])
  await untilPassed(db, topic, 5)
  await untilRows(db, 'SELECT n FROM target ORDER BY n', [[1], [2]])
})

test('F07 a lock, a read-only server: waited for, nothing is dead-lettered', async (t) => {
  const { db, topic } = await setUp(t)
  await db.query('CREATE TABLE target (n int)')
  await consume(db, topic, 'target', { format: 'text', on_error: 'dead_letter' })
  await promptDaemon(t, db)
  await untilState(db, topic, 'running')
  const holder = await db.client()
  await holder.query('BEGIN; LOCK TABLE target IN ACCESS EXCLUSIVE MODE; SET LOCAL lock_timeout = 0')
  await produce(
    topic,
    ['1', 'x', '2'].map((value) => ({ value })),
  )
  await untilRows(
    db,
    `SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%COPY%'`,
    [[true]],
  )
  await holder.query('ROLLBACK')
  await untilPassed(db, topic, 3)
  await untilRows(db, 'SELECT n FROM target ORDER BY n', [[1], [2]])
  await untilRows(db, letters, [[0, 1, '22P02', 'message-rejected']])
})
