// The ways in which a consumer can load: what its messages look like, which of them are bad, and what its table must hold
// after what it has read.
import type { ConsumeOptions } from '../support/flow.ts'
import type { Random } from '../support/random.ts'
import type { Message } from '../support/topic.ts'
import { entriesOf, type Pass, rangesOf, rangesQuery, sameLines } from './passes.ts'
import type { Drawn, TopicLog } from './topic-log.ts'

export type Query = (sql: string, parameters?: unknown[]) => Promise<{ rows: Record<string, unknown>[] }>

export interface Way {
  table: string
  /** Run as a superuser; what belongs to nobody in particular belongs to the consumer's owner afterwards. */
  create(roles: { owner: string; mallory: string }): string
  /** Of millrace.consumer: how it is to be loaded. */
  expected: 'direct' | 'staged'
  options: ConsumeOptions
  draw(kind: 'good' | 'bad' | 'tombstone', random: Random, partition: number, offset: number): Drawn
  /** @throws Error when the table is not what it must be */
  check(query: Query, log: TopicLog, passes: Pass[]): Promise<void>
  /** Columns of its rows; in the order of `tamper`: a row is removed, is there twice, is another. */
  tamper: string[]
}

const keysPerPartition = 20
const bodyOf = (partition: number, offset: number) => `${partition}-${offset};`.repeat(1 + (offset % 5))

/** Empty ones are passed over as tombstones are. */
const passedOver = (random: Random): Drawn => ({
  entry: { kind: 'empty' },
  message: { key: 'k', value: random.among([null, '']) },
})
const bad = (values: readonly (string | Buffer)[], random: Random, key?: string): Drawn => ({
  entry: { kind: 'bad' },
  message: { value: random.among(values), ...(key !== undefined && { key }) },
})

/** A table of partition and offset, whatever else; each row says where it comes from. */
async function checkLedger(table: string, query: Query, log: TopicLog, passes: Pass[]): Promise<void> {
  const { rows } = await query(rangesQuery(table, 'p', 'o'))
  sameLines(table, rows.map(({ line }) => String(line)).sort(), rangesOf(log, passes, 'good'))
  const { rows: harmed } = await query(
    `SELECT p || ' ' || o AS place FROM ${table}
      WHERE (n = o AND body = repeat(p || '-' || o || ';', 1 + (o % 5)::int)) IS NOT TRUE LIMIT 8`,
  )
  sameLines(
    `${table}, harmed`,
    harmed.map(({ place }) => String(place)),
    [],
  )
}

const ledgerTampering = (table: string) => [
  `DELETE FROM ${table} WHERE ctid = (SELECT max(ctid) FROM ${table})`,
  `INSERT INTO ${table} SELECT * FROM ${table} LIMIT 1`,
  `UPDATE ${table} SET body = body || 'x' WHERE ctid = (SELECT max(ctid) FROM ${table})`,
]

/** Text, by COPY into the table. */
const direct: Way = {
  table: 'direct_rows',
  expected: 'direct',
  create: () => 'CREATE TABLE direct_rows (p int, o bigint, n bigint CHECK (n >= 0), body text)',
  options: { format: 'text', columns: ['n', 'body'], metadata: { partition: 'p', offset: 'o' } },
  draw(kind, random, partition, offset) {
    const body = bodyOf(partition, offset)
    if (kind === 'tombstone') return passedOver(random)
    const broken = Buffer.from([...Buffer.from(`${offset}\t`), 0xc3])
    const values = [`x\t${body}`, `-1\t${body}`, `${offset}`, `${offset}\t${body}\tmore`, '\\.', broken]
    if (kind === 'bad') return bad(values, random)
    return { entry: { kind, key: 0, value: offset }, message: { value: `${offset}\t${body}` } }
  },
  check: (query, log, passes) => checkLedger('direct_rows', query, log, passes),
  tamper: ledgerTampering('direct_rows'),
}

/** JSON, into a table of somebody else's, with a trigger and row-level security of somebody else's. */
const guarded: Way = {
  table: 'guarded_rows',
  expected: 'staged',
  create: ({ owner, mallory }) => `
    CREATE TABLE guarded_rows (p int, o bigint, n bigint CHECK (n >= 0), body varchar(60), who text);
    CREATE FUNCTION sign() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.who := current_user; RETURN NEW; END $$;
    ALTER FUNCTION sign() OWNER TO ${mallory};
    CREATE TRIGGER sign BEFORE INSERT ON guarded_rows FOR EACH ROW EXECUTE FUNCTION sign();
    ALTER TABLE guarded_rows ENABLE ROW LEVEL SECURITY;
    CREATE POLICY few ON guarded_rows FOR INSERT WITH CHECK (n < 100000000);
    ALTER TABLE guarded_rows OWNER TO ${mallory};
    GRANT INSERT ON guarded_rows TO ${owner}`,
  options: { metadata: { partition: 'p', offset: 'o' } },
  draw(kind, random, partition, offset) {
    const body = bodyOf(partition, offset)
    if (kind === 'tombstone') return passedOver(random)
    const rows = [
      { n: 'x', body },
      { n: -1, body },
      { n: 100_000_000, body },
      { n: offset, body: 'y'.repeat(61) },
    ]
    const values = [...rows.map((row) => JSON.stringify(row)), `{"n": ${offset}`, '[1]']
    if (kind === 'bad') return bad(values, random)
    return { entry: { kind, key: 0, value: offset }, message: { value: JSON.stringify({ n: offset, body }) } }
  },
  check: (query, log, passes) => checkLedger('guarded_rows', query, log, passes),
  tamper: ledgerTampering('guarded_rows'),
}

/** The last row of each key, unless it was deleted; a key has one partition. */
async function checkFinalRows(table: string, query: Query, log: TopicLog, passes: Pass[]): Promise<void> {
  const rows = new Map<number, number>()
  for (const { entry } of entriesOf(log, passes)) {
    if (entry.kind === 'good') rows.set(entry.key, entry.value)
    if (entry.kind === 'tombstone') rows.delete(entry.key)
  }
  const { rows: found } = await query(`SELECT id || '=' || v AS line FROM ${table}`)
  const expected = [...rows].map(([id, value]) => `${id}=${value}`)
  sameLines(
    table,
    found.map(({ line }) => String(line)),
    expected,
  )
}

const finalTampering = (table: string) => [
  `DELETE FROM ${table} WHERE id = (SELECT max(id) FROM ${table})`,
  `INSERT INTO ${table} (id, v) VALUES (-1, '0')`,
  `UPDATE ${table} SET v = v || '0' WHERE id = (SELECT max(id) FROM ${table})`,
]

const finalTable = (table: string) =>
  `CREATE TABLE ${table} (id int PRIMARY KEY, v text NOT NULL CHECK (v <> 'bad'))`

function finalMessage(
  kind: 'good' | 'bad' | 'tombstone',
  random: Random,
  partition: number,
  offset: number,
  wrap: (row: object) => object,
  deletion: (id: number) => Message,
): Drawn {
  const id = partition * 1000 + random.below(keysPerPartition)
  const key = String(id)
  if (kind === 'tombstone') return { entry: { kind, key: id }, message: deletion(id) }
  if (kind === 'bad' && random.chance(0.5)) {
    const row = random.among([
      { id, v: null },
      { id, v: 'bad' },
    ])
    return { entry: { kind, key: id }, message: { key, value: JSON.stringify(wrap(row)) } }
  }
  if (kind === 'bad') return bad([JSON.stringify(wrap({ id: 'x', v: 'y' })), '{"id"'], random, key)
  const value = JSON.stringify(wrap({ id, v: String(offset) }))
  return { entry: { kind, key: id, value: offset }, message: { key, value } }
}

const upsert: Way = {
  table: 'upserted',
  expected: 'staged',
  create: () => finalTable('upserted'),
  options: { mode: 'upsert' },
  draw: (kind, random, partition, offset) =>
    finalMessage(
      kind,
      random,
      partition,
      offset,
      (row) => row,
      (id) => ({ key: String(id), value: null }),
    ),
  check: (query, log, passes) => checkFinalRows('upserted', query, log, passes),
  tamper: finalTampering('upserted'),
}

/** What Debezium sends. */
const changes: Way = {
  table: 'changed',
  expected: 'staged',
  create: () => finalTable('changed'),
  options: { mode: 'changes' },
  draw: (kind, random, partition, offset) => {
    const op = random.among(['c', 'u', 'r'])
    return finalMessage(
      kind,
      random,
      partition,
      offset,
      (after) => ({ before: null, after, op }),
      (id) => ({ key: String(id), value: JSON.stringify({ before: { id }, after: null, op: 'd' }) }),
    )
  },
  check: (query, log, passes) => checkFinalRows('changed', query, log, passes),
  tamper: finalTampering('changed'),
}

/** SQL of the user's that counts; partitions meet in the same rows. */
const counted: Way = {
  table: 'counted',
  expected: 'staged',
  create: () => 'CREATE TABLE counted (k int PRIMARY KEY, n bigint, total bigint)',
  options: {
    transform: `SELECT (value ->> 'k')::int, count(*), sum((value ->> 'x')::bigint) FROM batch GROUP BY 1
      ON CONFLICT (k) DO UPDATE SET n = counted.n + excluded.n, total = counted.total + excluded.total`,
  },
  draw(kind, random, _partition, offset) {
    const k = random.below(6)
    if (kind === 'tombstone') return passedOver(random)
    if (kind === 'bad') return bad([`{"k": ${k}, "x": "y"}`, `{"k": "x", "x": 1}`, '[1'], random)
    return { entry: { kind, key: k, value: offset }, message: { value: JSON.stringify({ k, x: offset }) } }
  },
  async check(query, log, passes) {
    const sums = new Map<number, { n: number; total: number }>()
    for (const { entry } of entriesOf(log, passes)) {
      if (entry.kind !== 'good') continue
      const sum = sums.get(entry.key) ?? { n: 0, total: 0 }
      sums.set(entry.key, { n: sum.n + 1, total: sum.total + entry.value })
    }
    const { rows } = await query(`SELECT k || '=' || n || ',' || total AS line FROM counted`)
    const expected = [...sums].map(([k, { n, total }]) => `${k}=${n},${total}`)
    sameLines(
      'counted',
      rows.map(({ line }) => String(line)),
      expected,
    )
  },
  tamper: [
    'DELETE FROM counted WHERE k = (SELECT max(k) FROM counted)',
    'UPDATE counted SET n = n + 1 WHERE k = (SELECT min(k) FROM counted)',
    'UPDATE counted SET total = total - 1 WHERE k = (SELECT min(k) FROM counted)',
  ],
}

export const ways: readonly Way[] = [direct, guarded, upsert, changes, counted]
