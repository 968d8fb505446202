// What rows can be made of: metadata, upserts, changes of another database, and SQL of the user's.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Cleanup } from '../support/cleanup.ts'
import { databaseFor } from '../support/database.ts'
import { addBroker, consume, promptDaemon, untilPassed, untilRows, untilState } from '../support/flow.ts'
import { produce, topicFor } from '../support/topic.ts'

async function setUp(t: Cleanup, partitions = 1) {
  const db = await databaseFor(t)
  await addBroker(db)
  const topic = await topicFor(t, { partitions })
  await promptDaemon(t, db)
  return { db, topic }
}

describe('metadata', () => {
  for (const [format, options, value] of [
    ['json', {}, '{"n": 1}'],
    ['text', { columns: ['n'] }, '1'],
    ['csv', { columns: ['n'], delimiter: ',' }, '1'],
  ] as const) {
    test(`in columns, ${format}`, async (t) => {
      const { db, topic } = await setUp(t)
      await db.query(
        'CREATE TABLE target (n int, k text, tp text, p int, o bigint, ts timestamptz, h jsonb, note text DEFAULT $$x$$)',
      )
      await produce(topic, [
        { key: 'a,"b"\t\\', value, timestamp: 1_700_000_000_123, headers: { x: 'y' } },
        { value, timestamp: 1_700_000_000_000 },
      ])
      const metadata = { key: 'k', topic: 'tp', partition: 'p', offset: 'o', timestamp: 'ts', headers: 'h' }
      await consume(db, topic, 'target', { format, metadata, ...options })
      await untilPassed(db, topic, 2)
      const { rows } = await db.query(
        'SELECT n, k, tp, p, o::int, extract(epoch FROM ts)::float8 AS ts, h, note FROM target ORDER BY o',
      )
      assert.deepEqual(
        rows.map((row) => Object.values(row)),
        [
          [1, 'a,"b"\t\\', topic, 0, 0, 1_700_000_000.123, [{ name: 'x', value: 'y' }], 'x'],
          [1, null, topic, 0, 1, 1_700_000_000, [], 'x'],
        ],
      )
    })
  }

  test('F12 a tombstone as a row', async (t) => {
    const { db, topic } = await setUp(t)
    await db.query('CREATE TABLE target (n int, k text)')
    await produce(topic, [
      { key: 'a', value: '{"n": 1}' },
      { key: 'a', value: null },
    ])
    await consume(db, topic, 'target', { metadata: { key: 'k' }, tombstone: 'row' })
    await untilPassed(db, topic, 2)
    await untilRows(db, 'SELECT n, k FROM target ORDER BY n', [
      [1, 'a'],
      [null, 'a'],
    ])
  })
})

describe('upsert', () => {
  test('the last message of a key wins, within a batch and later', async (t) => {
    const { db, topic } = await setUp(t)
    await db.query('CREATE TABLE target (id int PRIMARY KEY, v text, n int DEFAULT 7)')
    await produce(topic, [
      { key: '1', value: '{"id": 1, "v": "a"}' },
      { key: '2', value: '{"id": 2, "v": "b", "n": 1}' },
      { key: '1', value: '{"id": 1, "v": "c"}' },
    ])
    await consume(db, topic, 'target', { mode: 'upsert' })
    await untilPassed(db, topic, 3)
    await untilRows(db, 'SELECT * FROM target ORDER BY id', [
      [1, 'c', 7],
      [2, 'b', 1],
    ])
    await produce(topic, [
      { key: '2', value: '{"id": 2, "v": "d", "n": 2}' },
      { key: '3', value: '{"id": 3, "v": "e"}' },
    ])
    await untilPassed(db, topic, 5)
    await untilRows(db, 'SELECT * FROM target ORDER BY id', [
      [1, 'c', 7],
      [2, 'd', 2],
      [3, 'e', 7],
    ])
  })

  test('F12 a tombstone deletes', async (t) => {
    const { db, topic } = await setUp(t)
    await db.query('CREATE TABLE target (id int, part text, v text, PRIMARY KEY (part, id))')
    const key = (id: number) => JSON.stringify({ part: 'p', id })
    await produce(topic, [
      { key: key(1), value: '{"id": 1, "part": "p", "v": "a"}' },
      { key: key(2), value: '{"id": 2, "part": "p", "v": "b"}' },
    ])
    await consume(db, topic, 'target', { mode: 'upsert' })
    await untilPassed(db, topic, 2)
    await produce(topic, [
      { key: key(1), value: null },
      { key: key(3), value: '{"id": 3, "part": "p", "v": "c"}' },
      { key: key(3), value: null },
      { key: key(2), value: null },
      { key: key(2), value: '{"id": 2, "part": "p", "v": "again"}' },
    ])
    await untilPassed(db, topic, 7)
    await untilRows(db, 'SELECT id, v FROM target ORDER BY id', [[2, 'again']])
  })

  for (const failing of [2, 20]) {
    test(`F12 what is counted where ${failing} of the messages fail, tombstones among them`, async (t) => {
      const { db, topic } = await setUp(t)
      await db.query('CREATE TABLE target (id int PRIMARY KEY)')
      await produce(topic, [{ key: '1', value: '{"id": 1}' }])
      await consume(db, topic, 'target', { mode: 'upsert', on_error: 'dead_letter' })
      await untilPassed(db, topic, 1)
      const bad = Array.from({ length: failing / 2 }, () => [
        { key: '1', value: '{"id": "x"}' },
        { key: null, value: null },
      ])
      const rest = [
        { key: '2', value: '{"id": 2}' },
        { key: '1', value: null },
        { key: '2', value: '' },
      ]
      await produce(topic, [...bad.flat(), ...rest])
      await untilPassed(db, topic, 4 + failing)
      await untilRows(db, 'SELECT id FROM target', [[2]])
      const counts =
        'sum(messages)::int AS messages, sum(skipped)::int AS skipped, sum(dead_letters)::int AS letters'
      await untilRows(db, `SELECT ${counts} FROM millrace.position`, [[3, 1, failing]])
      await untilRows(db, `SELECT ${counts} FROM millrace.batch`, [[3, 1, failing]])
    })
  }

  test('a unique value may go from a deleted row to a new one; a bad message is kept', async (t) => {
    const { db, topic } = await setUp(t)
    await db.query('CREATE TABLE target (id int PRIMARY KEY, email text UNIQUE, n int CHECK (n > 0))')
    await produce(topic, [{ key: '1', value: '{"id": 1, "email": "a", "n": 1}' }])
    await consume(db, topic, 'target', { mode: 'upsert', on_error: 'dead_letter' })
    await untilPassed(db, topic, 1)
    await produce(topic, [
      { key: '1', value: null },
      { key: '2', value: '{"id": 2, "email": "a", "n": 1}' },
      { key: '3', value: '{"id": 3, "email": "b", "n": 0}' },
      { key: '4', value: '{"id": 4, "email": "a", "n": 1}' },
    ])
    await untilPassed(db, topic, 5)
    await untilRows(db, 'SELECT id, email FROM target', [[2, 'a']])
    await untilRows(db, 'SELECT "offset"::int, sqlstate FROM millrace.dead_letter ORDER BY 1', [
      [3, '23514'],
      [4, '23505'],
    ])
  })

  for (const { mode, message } of [
    { mode: 'upsert', message: (row: object) => JSON.stringify(row) },
    { mode: 'changes', message: (after: object) => JSON.stringify({ op: 'c', before: null, after }) },
  ]) {
    test(`${mode}: a message that a later one of its key supersedes in the batch fails by its types alone, unless others fail`, async (t) => {
      const { db, topic } = await setUp(t)
      await db.query('CREATE TABLE target (id int PRIMARY KEY, n int CHECK (n > 0))')
      const send = (rows: object[]) =>
        produce(
          topic,
          rows.map((row) => ({ key: '1', value: message(row) })),
        )
      await send([
        { id: 1, n: -1 },
        { id: 1, n: 1 },
      ])
      await consume(db, topic, 'target', { mode, on_error: 'dead_letter' })
      await untilPassed(db, topic, 2)
      const letters = `SELECT "offset"::int, sqlstate FROM millrace.dead_letter ORDER BY 1`
      await untilRows(db, letters, [])
      await send([
        { id: 1, n: 'x' },
        { id: 1, n: -2 },
        { id: 1, n: 2 },
      ])
      await untilPassed(db, topic, 5)
      // the second of them was not inserted either in the part of the batch that it was in, or it was by itself
      const { rows } = await db.query(letters)
      assert.deepEqual(rows[0], { offset: 2, sqlstate: '22P02' })
      await untilRows(db, 'SELECT id, n FROM target', [[1, 2]])
      // the last one is the one that counts; where it fails, the one before it does
      await send([
        { id: 1, n: 3 },
        { id: 1, n: -3 },
      ])
      await untilPassed(db, topic, 7)
      await untilRows(db, 'SELECT id, n FROM target', [[1, 3]])
      const { rows: after } = await db.query(letters)
      assert.deepEqual(after.at(-1), { offset: 6, sqlstate: '23514' })
    })
  }

  test('text and csv, with columns of one’s own choice as the key', async (t) => {
    const { db, topic } = await setUp(t)
    await db.query('CREATE TABLE target (a int NOT NULL, b text, UNIQUE (a))')
    await produce(
      topic,
      ['1,x', '2,y', '1,"z,z"'].map((value) => ({ value })),
    )
    await consume(db, topic, 'target', { mode: 'upsert', key_columns: ['a'], format: 'csv', delimiter: ',' })
    await untilPassed(db, topic, 3)
    await untilRows(db, 'SELECT * FROM target ORDER BY a', [
      [1, 'z,z'],
      [2, 'y'],
    ])
  })
})

describe('changes', () => {
  const change = (op: string, before: object | null, after: object | null) =>
    JSON.stringify({ before, after, op, ts_ms: 1, source: { table: 't' } })

  for (const wrapped of [false, true]) {
    test(`of a Debezium connector, ${wrapped ? 'with' : 'without'} schema`, async (t) => {
      const { db, topic } = await setUp(t)
      await db.query('CREATE TABLE target (id int PRIMARY KEY, v text)')
      const send = (payloads: string[]) =>
        produce(
          topic,
          payloads.map((payload) => ({ value: wrapped ? `{"schema":{},"payload":${payload}}` : payload })),
        )
      await consume(db, topic, 'target', { mode: 'changes' })
      await send([
        change('r', null, { id: 1, v: 'a' }),
        change('c', null, { id: 2, v: 'b' }),
        change('u', { id: 1, v: 'a' }, { id: 1, v: 'c' }),
        change('d', { id: 2, v: 'b' }, null),
        change('c', null, { id: 3, v: 'd' }),
      ])
      await untilPassed(db, topic, 5)
      await untilRows(db, 'SELECT * FROM target ORDER BY id', [
        [1, 'c'],
        [3, 'd'],
      ])
      // the key changes; and what was before a truncation is gone
      await send([change('u', { id: 3, v: 'd' }, { id: 4, v: 'd' })])
      await untilPassed(db, topic, 6)
      await untilRows(db, 'SELECT id FROM target ORDER BY id', [[1], [4]])
      await send([
        change('c', null, { id: 5, v: 'e' }),
        change('t', null, null),
        change('c', null, { id: 6, v: 'f' }),
      ])
      await untilPassed(db, topic, 9)
      await untilRows(db, 'SELECT id FROM target ORDER BY id', [[6]])
    })
  }
})

describe('transform', () => {
  test('an aggregate with ON CONFLICT, exactly once', async (t) => {
    const { db, topic } = await setUp(t, 4)
    await db.query('CREATE TABLE target (day date PRIMARY KEY, n bigint, total numeric)')
    await produce(
      topic,
      Array.from({ length: 1000 }, (_, i) => ({
        value: JSON.stringify({ day: `2026-01-0${(i % 3) + 1}`, x: i }),
      })),
    )
    await consume(db, topic, 'target', {
      transform: `SELECT (value ->> 'day')::date, count(*), sum((value ->> 'x')::numeric) FROM batch GROUP BY 1
        ON CONFLICT (day) DO UPDATE SET n = target.n + excluded.n, total = target.total + excluded.total`,
    })
    await untilPassed(db, topic, 1000)
    await untilRows(db, 'SELECT day::text, n::int, total::int FROM target ORDER BY 1', [
      ['2026-01-01', 334, 166833],
      ['2026-01-02', 333, 166167],
      ['2026-01-03', 333, 166500],
    ])
  })

  test('parsed columns, metadata and a join', async (t) => {
    const { db, topic } = await setUp(t)
    await db.query(`CREATE TABLE product (sku text, price numeric); INSERT INTO product VALUES ('a', 1.5), ('b', 2);
      CREATE TABLE target (at timestamptz, sku text, amount numeric, k text, o bigint)`)
    await produce(topic, [
      { key: 'k1', value: '2026-01-01 00:00:00+00,a,3', timestamp: 1000 },
      { key: 'k2', value: '2026-01-02 00:00:00+00,b,1', timestamp: 2000 },
      { key: 'k3', value: '2026-01-02 00:00:00+00,none,1', timestamp: 2000 },
    ])
    await consume(db, topic, 'target', {
      format: 'csv',
      delimiter: ',',
      columns: ['at timestamptz', '"Sku" varchar(10)', 'quantity int'],
      transform: `SELECT at, "Sku", quantity * price, convert_from(key, 'UTF8'), "offset" FROM batch JOIN product ON sku = "Sku"`,
    })
    await untilPassed(db, topic, 3)
    await untilRows(db, 'SELECT sku, amount::float8, k, o::int FROM target ORDER BY o', [
      ['a', 4.5, 'k1', 0],
      ['b', 2, 'k2', 1],
    ])
  })

  test('a message that it cannot digest is kept, the others go in', async (t) => {
    const { db, topic } = await setUp(t)
    await db.query('CREATE TABLE target (n int)')
    await produce(
      topic,
      ['{"n": 1}', '{"n": "x"}', '[]x', '{"n": 3}'].map((value) => ({ value })),
    )
    await consume(db, topic, 'target', {
      transform: `SELECT (value ->> 'n')::int FROM batch`,
      on_error: 'dead_letter',
    })
    await untilPassed(db, topic, 4)
    await untilRows(db, 'SELECT n FROM target ORDER BY n', [[1], [3]])
    await untilRows(db, 'SELECT "offset"::int FROM millrace.dead_letter ORDER BY 1', [[1], [2]])
  })

  test('one that is no SQL stops the consumer and says so', async (t) => {
    const { db, topic } = await setUp(t)
    await db.query('CREATE TABLE target (n int)')
    await produce(topic, [{ value: '{"n": 1}' }])
    await consume(db, topic, 'target', { transform: 'SELECT nothing_of_the_kind FROM batch' })
    const failed = await untilState(db, topic, 'failed')
    assert.equal(failed.error_code, 'target-refused')
    assert.match(failed.error_message ?? '', /column "nothing_of_the_kind" does not exist/)
  })
})

test('the relation is altered while it runs', async (t) => {
  const { db, topic } = await setUp(t)
  await db.query('CREATE TABLE target (a int, b text)')
  await produce(topic, [{ value: '{"a": 1, "b": "x"}' }])
  await consume(db, topic, 'target')
  await untilPassed(db, topic, 1)
  await db.query('ALTER TABLE target DROP COLUMN b')
  await produce(topic, [{ value: '{"a": 2, "b": "x"}' }])
  await untilPassed(db, topic, 2)
  await db.query('DROP TABLE target; CREATE TABLE target (b text, c int DEFAULT 5, a bigint)')
  await produce(topic, [{ value: '{"a": 3, "b": "y"}' }])
  await untilPassed(db, topic, 3)
  await untilRows(db, 'SELECT a::int, b, c FROM target', [[3, 'y', 5]])
})

describe('the key names the relation', () => {
  test('rows of all of them in one transaction; unknown names are kept', async (t) => {
    const { db, topic } = await setUp(t)
    await db.query(`CREATE TABLE a (n int); CREATE SCHEMA other; CREATE TABLE other."B b" (n int, t text DEFAULT 'x');
      CREATE VIEW v AS SELECT n FROM a`)
    await produce(topic, [
      { key: 'a', value: '{"n": 1}' },
      { key: 'other."B b"', value: '{"n": 2}' },
      { key: 'nothing', value: '{"n": 3}' },
      { value: '{"n": 4}' },
      { key: 'a', value: '{"n": "x"}' },
      { key: 'v', value: '{"n": 5}' },
      { key: '"; DROP TABLE a; --', value: '{"n": 6}' },
      { key: 'a', value: null },
      { key: 'a', value: '{"n": 7}' },
    ])
    await consume(db, topic, null, { route_by_key: true, on_error: 'dead_letter' })
    await untilPassed(db, topic, 9)
    await untilRows(db, 'SELECT n FROM a ORDER BY n', [[1], [5], [7]])
    await untilRows(db, 'SELECT * FROM other."B b"', [[2, 'x']])
    await untilRows(db, 'SELECT "offset"::int, code FROM millrace.dead_letter ORDER BY 1', [
      [2, 'route-missing'],
      [3, 'route-missing'],
      [4, 'message-rejected'],
      [6, 'route-missing'],
    ])
  })

  test('as pipeline_kafka begins it: one that names nothing stops it until the relation is there', async (t) => {
    const { db, topic } = await setUp(t)
    await db.query('CREATE TABLE a (n int)')
    await produce(topic, [
      { key: 'a', value: '1' },
      { key: 'b', value: '2' },
      { key: 'a', value: '3' },
    ])
    await db.query('SELECT pipeline_kafka.consume_begin_stream_partitioned($1, start_offset := -2)', [topic])
    const failed = await untilState(db, topic, 'failed')
    assert.deepEqual([failed.error_code, failed.error_offset], ['route-missing', '1'])
    await untilRows(db, 'SELECT n FROM a', [[1]])
    await db.query('CREATE TABLE b (n int)')
    await db.query('SELECT pipeline_kafka.consume_begin_stream_partitioned($1)', [topic])
    await untilPassed(db, topic, 3)
    await untilRows(db, 'SELECT n FROM a ORDER BY n', [[1], [3]])
    await untilRows(db, 'SELECT n FROM b', [[2]])
  })
})
