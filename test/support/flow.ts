// What tests of the running system begin with: a database that knows the broker, a daemon that notices things
// within a fraction of a second, and what a user would type and look at.
import assert from 'node:assert/strict'
import { afterwards, type Cleanup } from './cleanup.ts'
import { type Daemon, type DaemonOptions, startDaemon } from './daemon.ts'
import type { Database } from './database.ts'
import { eventually } from './eventually.ts'
import { sharedServers } from './servers.ts'

/** Everything that is waited for in production comes soon here. The broker of the tests allows such sessions. */
export const promptSettings: Record<string, string> = {
  MILLRACE_GROUP_SESSION_TIMEOUT: '2s',
  MILLRACE_GROUP_HEARTBEAT_INTERVAL: '300ms',
  MILLRACE_DAEMON_RECONCILE_INTERVAL: '500ms',
  MILLRACE_DAEMON_REPORT_INTERVAL: '100ms',
  MILLRACE_DAEMON_TAKEOVER_GRACE: '500ms',
  MILLRACE_KAFKA_METADATA_INTERVAL: '300ms',
  MILLRACE_RETRY_MIN: '20ms',
  MILLRACE_RETRY_MAX: '300ms',
  MILLRACE_LOG_LEVEL: 'debug',
}

/** A daemon with those settings; what `env` gives is stronger. */
export async function promptDaemon(
  t: Cleanup & { passed?: boolean },
  db: { url: string },
  options: Partial<DaemonOptions> = {},
): Promise<Daemon> {
  const env = { ...promptSettings, ...options.env }
  const daemon = await startDaemon(t, { url: db.url, ...options, env })
  afterwards(t, () => {
    if (t.passed === false) console.error(`the daemon wrote:\n${daemon.output().slice(-lastWords)}`)
  })
  return daemon
}

/** Characters of its log that are shown when a test fails. */
const lastWords = 6000

export async function addBroker(db: Database, brokers = sharedServers().brokers): Promise<void> {
  for (const broker of brokers.split(',')) await db.query('SELECT pipeline_kafka.add_broker($1)', [broker])
}

export interface Notice {
  severity?: string
  message?: string
  detail?: string
  hint?: string
}

export interface BeginOptions {
  format?: string
  delimiter?: string
  quote?: string
  escape?: string
  batchsize?: number
  maxbytes?: number
  parallelism?: number
  start_offset?: number | bigint
  group_id?: string
  timeout?: number
}

/** pipeline_kafka.consume_begin as somebody would type it. @returns the notices and warnings that came with it */
export async function begin(
  db: Pick<Database, 'client'>,
  topic: string,
  relation: string,
  options: BeginOptions = {},
): Promise<Notice[]> {
  const client = await db.client()
  const notices: Notice[] = []
  client.on('notice', (notice) => notices.push(notice))
  const names = Object.keys(options)
  const named = names.map((name, index) => `, ${name} := $${index + 3}`).join('')
  const { rows } = await client.query(`SELECT pipeline_kafka.consume_begin($1, $2${named}) AS answer`, [
    topic,
    relation,
    ...Object.values(options).map(String),
  ])
  assert.equal(rows[0].answer, 'success')
  await client.end()
  return notices
}

export async function end(db: Database, topic: string, relation: string): Promise<void> {
  const { rows } = await db.query('SELECT pipeline_kafka.consume_end($1, $2) AS answer', [topic, relation])
  assert.equal(rows[0].answer, 'success')
}

/** A row of millrace.consumers. Numbers that may be large come as text. */
export interface ConsumerRow {
  id: string
  state: string
  messages: string
  skipped: string
  bytes: string
  lag: string | null
  warning: string | null
  error_code: string | null
  error_message: string | null
  error_sqlstate: string | null
  error_partition: number | null
  error_offset: string | null
}

export async function consumerOf(db: Database, topic: string): Promise<ConsumerRow> {
  const { rows } = await db.query<ConsumerRow>('SELECT * FROM millrace.consumers WHERE topic = $1', [topic])
  assert.equal(rows.length, 1, `consumers of ${topic}`)
  return rows[0]!
}

export async function untilState(
  db: Database,
  topic: string,
  state: string,
  waiting?: { deadline?: number },
): Promise<ConsumerRow> {
  let last: ConsumerRow | undefined
  const there = async () => {
    last = await consumerOf(db, topic)
    return last.state === state && last
  }
  return eventually(`the consumer of ${topic} is ${state}`, there, waiting).catch((error) => {
    throw new Error(`${error.message}; it is ${JSON.stringify(last)}`, { cause: error })
  })
}

/** partition → next offset, as the database has it. */
export async function positionsOf(db: Database, topic: string): Promise<Record<number, number>> {
  const { rows } = await db.query(
    `SELECT p.partition, p.next_offset::int AS next
       FROM millrace.position AS p JOIN millrace.consumer AS c ON c.id = p.consumer_id
      WHERE c.topic = $1 ORDER BY p.partition`,
    [topic],
  )
  return Object.fromEntries(rows.map(({ partition, next }) => [partition, next]))
}

/** Waits until the consumer has passed `total` offsets, all partitions together. */
export async function untilPassed(
  db: Database,
  topic: string,
  total: number,
  waiting?: { deadline?: number },
): Promise<void> {
  let positions: Record<number, number> = {}
  const there = async () => {
    positions = await positionsOf(db, topic)
    return Object.values(positions).reduce((sum, next) => sum + next, 0) === total
  }
  await eventually(`${total} offsets of ${topic} are passed`, there, waiting).catch(async (error) => {
    const row = await consumerOf(db, topic).catch(() => null)
    throw new Error(`${error.message}; positions ${JSON.stringify(positions)}, ${JSON.stringify(row)}`, {
      cause: error,
    })
  })
}

/** Waits until the query's rows are these. */
export async function untilRows(
  db: Database,
  sql: string,
  expected: unknown[][],
  options: { deadline?: number } = {},
): Promise<void> {
  let found: unknown[][] = []
  const there = async () => {
    const client = await db.query(sql)
    found = client.rows.map((row) => Object.values(row))
    try {
      assert.deepEqual(found, expected)
      return true
    } catch {
      return false
    }
  }
  await eventually(`rows of ${sql}`, there, options).catch(() => assert.deepEqual(found, expected))
}

export type ConsumeOptions = Record<string, string | number | bigint | boolean | string[] | object | null>

/** millrace.consume as somebody would type it, from the beginning. @returns the consumer's id */
export async function consume(
  db: { query(sql: string, parameters?: unknown[]): Promise<{ rows: Record<string, unknown>[] }> },
  topic: string,
  into: string | null,
  options: ConsumeOptions = {},
): Promise<string> {
  const all: ConsumeOptions = { start_offset: -2, ...options }
  const named = Object.keys(all).map((name, index) => `, ${name} := $${index + 3}`)
  const values = Object.values(all).map((value) =>
    value !== null && typeof value === 'object' && !Array.isArray(value) ? JSON.stringify(value) : value,
  )
  const { rows } = await db.query(`SELECT millrace.consume($1, $2${named.join('')}) AS id`, [
    topic,
    into,
    ...values,
  ])
  return String(rows[0]?.id)
}
