// What it costs writers that their table is published: the same statements on a table without triggers and on published
// ones, in turn, since other programs may use the machine. PostgreSQL flushes each commit, as in production.

import type pg from 'pg'
import { connect } from '../src/postgres/connection.ts'
import type { Measurement } from './main.ts'
import { withStack } from './support/installed-stack.ts'
import { median } from './support/statistics.ts'

const rows = Number(process.env.BENCH_ROWS ?? 100_000)
const perStatement = 1000
const singles = 1000
const runs = Number(process.env.BENCH_RUNS ?? 5)

/** What each table is published with; NULL: not at all. */
const tables = {
  bare: null,
  row: '',
  debezium: `, envelope := 'debezium'`,
  by_row: `, capture := 'row'`,
}
type Table = keyof typeof tables

const targets: Partial<Record<string, number>> = { insert: 2.2, update: 4, single: 2 }

const work: Record<string, { what: string; run: (client: pg.Client, table: Table) => Promise<void> }> = {
  insert: {
    what: `INSERT of ${rows} rows, VALUES of ${perStatement}`,
    run: (client, table) => statements((from) => `INSERT INTO ${table} VALUES ${values(from)}`, client),
  },
  update: {
    what: `UPDATE of ${rows} rows by ${perStatement}`,
    run: (client, table) =>
      statements(
        (from) => `UPDATE ${table} SET n = n + 1 WHERE id BETWEEN ${from} AND ${from + perStatement - 1}`,
        client,
      ),
  },
  delete: {
    what: `DELETE of ${rows} rows by ${perStatement}`,
    run: (client, table) =>
      statements(
        (from) => `DELETE FROM ${table} WHERE id BETWEEN ${from} AND ${from + perStatement - 1}`,
        client,
      ),
  },
  generated: {
    what: `INSERT ... SELECT of ${rows} rows by ${perStatement}`,
    run: (client, table) =>
      statements(
        (from) => `INSERT INTO ${table} SELECT i, 'sku ' || i, 'name of ' || i, i * 1.25, now(), i % 7
          FROM generate_series(${from}, ${from + perStatement - 1}) AS i`,
        client,
      ),
  },
  single: {
    what: `INSERT of one row, each its own transaction`,
    run: async (client, table) => {
      for (let i = 0; i < singles; i++)
        await client.query(
          `INSERT INTO ${table} VALUES (${rows + 1 + i}, 'sku', 'name of', 1.25, '2026-03-01 12:00:00+00', 3)`,
        )
    },
  },
}

export async function run(): Promise<Measurement[]> {
  return withStack(async ({ url, client }) => {
    await prepare(client)
    const writer = await connect(url)
    await writer.query('SET ROLE app; SET search_path = public')
    const times: Record<string, Partial<Record<Table, number[]>>> = {}
    for (let i = 0; i < runs; i++) {
      for (const table of Object.keys(tables) as Table[]) {
        await empty(client)
        for (const name of ['insert', 'update', 'delete', 'generated', 'single']) {
          const start = performance.now()
          await work[name]!.run(writer, table)
          const of = (times[name] ??= {})
          ;(of[table] ??= []).push(performance.now() - start)
        }
      }
      console.log(`  run ${i + 1} of ${runs}`)
    }
    await writer.end()
    return Object.entries(times).flatMap(([name, of]) => results(name, of as Record<Table, number[]>))
  })
}

/** A role as an application has it: neither superuser nor the one that owns the schema. */
async function prepare(client: pg.Client): Promise<void> {
  await client.query(`CREATE ROLE app; GRANT CREATE ON SCHEMA public TO app;
    SELECT millrace.grant_topic('published', 'app', action := 'produce')`)
  for (const [table, options] of Object.entries(tables)) {
    await client.query(`SET ROLE app;
      CREATE TABLE ${table} (id bigint PRIMARY KEY, sku text, name text, price numeric, at timestamptz, n integer)`)
    if (options !== null)
      await client.query(`SELECT millrace.publish('${table}', 'published', truncate := 'skip' ${options})`)
    await client.query('RESET ROLE')
  }
}

/** No daemon sends, so that it takes no processor. */
async function empty(client: pg.Client): Promise<void> {
  await client.query(`TRUNCATE millrace.outbox_0, ${Object.keys(tables).join(', ')}; CHECKPOINT`)
}

async function statements(sql: (from: number) => string, client: pg.Client): Promise<void> {
  for (let from = 1; from <= rows; from += perStatement) await client.query(sql(from))
}

function values(from: number): string {
  return Array.from({ length: perStatement }, (_, i) => {
    const id = from + i
    return `(${id}, 'sku ${id}', 'name of ${id}', ${id * 1.25}, '2026-03-01 12:00:00+00', ${id % 7})`
  }).join(', ')
}

function results(name: string, of: Record<Table, number[]>): Measurement[] {
  const { what } = work[name]!
  const count = name === 'single' ? singles : rows
  const cost = (table: Table) => (median(of[table]) * 1000) / count
  const lines: Measurement[] = [{ case: `${what}, bare`, value: cost('bare'), unit: 'us/row' }]
  for (const table of Object.keys(tables) as Table[]) {
    if (table === 'bare') continue
    const ratio = median(of[table].map((time, i) => time / (of.bare[i] as number)))
    const target = table === 'row' ? targets[name] : undefined
    lines.push({
      case: `${what}, ${table === 'by_row' ? 'published, captured by row' : `published, envelope ${table}`}`,
      value: cost(table),
      unit: 'us/row',
      ratio,
      ...(target !== undefined && { target, holds: ratio <= target }),
    })
  }
  return lines
}
