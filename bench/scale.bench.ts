// How the daemon behaves where there is much of something: a backlog that PostgreSQL is too slow for, and a thousand
// consumers of which few have anything to do.

import { setTimeout } from 'node:timers/promises'
import type pg from 'pg'
import type { Measurement } from './main.ts'
import { DaemonProcess } from './support/daemon-process.ts'
import { type InstalledStack, withStack } from './support/installed-stack.ts'
import { createTopics, fillTopic, newProducer } from './support/topics.ts'

const backlogBytes = 2 * 1024 ** 3
const messageBytes = 1024
const memoryLimit = 250_000_000
/** How long the slow target is watched. */
const watchedSeconds = 60

const consumers = Number(process.env.BENCH_CONSUMERS ?? 1000)

export function run(): Promise<Measurement[]> {
  return withStack(async (stack) => [...(await backlog(stack)), ...(await many(stack))])
}

/** A trigger makes PostgreSQL a hundred times slower than the broker. */
async function backlog({ url, brokers, client }: InstalledStack): Promise<Measurement[]> {
  const count = backlogBytes / messageBytes
  const value = 'x'.repeat(messageBytes)
  await fillTopic(brokers, 'backlog', count, () => value, 1000)
  await client.query(`CREATE TABLE slow (line text); CREATE FUNCTION drag() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep(0.0002); RETURN NEW; END $$;
    CREATE TRIGGER drag BEFORE INSERT ON slow FOR EACH ROW EXECUTE FUNCTION drag()`)
  const daemon = await DaemonProcess.start(url, { monitored: false })
  try {
    const { rows } = await client.query(
      `SELECT millrace.consume('backlog', 'slow', format := 'text', parallelism := 4, start_offset := -2) AS id`,
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
async function many({ url, brokers, client }: InstalledStack): Promise<Measurement[]> {
  const topics = Array.from({ length: consumers }, (_, i) => `many-${i}`)
  await createTopics(brokers, topics, 1)
  await client.query(`DO $$ BEGIN FOR i IN 0..${consumers - 1} LOOP
    EXECUTE format('CREATE TABLE many_%s (line text)', i); END LOOP; END $$`)
  const daemon = await DaemonProcess.start(url, { monitored: false })
  try {
    const begun = performance.now()
    await client.query(`SELECT count(millrace.consume('many-' || i, 'many_' || i, format := 'text', start_offset := -2))
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
