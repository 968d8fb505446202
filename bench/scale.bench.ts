// How the daemon behaves where there is much of something: a backlog that PostgreSQL is too slow for, and a thousand
// consumers of which few have anything to do.

import { setTimeout } from 'node:timers/promises'
import { Admin, Producer, stringSerializers } from '@platformatic/kafka'
import type pg from 'pg'
import { install } from '../src/cli/install.ts'
import { connect } from '../src/postgres/connection.ts'
import { startStack } from '../stack/stack.ts'
import type { Measurement } from './main.ts'
import { DaemonProcess } from './support/daemon-process.ts'

const backlogBytes = 2 * 1024 ** 3
const messageBytes = 1024
const memoryLimit = 250_000_000
/** How long the slow target is watched. */
const watchedSeconds = 60

const consumers = Number(process.env.BENCH_CONSUMERS ?? 1000)

interface Bench {
  url: string
  brokers: string
  client: pg.Client
}

export async function run(): Promise<Measurement[]> {
  const stack = await startStack()
  try {
    const url = stack.postgres.url
    await install(['--database', url, '--all'], process.env)
    const client = await connect(url)
    await client.query(
      `SET search_path = public; SELECT millrace.add_cluster('bench', '${stack.kafka.brokers}')`,
    )
    const bench = { url, brokers: stack.kafka.brokers, client }
    try {
      return [...(await backlog(bench)), ...(await many(bench))]
    } finally {
      await client.end()
    }
  } finally {
    await stack.remove()
  }
}

/** A trigger makes PostgreSQL a hundred times slower than the broker. */
async function backlog({ url, brokers, client }: Bench): Promise<Measurement[]> {
  const count = backlogBytes / messageBytes
  await fill(brokers, 'backlog', count, 'x'.repeat(messageBytes))
  await client.query(`CREATE TABLE slow (line text); CREATE FUNCTION drag() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep(0.0002); RETURN NEW; END $$;
    CREATE TRIGGER drag BEFORE INSERT ON slow FOR EACH ROW EXECUTE FUNCTION drag()`)
  const daemon = await DaemonProcess.start(url, { monitored: false })
  try {
    const { rows } = await client.query(
      `SELECT millrace.consume('backlog', 'slow', cluster := 'bench', format := 'text', parallelism := 4, start_offset := -2) AS id`,
    )
    await setTimeout(watchedSeconds * 1000)
    const memory = daemon.takeHighestMemory()
    const passed = await client.query('SELECT sum(next_offset)::int AS n FROM millrace.position')
    await client.query('SELECT millrace.drop_consumer($1)', [rows[0].id])
    return [
      { case: 'messages loaded into the slow table meanwhile', value: passed.rows[0].n, unit: 'messages' },
      {
        case: `resident memory, 2 GB waiting and a slow table, parallelism 4`,
        value: memory / 1e6,
        unit: 'MB',
        target: memoryLimit / 1e6,
        holds: memory < memoryLimit,
      },
    ]
  } finally {
    await daemon.stop()
  }
}

/** A topic and a table for each. */
async function many({ url, brokers, client }: Bench): Promise<Measurement[]> {
  const topics = Array.from({ length: consumers }, (_, i) => `many-${i}`)
  const admin = new Admin({ clientId: 'bench', bootstrapBrokers: [brokers] })
  for (let i = 0; i < consumers; i += 100) {
    await admin.createTopics({ topics: topics.slice(i, i + 100), partitions: 1, replicas: 1 })
  }
  await admin.close()
  await client.query(`DO $$ BEGIN FOR i IN 0..${consumers - 1} LOOP
    EXECUTE format('CREATE TABLE many_%s (line text)', i); END LOOP; END $$`)
  const daemon = await DaemonProcess.start(url, { monitored: false })
  try {
    const begun = performance.now()
    await client.query(`SELECT count(millrace.consume('many-' || i, 'many_' || i, cluster := 'bench', format := 'text', start_offset := -2))
      FROM generate_series(0, ${consumers - 1}) AS i`)
    await until(client, `SELECT count(*) = ${consumers} FROM millrace.consumers WHERE state = 'running'`)
    const running = (performance.now() - begun) / 1000
    await setTimeout(20_000)
    const before = daemon.processorSeconds()
    await setTimeout(30_000)
    const idle = ((daemon.processorSeconds() - before) / 30) * 100
    const sent = performance.now()
    const producer = newProducer(brokers)
    await producer.send({ messages: topics.map((topic) => ({ topic, value: 'x' })), acks: -1 })
    await producer.close()
    await until(client, `SELECT sum(messages) = ${consumers} FROM millrace.consumers`)
    const arrived = (performance.now() - sent) / 1000
    return [
      { case: `${consumers} consumers, until all run`, value: running, unit: 's' },
      { case: `${consumers} idle consumers`, value: idle, unit: '% of a core' },
      { case: `${consumers} consumers, a message for each, until all are loaded`, value: arrived, unit: 's' },
      {
        case: `resident memory, ${consumers} consumers`,
        value: daemon.takeHighestMemory() / 1e6,
        unit: 'MB',
      },
    ]
  } finally {
    await daemon.stop()
  }
}

async function until(client: pg.Client, sql: string): Promise<void> {
  const deadline = performance.now() + 300_000
  for (;;) {
    const { rows } = await client.query({ text: sql, rowMode: 'array' })
    if (rows[0]?.[0] === true) return
    if (performance.now() > deadline) {
      const states = await client.query(
        'SELECT state, error_code, count(*)::int FROM millrace.consumers GROUP BY 1, 2',
      )
      throw new Error(`not within five minutes: ${sql}; ${JSON.stringify(states.rows)}`)
    }
    await setTimeout(500)
  }
}

async function fill(brokers: string, topic: string, count: number, value: string): Promise<void> {
  const admin = new Admin({ clientId: 'bench', bootstrapBrokers: [brokers] })
  await admin.createTopics({ topics: [topic], partitions: 4, replicas: 1 })
  await admin.close()
  const producer = newProducer(brokers)
  const messages = Array.from({ length: 1000 }, () => ({ topic, value }))
  for (let i = 0; i < count; i += 1000) {
    const partition = (i / 1000) % 4
    await producer.send({ messages: messages.map((message) => ({ ...message, partition })), acks: -1 })
  }
  await producer.close()
}

function newProducer(brokers: string) {
  return new Producer({ clientId: 'bench', bootstrapBrokers: [brokers], serializers: stringSerializers })
}
