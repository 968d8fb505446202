// A message that cannot be loaded stops its consumer where it stands: everything before it is committed, nothing
// after it is, other consumers go on, and whoever looks is told which message and why.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Cleanup } from '../support/cleanup.ts'
import { databaseFor } from '../support/database.ts'
import {
  addBroker,
  type BeginOptions,
  begin,
  consumerOf,
  end,
  positionsOf,
  promptDaemon,
  untilPassed,
  untilRows,
  untilState,
} from '../support/flow.ts'
import { millrace } from '../support/millrace.ts'
import { produce, topicFor } from '../support/topic.ts'

interface Case {
  what: string
  table: string
  messages: string[]
  options?: BeginOptions
  /** Of the bad message. */
  offset: number
  code: string
  /** What PostgreSQL, or the check before it, says. */
  says: RegExp
  sqlstate?: string
}

const csv = { format: 'csv', delimiter: ',' }

const cases: Case[] = [
  {
    what: 'a wrong type, found by COPY',
    table: '(n int)',
    messages: ['1', '2', 'three', '4'],
    offset: 2,
    code: 'message-rejected',
    says: /invalid input syntax for type integer: "three"/,
    sqlstate: '22P02',
  },
  {
    what: 'the name of a relation that there is not',
    table: '(r regclass)',
    messages: ['pg_class', '-', 'nope'],
    offset: 2,
    code: 'message-rejected',
    says: /relation "nope" does not exist/,
    sqlstate: '42P01',
  },
  {
    what: 'too few columns',
    table: '(n int, m int)',
    messages: ['1\t1', '2'],
    offset: 1,
    code: 'message-rejected',
    says: /missing data for column "m"/,
    sqlstate: '22P04',
  },
  {
    what: 'a second row with a unique value',
    table: '(n int PRIMARY KEY)',
    messages: ['1', '2', '3', '2', '4'],
    offset: 3,
    code: 'message-rejected',
    says: /duplicate key value violates unique constraint/,
    sqlstate: '23505',
  },
  {
    what: 'a second row with a unique value, found at COMMIT',
    table: '(n int UNIQUE DEFERRABLE INITIALLY DEFERRED)',
    messages: ['1', '2', '3', '2', '4'],
    offset: 3,
    code: 'message-rejected',
    says: /duplicate key value violates unique constraint/,
    sqlstate: '23505',
  },
  {
    what: 'a check constraint',
    table: '(n int CHECK (n < 10))',
    messages: ['1', '20', '3'],
    offset: 1,
    code: 'message-rejected',
    says: /violates check constraint/,
    sqlstate: '23514',
  },
  {
    what: 'a backslash at the end, found before COPY',
    table: '(n text)',
    messages: ['1', '2', '3\\', '4'],
    offset: 2,
    code: 'trailing-backslash',
    says: /backslash/,
  },
  {
    what: 'the end marker, found before COPY',
    table: '(n text)',
    messages: ['1', '\\.', '3'],
    offset: 1,
    code: 'copy-end-marker',
    says: /end of the data|\\\./,
  },
  {
    what: 'an open quote, found before COPY',
    table: '(n text)',
    messages: ['1', '"two', 'three'],
    options: csv,
    offset: 1,
    code: 'unbalanced-quote',
    says: /quote/,
  },
  {
    what: 'invalid JSON',
    table: '(n int)',
    messages: ['{"n": 1}', '{"n": 2', '{"n": 3}'],
    options: { format: 'json' },
    offset: 1,
    code: 'json-invalid',
    says: /not valid JSON/,
  },
  {
    what: 'a value that JSON allows and the column does not',
    table: '(n int)',
    messages: ['{"n": 1}', '{"n": "x"}', '{"n": 3}'],
    options: { format: 'json' },
    offset: 1,
    code: 'message-rejected',
    says: /invalid input syntax for type integer/,
    sqlstate: '22P02',
  },
  {
    what: 'bytes that the encoding does not know',
    table: '(n text)',
    messages: ['1', 'a\0b', '3'],
    offset: 1,
    code: 'message-rejected',
    says: /invalid byte sequence for encoding "UTF8": 0x00/,
    sqlstate: '22021',
  },
]

async function setUp(t: Cleanup, partitions = 1) {
  const db = await databaseFor(t)
  await addBroker(db)
  return { db, topic: await topicFor(t, { partitions }) }
}

for (const { what, table, messages, options, offset, code, says, sqlstate } of cases) {
  test(`${what}: what precedes it is committed, and everybody is told`, async (t) => {
    const { db, topic } = await setUp(t)
    await db.query(`CREATE TABLE target ${table}`)
    const daemon = await promptDaemon(t, db)
    await produce(
      topic,
      messages.map((value) => ({ value })),
    )
    await begin(db, topic, 'target', { start_offset: -2, ...options })
    const failed = await untilState(db, topic, 'failed')
    assert.equal(failed.error_code, code)
    assert.match(failed.error_message ?? '', says)
    assert.match(failed.error_message ?? '', new RegExp(`offset ${offset} of topic ${topic} partition 0`))
    assert.deepEqual([failed.error_partition, failed.error_offset], [0, String(offset)])
    assert.equal(failed.error_sqlstate, sqlstate ?? null)
    assert.deepEqual(await positionsOf(db, topic), { 0: offset })
    const { rows } = await db.query('SELECT count(*)::int AS loaded FROM target')
    assert.equal(rows[0].loaded, offset)
    const { stdout, code: exit } = await millrace(['status', '--database', db.url], { expect: null })
    assert.notEqual(exit, 0)
    assert.match(stdout, new RegExp(`failed: ${code}.*partition 0, offset ${offset}`))
    assert.match(stdout, says)
    await daemon.waitForLog(code)
    assert.match(daemon.output(), new RegExp(`"offset":"${offset}"`))
  })
}

test('a bad message among thousands, in the middle of a large batch', async (t) => {
  const { db, topic } = await setUp(t)
  await db.query('CREATE TABLE target (n int)')
  await promptDaemon(t, db)
  const values = Array.from({ length: 10_000 }, (_, n) => (n === 7_654 ? 'bad' : String(n)))
  await produce(
    topic,
    values.map((value) => ({ value })),
  )
  await begin(db, topic, 'target', { start_offset: -2 })
  const failed = await untilState(db, topic, 'failed')
  assert.equal(failed.error_offset, '7654')
  await untilRows(db, 'SELECT count(*)::int, max(n) FROM target', [[7654, 7653]])
})

test('consume_begin tries again, a start_offset past the message passes over it', async (t) => {
  const { db, topic } = await setUp(t)
  await db.query('CREATE TABLE target (n int CHECK (n < 10))')
  await promptDaemon(t, db)
  await produce(
    topic,
    ['1', '20', '3', 'x', '5'].map((value) => ({ value })),
  )
  await begin(db, topic, 'target', { start_offset: -2 })
  await untilState(db, topic, 'failed')
  await begin(db, topic, 'target')
  const { error_offset } = await untilState(db, topic, 'failed')
  assert.equal(error_offset, '1')
  // somebody mends the table
  await db.query('ALTER TABLE target DROP CONSTRAINT target_n_check')
  await begin(db, topic, 'target')
  const second = await untilState(db, topic, 'failed')
  assert.equal(second.error_offset, '3')
  await untilRows(db, 'SELECT array_agg(n ORDER BY n) FROM target', [[[1, 3, 20]]])
  await begin(db, topic, 'target', { start_offset: 4 })
  await untilPassed(db, topic, 5)
  await untilRows(db, 'SELECT array_agg(n ORDER BY n) FROM target', [[[1, 3, 5, 20]]])
  assert.equal((await consumerOf(db, topic)).error_code, null)
})

test('consume_begin() tries every failed consumer again', async (t) => {
  const { db, topic } = await setUp(t)
  await db.query('CREATE TABLE target (n int CHECK (n < 10))')
  await promptDaemon(t, db)
  await produce(
    topic,
    ['1', '20'].map((value) => ({ value })),
  )
  await begin(db, topic, 'target', { start_offset: -2 })
  await untilState(db, topic, 'failed')
  await db.query('ALTER TABLE target DROP CONSTRAINT target_n_check')
  await db.query('SELECT pipeline_kafka.consume_begin()')
  await untilRows(db, 'SELECT n FROM target ORDER BY n', [[1], [20]])
})

test('it stops all partitions of its consumer, on every daemon, and no other consumer', async (t) => {
  const { db, topic } = await setUp(t, 4)
  const other = await topicFor(t)
  await db.query('CREATE TABLE target (n int)')
  await db.query('CREATE TABLE others (n int)')
  await promptDaemon(t, db)
  await promptDaemon(t, db)
  await begin(db, topic, 'target', { start_offset: -2, parallelism: 2 })
  await begin(db, other, 'others', { start_offset: -2 })
  await produce(
    topic,
    [0, 1, 2, 3].map((partition) => ({ value: String(partition), partition })),
  )
  await untilPassed(db, topic, 4)
  await produce(topic, [{ value: 'bad', partition: 2 }])
  const failed = await untilState(db, topic, 'failed')
  assert.deepEqual([failed.error_partition, failed.error_offset], [2, '1'])
  await produce(
    topic,
    [0, 1, 2, 3].map((partition) => ({ value: String(partition), partition })),
  )
  await produce(
    other,
    [0, 1, 2, 3].map((partition) => ({ value: String(partition), partition })),
  )
  await untilPassed(db, other, 4)
  await untilRows(db, 'SELECT n FROM target ORDER BY n', [[0], [1], [2], [3]])
  assert.deepEqual(await positionsOf(db, topic), { 0: 1, 1: 1, 2: 1, 3: 1 })
  await end(db, topic, 'target')
  assert.equal((await consumerOf(db, topic)).state, 'stopped')
})

test('what the message holds is in no log of the daemon beyond what PostgreSQL says of it', async (t) => {
  const { db, topic } = await setUp(t)
  await db.query('CREATE TABLE target (n int, secret text)')
  const daemon = await promptDaemon(t, db)
  await produce(topic, [{ value: '1\tfirst-secret' }, { value: 'x\tsecond-secret' }, { value: '3\\' }])
  await begin(db, topic, 'target', { start_offset: -2 })
  await untilState(db, topic, 'failed')
  await daemon.waitForLog('message-rejected')
  assert.doesNotMatch(daemon.output(), /first-secret|second-secret/)
  const { rows } = await db.query('SELECT to_jsonb(f)::text AS failure FROM millrace.failure AS f')
  assert.doesNotMatch(rows[0].failure, /secret/)
})
