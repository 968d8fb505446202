// Of many messages that fail, each fares as if it were loaded alone, in order: the same rows, the same letters, the same
// reasons. The server takes neighbours together where it can, so what comes of that is compared with a relation for which
// it cannot (it has a trigger), and with plain INSERTs in savepoints.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Cleanup } from '../support/cleanup.ts'
import { type Database, databaseFor } from '../support/database.ts'
import { addBroker, consume, promptDaemon, untilRows } from '../support/flow.ts'
import { plainRoles } from '../support/plain-roles.ts'
import { randomFrom, randomSeed } from '../support/random.ts'
import { produce, topicFor } from '../support/topic.ts'

type Row = Record<string, unknown>

interface Shape {
  what: string
  /** In every schema. */
  table: string
  /** Rows of the n-th message, and how many keys there are about. */
  rows: (random: () => number) => Row[]
  /** Each kind of reason that some message must have, so that the comparison is of something. */
  sqlstates: string[]
}

const integer = (random: () => number, below: number) => Math.floor(random() * below)

const shapes: Shape[] = [
  {
    what: 'a primary key, a check and NOT NULL',
    table: 'n int PRIMARY KEY, m int NOT NULL CHECK (m < 90)',
    rows: (random) => [{ n: integer(random, 700), m: random() < 0.05 ? null : integer(random, 95) }],
    sqlstates: ['22P02', '23502', '23505', '23514'],
  },
  {
    what: 'a foreign key',
    table: 'n int PRIMARY KEY, m int REFERENCES other DEFERRABLE INITIALLY DEFERRED',
    rows: (random) => [{ n: integer(random, 700), m: integer(random, 55) }],
    sqlstates: ['22P02', '23503', '23505'],
  },
  {
    what: 'two unique constraints',
    table: 'n int PRIMARY KEY, m int UNIQUE',
    rows: (random) => [{ n: integer(random, 700), m: integer(random, 700) }],
    sqlstates: ['22P02', '23505'],
  },
  {
    what: 'an index of which a value is too large',
    table: 'n int PRIMARY KEY, m text',
    rows: (random) => [{ n: integer(random, 700), m: random() < 0.05 ? noise(random) : 'x' }],
    sqlstates: ['22P02', '23505', '54000'],
  },
  {
    what: 'an index before the unique one',
    table: 'n int, m text',
    rows: (random) => [{ n: integer(random, 700), m: random() < 0.05 ? noise(random) : 'x' }],
    sqlstates: ['22P02', '23505', '54000'],
  },
  {
    what: 'a unique constraint that may wait',
    table: 'n int UNIQUE DEFERRABLE INITIALLY DEFERRED, m int',
    rows: (random) => [{ n: integer(random, 700), m: 1 }],
    sqlstates: ['22P02', '23505'],
  },
  {
    what: 'a unique index with a condition',
    table: 'n int, m int',
    rows: (random) => [{ n: integer(random, 500), m: integer(random, 4) }],
    sqlstates: ['22P02', '23505'],
  },
  {
    what: 'an exclusion constraint',
    table: 'n int, m int, EXCLUDE USING btree (n WITH =)',
    rows: (random) => [{ n: integer(random, 700), m: 1 }],
    sqlstates: ['22P02', '23P01'],
  },
  {
    what: 'messages of several rows',
    table: 'n int PRIMARY KEY, m int CHECK (m < 98)',
    rows: (random) =>
      Array.from({ length: random() < 0.7 ? 1 : 3 }, () => ({
        n: integer(random, 1500),
        m: integer(random, 100),
      })),
    sqlstates: ['22P02', '23505', '23514'],
  },
  {
    what: 'a domain',
    table: 'n int PRIMARY KEY, m small',
    rows: (random) => [{ n: integer(random, 700), m: integer(random, 1100) }],
    sqlstates: ['22P02', '23505', '23514'],
  },
  {
    what: 'partitions',
    table: 'n int PRIMARY KEY, m int',
    rows: (random) => [{ n: integer(random, 1100), m: 1 }],
    sqlstates: ['22P02', '23505', '23514'],
  },
]

/** Text that does not become smaller. */
function noise(random: () => number): string {
  return Array.from({ length: 4000 }, () => integer(random, 36).toString(36)).join('')
}

function definition({ what, table }: Shape, schema: string, name: string): string {
  const relation = `${schema}.${name}`
  if (what === 'partitions')
    return `CREATE TABLE ${relation} (${table}) PARTITION BY RANGE (n);
      CREATE TABLE ${relation}_low PARTITION OF ${relation} FOR VALUES FROM (0) TO (500);
      CREATE TABLE ${relation}_high PARTITION OF ${relation} FOR VALUES FROM (500) TO (1000)`
  const indexes: Record<string, string> = {
    'an index of which a value is too large': `CREATE INDEX ${name}_m ON ${relation} (m)`,
    'an index before the unique one': `CREATE INDEX ${name}_m ON ${relation} (m);
      ALTER TABLE ${relation} ADD CONSTRAINT ${name}_n UNIQUE (n)`,
    'a unique index with a condition': `CREATE UNIQUE INDEX ${name}_n ON ${relation} (n) WHERE m > 0`,
  }
  return `CREATE TABLE ${relation} (${table}); ${indexes[what] ?? ''}`
}

/** Long stretches of all good, of all duplicates and of anything, and values that are no numbers in between. */
function messagesOf(shape: Shape, random: () => number): Row[][] {
  const messages: Row[][] = []
  const add = (count: number, rows: () => Row[]) => {
    for (let i = 0; i < count; i++) messages.push(random() < 0.02 ? [{ n: 'x', m: null }] : rows())
  }
  let last: Row[] = [{ n: 'x', m: null }]
  add(1500, () => (last = shape.rows(random)))
  add(700, () => last)
  let next = 700
  add(200, () => [{ n: next++, m: 1 }])
  add(700, () => shape.rows(random))
  return messages
}

test('messages that fail fare as each would alone', { timeout: 600_000 }, async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  await compareWays(t, { db, url: db, begins: db, owner: null }, shapes)
  // one by one each takes a transaction id, together they hardly take any
  const { rows } = await db.query(`SELECT c.target_schema AS schema, sum(p.transaction_ids)::int AS ids
    FROM millrace.consumer AS c JOIN millrace.position AS p ON p.consumer_id = c.id WHERE c.target_name = 'target_0' GROUP BY 1`)
  const ids = Object.fromEntries(rows.map(({ schema, ids }) => [schema, ids]))
  assert.ok(ids.slow > 2900 && ids.fast < 0.8 * ids.slow, JSON.stringify(ids))
})

test('so they do for an owner who may insert and nothing else', { timeout: 600_000 }, async (t) => {
  const roles = await plainRoles(t)
  const { db, owner } = roles
  const begins = await db.client({ connectionString: roles.urlOf(owner) })
  await compareWays(t, { db, url: { url: roles.urlOf(roles.daemon) }, begins, owner }, shapes.slice(0, 2))
})

interface Parties {
  db: Database
  /** Where the daemon connects. */
  url: { url: string }
  begins: Parameters<typeof consume>[0]
  /** The consumers' owner, who may only insert; null: who may do everything. */
  owner: string | null
}

async function compareWays(t: Cleanup, { db, url, begins, owner }: Parties, of: Shape[]) {
  const seed = randomSeed()
  const random = randomFrom(seed)
  await db.query(`CREATE TABLE public.other (n int PRIMARY KEY); INSERT INTO public.other SELECT generate_series(0, 50);
    CREATE DOMAIN public.small AS int CHECK (VALUE < 1000);
    CREATE FUNCTION public.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
    CREATE SCHEMA fast; CREATE SCHEMA slow; CREATE SCHEMA alone`)
  const begun: { shape: Shape; name: string; topic: string; messages: Row[][] }[] = []
  for (const [index, shape] of of.entries()) {
    const name = `target_${index}`
    for (const schema of ['fast', 'slow', 'alone']) await db.query(definition(shape, schema, name))
    await db.query(
      `CREATE TRIGGER slow AFTER INSERT ON slow.${name} FOR EACH ROW EXECUTE FUNCTION public.nothing()`,
    )
    if (owner)
      await db.query(
        `GRANT INSERT ON fast.${name}, slow.${name} TO ${owner}; GRANT USAGE ON SCHEMA fast, slow TO ${owner}`,
      )
    const messages = messagesOf(shape, random)
    const topic = await topicFor(t, { partitions: 1 })
    const values = messages.map((rows) => ({ value: JSON.stringify(rows) }))
    // no more in a request than a broker takes
    for (let at = 0; at < values.length; at += 100) await produce(topic, values.slice(at, at + 100))
    for (const schema of ['fast', 'slow'])
      await consume(begins, topic, `${schema}.${name}`, {
        on_error: 'dead_letter',
        json_path: '$[*]',
        batchsize: 100_000,
      })
    begun.push({ shape, name, topic, messages })
  }
  await promptDaemon(t, url)
  for (const { shape, name, topic, messages } of begun) {
    await untilRows(
      db,
      `SELECT p.next_offset::int FROM millrace.position AS p JOIN millrace.consumer AS c ON c.id = p.consumer_id
      WHERE c.topic = '${topic}'`,
      [[messages.length], [messages.length]],
      { deadline: 180_000 },
    )
    const expected = await loadAlone(db, name, messages)
    for (const schema of ['fast', 'slow']) {
      const what = `${shape.what}, ${schema}, seed ${seed}`
      assert.deepEqual(await lettersOf(db, topic, schema), expected, what)
      const rows = (of: string) =>
        db.query(`SELECT n, left(m::text, 20) AS m FROM ${of}.${name} ORDER BY 1, 2`)
      assert.deepEqual((await rows(schema)).rows, (await rows('alone')).rows, what)
    }
    const seen = new Set(expected.map(([, sqlstate]) => sqlstate))
    assert.deepEqual([...seen].sort(), shape.sqlstates, shape.what)
  }
}

type Letter = [offset: number, sqlstate: string, message: string]

async function lettersOf(db: Database, topic: string, schema: string): Promise<Letter[]> {
  const { rows } = await db.query(
    `SELECT d."offset"::int, d.sqlstate, d.message FROM millrace.dead_letter AS d JOIN millrace.consumer AS c ON c.id = d.consumer_id
      WHERE d.topic = $1 AND c.target_schema = $2 ORDER BY d."offset"`,
    [topic, schema],
  )
  return rows.map(({ offset, sqlstate, message }) => [offset, sqlstate, message])
}

/** By PostgreSQL itself, each in a savepoint. */
async function loadAlone(db: Database, name: string, messages: Row[][]): Promise<Letter[]> {
  const body = `DECLARE
    message jsonb; number int := 0;
  BEGIN
    FOR message IN SELECT value FROM jsonb_array_elements(${quoted(JSON.stringify(messages))}) LOOP
      BEGIN
        INSERT INTO alone.${name} (n, m) SELECT r.n, r.m FROM jsonb_array_elements(message) WITH ORDINALITY AS e (value, place)
          CROSS JOIN LATERAL jsonb_populate_record(NULL::alone.${name}, e.value) AS r ORDER BY e.place;
        SET CONSTRAINTS ALL IMMEDIATE;
      EXCEPTION WHEN OTHERS THEN
        INSERT INTO refused VALUES (number, SQLSTATE, SQLERRM);
      END;
      number := number + 1;
    END LOOP;
  END`
  await db.query(`CREATE TABLE IF NOT EXISTS refused (number int, code text, reason text); TRUNCATE refused`)
  await db.query(`DO ${quoted(body)}`)
  const { rows } = await db.query('SELECT * FROM refused ORDER BY number')
  return rows.map(({ number, code, reason }) => [number, code, reason])
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}
