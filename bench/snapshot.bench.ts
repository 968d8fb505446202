// A snapshot: how fast the rows of a table come into the outbox beside reading them as JSON, how fast they come to Kafka, and
// what somebody who updates rows of the table waits meanwhile.

import { setTimeout } from 'node:timers/promises'
import type pg from 'pg'
import { install } from '../src/cli/install.ts'
import { connect } from '../src/postgres/connection.ts'
import { CopyOut } from '../src/postgres/copy-out.ts'
import { startStack } from '../stack/stack.ts'
import type { Measurement } from './main.ts'
import { DaemonProcess } from './support/daemon-process.ts'
import { untilWritten } from './support/outbox.ts'
import { median, percentile } from './support/statistics.ts'
import { createTopics, topicPartitions } from './support/topics.ts'

const rows = Number(process.env.BENCH_MESSAGES ?? 1_000_000)
const runs = Number(process.env.BENCH_RUNS ?? 3)
const target = 150_000

interface Bench {
  url: string
  brokers: string
  client: pg.Client
}

export async function run(): Promise<Measurement[]> {
  process.env.MILLRACE_OUTBOUND_SNAPSHOT_BACKLOG = '100GB'
  const stack = await startStack()
  try {
    const url = stack.postgres.url
    await install(['--database', url], process.env)
    const client = await connect(url)
    const { brokers } = stack.kafka
    try {
      const bench = { url, brokers, client }
      await fill(client)
      const inside = await writing(bench)
      await client.query('SELECT millrace.add_broker($1)', [brokers])
      return [...inside, ...(await sending(bench))]
    } finally {
      await client.end()
    }
  } finally {
    await stack.remove()
  }
}

/** Rows of about 100 bytes. */
async function fill(client: pg.Client): Promise<void> {
  await client.query(`CREATE TABLE public.items AS
    SELECT i AS id, 'sku ' || i AS sku, i % 100 AS n, pg_catalog.now() AS at, pg_catalog.repeat('x', 40) AS pad
      FROM pg_catalog.generate_series(1, ${rows}) AS i`)
  await client.query('ALTER TABLE public.items ADD PRIMARY KEY (id)')
  await client.query('VACUUM ANALYZE public.items')
}

/** Into the outbox alone: there is no broker yet. */
async function writing({ url, client }: Bench): Promise<Measurement[]> {
  const limits: number[] = []
  const times: number[] = []
  const waits: number[] = []
  for (let i = 0; i < runs; i++) {
    limits.push(await timeCopy(client))
    const daemon = await DaemonProcess.start(url)
    const writer = await connect(url)
    let writing = true
    const updates = (async () => {
      while (writing) {
        const start = performance.now()
        await writer.query('UPDATE public.items SET n = n + 1 WHERE id = $1', [
          Math.ceil(Math.random() * rows),
        ])
        waits.push(performance.now() - start)
        await setTimeout(10)
      }
    })()
    times.push(await timeSnapshot(client, `items-${i}`))
    writing = false
    await updates
    await writer.end()
    await daemon.stop()
    await client.query('TRUNCATE millrace.outbox_0, millrace.outbox_1, millrace.outbox_2, millrace.outbox_3')
    console.log(`  COPY ${limits.at(-1)?.toFixed(2)} s, snapshot ${times.at(-1)?.toFixed(2)} s`)
  }
  const rate = rows / median(times)
  return [
    { case: 'COPY of the rows as JSON to nowhere', value: rows / median(limits), unit: 'rows/s' },
    { case: 'snapshot into the outbox', value: rate, unit: 'rows/s', target, holds: rate >= target },
    {
      case: 'snapshot beside COPY',
      value: median(limits.map((limit, i) => limit / (times[i] as number))),
      unit: 'ratio',
    },
    { case: 'UPDATE of a row meanwhile, p50', value: percentile(waits, 0.5), unit: 'ms' },
    { case: 'UPDATE of a row meanwhile, p99', value: percentile(waits, 0.99), unit: 'ms' },
    { case: 'UPDATE of a row meanwhile, longest', value: Math.max(...waits), unit: 'ms' },
  ]
}

async function sending({ url, brokers, client }: Bench): Promise<Measurement[]> {
  const times: number[] = []
  let memory = 0
  for (let i = 0; i < runs; i++) {
    const topic = `sent-${i}`
    await createTopics(brokers, [topic], topicPartitions)
    const daemon = await DaemonProcess.start(url)
    const start = performance.now()
    await timeSnapshot(client, topic)
    await untilWritten(brokers, topic, rows)
    times.push((performance.now() - start) / 1000)
    memory = Math.max(memory, daemon.takeHighestMemory())
    await daemon.stop()
    console.log(`  sent ${times.at(-1)?.toFixed(2)} s`)
  }
  return [
    { case: 'snapshot, until all of it is in Kafka', value: rows / median(times), unit: 'rows/s' },
    { case: 'resident memory', value: memory / 1e6, unit: 'MB', target: 200, holds: memory < 200e6 },
  ]
}

/** @returns seconds */
async function timeSnapshot(client: pg.Client, topic: string): Promise<number> {
  await client.query(`CREATE OR REPLACE FUNCTION public.writer(relation oid, first_block bigint, end_block bigint, again tid[])
    RETURNS TABLE (written bigint, skipped tid[]) LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$ BEGIN
      RETURN QUERY SELECT * FROM millrace.write_chunk(relation, first_block, end_block, again,
        $m$'default', '${topic}', NULL::integer, convert_to(t.id::text, 'UTF8'), convert_to(row_to_json(t)::text, 'UTF8'),
           NULL::bytea[], NULL::timestamptz, NULL::text$m$);
    END $$`)
  const start = performance.now()
  const { rows: begun } = await client.query(
    "SELECT millrace.begin_snapshot('public.items', 'public.writer(oid, bigint, bigint, tid[])') AS id",
  )
  for (;;) {
    const { rows: found } = await client.query(
      'SELECT state, error_message FROM millrace.snapshots WHERE id = $1',
      [begun[0].id],
    )
    if (found[0].state === 'done') return (performance.now() - start) / 1000
    if (found[0].state === 'failing') throw new Error(found[0].error_message)
    await setTimeout(20)
  }
}

async function timeCopy(client: pg.Client): Promise<number> {
  const start = performance.now()
  let read = 0
  const copy = new CopyOut(
    'COPY (SELECT pg_catalog.row_to_json(t) FROM public.items AS t) TO STDOUT (FORMAT binary)',
    () => read++,
  )
  client.query(copy)
  await copy.done
  if (read < rows) throw new Error(`COPY gave ${read} rows`)
  return (performance.now() - start) / 1000
}
