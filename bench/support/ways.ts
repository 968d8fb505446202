// Other ways of loading than COPY into the relation: upsert, a transform, and messages that all fail. What others
// reach on such a machine: Debezium's JDBC sink upserts 57,000 rows a second, Redpanda Connect inserts 136,000.

import { setTimeout } from 'node:timers/promises'
import type pg from 'pg'
import type { Measurement } from '../main.ts'
import { rowCount, rowTable } from './rows.ts'

export interface WaysBench {
  client: pg.Client
  /** Makes a topic of `count` messages. */
  fill(topic: string, count: number, value: (i: number) => string): Promise<void>
  /** A topic with the benchmark's rows as text. */
  rows: string
}

/** Messages of which every one fails. */
const badCount = 500_000

/** Messages a second, at least. */
const badTarget = 50_000

export async function ways(bench: WaysBench): Promise<Measurement[]> {
  const { client } = bench
  await client.query(
    `CREATE TABLE keyed (${rowTable}, PRIMARY KEY (id)); CREATE TABLE transformed (${rowTable})`,
  )
  const definitions = rowTable.split(', ')
  const limit = await insertLimit(bench)
  const upsert = await load(bench, bench.rows, 'keyed', rowCount, { mode: 'upsert', format: 'text' })
  const transform = await load(bench, bench.rows, 'transformed', rowCount, {
    format: 'text',
    columns: definitions,
    transform: 'SELECT id, account, note, amount * 2, at FROM batch',
  })
  await expectRows(client, 'keyed', rowCount)
  await expectRows(client, 'transformed', rowCount)
  return [
    { case: 'INSERT ... SELECT of the same rows, ON CONFLICT', value: rowCount / limit, unit: 'rows/s' },
    { case: 'upsert', value: rowCount / upsert, unit: 'rows/s', ratio: limit / upsert },
    { case: 'transform', value: rowCount / transform, unit: 'rows/s' },
    await failing(bench, 'no number', (i) => `x${i}`),
    await failing(bench, 'duplicate keys', () => '-1'),
  ]
}

/** PostgreSQL's own: the rows are there already, and one statement upserts them. */
async function insertLimit({ client }: WaysBench): Promise<number> {
  const source = `SELECT i AS id, 'account-' || i % 5000 AS account, 'note ' || i % 97 AS note, (i % 1000003) / 8.0::float8 AS amount,
    timestamp '2026-03-01 12:00:00' AS at FROM generate_series(0, ${rowCount - 1}) AS i`
  await client.query(`CREATE TABLE source AS ${source}; CREATE TABLE limited (${rowTable}, PRIMARY KEY (id))`)
  const start = performance.now()
  await client.query(`INSERT INTO limited SELECT * FROM source ON CONFLICT (id) DO UPDATE SET account = excluded.account,
    note = excluded.note, amount = excluded.amount, at = excluded.at`)
  const seconds = (performance.now() - start) / 1000
  await client.query('DROP TABLE source, limited')
  return seconds
}

async function failing(bench: WaysBench, what: string, value: (i: number) => string): Promise<Measurement> {
  const { client } = bench
  const topic = `bench-bad-${what.replaceAll(' ', '-')}`
  await bench.fill(topic, badCount, value)
  await client.query(
    'DROP TABLE IF EXISTS strict; CREATE TABLE strict (id bigint PRIMARY KEY); INSERT INTO strict VALUES (-1)',
  )
  const seconds = await load(bench, topic, 'strict', badCount, { format: 'text', on_error: 'dead_letter' })
  await expectRows(client, `millrace.dead_letter WHERE topic = '${topic}'`, badCount)
  const rate = badCount / seconds
  return {
    case: `dead letters, all bad: ${what}`,
    value: rate,
    unit: 'messages/s',
    target: badTarget,
    holds: rate >= badTarget,
  }
}

/** @returns seconds from consume to the last message's commit */
async function load(
  { client }: WaysBench,
  topic: string,
  into: string,
  messages: number,
  options: Record<string, unknown>,
): Promise<number> {
  await client.query('CHECKPOINT')
  const named = Object.keys(options).map((name, index) => `, ${name} := $${index + 3}`)
  const start = performance.now()
  const { rows } = await client.query(
    `SELECT millrace.consume($1, $2, start_offset := -2${named.join('')}) AS id`,
    [topic, into, ...Object.values(options)],
  )
  const { id } = rows[0]
  for (;;) {
    const passed = await client.query(
      'SELECT coalesce(sum(next_offset), 0)::int AS passed FROM millrace.position WHERE consumer_id = $1',
      [id],
    )
    if (passed.rows[0].passed === messages) break
    const failed = await client.query('SELECT message FROM millrace.failure WHERE consumer_id = $1', [id])
    if (failed.rows[0]) throw new Error(failed.rows[0].message)
    await setTimeout(20)
  }
  const seconds = (performance.now() - start) / 1000
  await client.query('SELECT millrace.pause($1)', [id])
  return seconds
}

async function expectRows(client: pg.Client, from: string, expected: number): Promise<void> {
  const { rows } = await client.query(`SELECT count(*)::int AS count FROM ${from}`)
  if (rows[0].count !== expected) throw new Error(`${from}: ${rows[0].count} rows, not ${expected}`)
}
