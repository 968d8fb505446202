// The pump beside its limit: COPY of the same lines from a file, by the same client library, on the same
// servers, in turn. A ratio is COPY's time by the pump's time; 1 would be the speed of COPY itself.

import { once } from 'node:events'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import type pg from 'pg'
import { connect } from '../src/postgres/connection.ts'
import { CopyIn } from '../src/postgres/copy.ts'
import type { Measurement } from './main.ts'
import { DaemonProcess } from './support/daemon-process.ts'
import { type InstalledStack, withStack } from './support/installed-stack.ts'
import { type RowFormat, row, rowCount, rowTable } from './support/rows.ts'
import { median, percentile } from './support/statistics.ts'
import { createTopics, fillTopic, newProducer, topicPartitions } from './support/topics.ts'
import { ways } from './support/ways.ts'

const runs = Number(process.env.BENCH_RUNS ?? 5)

interface Bench extends InstalledStack {
  daemon: DaemonProcess
  folder: string
}

interface PumpCase {
  format: RowFormat
  parallelism: number
  /** COPY's time by the pump's. */
  target: number
}

const pumpCases: PumpCase[] = [
  { format: 'text', parallelism: 1, target: 0.85 },
  { format: 'csv', parallelism: 1, target: 0.85 },
  { format: 'json', parallelism: 1, target: 0.75 },
]

const memoryLimit = 250_000_000

export async function run(): Promise<Measurement[]> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-bench-'))
  try {
    return await withStack((stack) => runIn(stack, folder))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function runIn(stack: InstalledStack, folder: string): Promise<Measurement[]> {
  const daemon = await DaemonProcess.start(stack.url)
  const bench = { ...stack, daemon, folder }
  const { client, brokers } = stack
  try {
    const results: Measurement[] = []
    for (const pumpCase of pumpCases) results.push(...(await throughput(bench, pumpCase)))
    const fill = (topic: string, count: number, value: (i: number) => string) =>
      fillTopic(brokers, topic, count, value)
    results.push(...(await ways({ client, fill, rows: 'bench-text' })))
    results.push(...(await latency(bench)))
    return [...results, await idle(bench)]
  } finally {
    await daemon.stop()
  }
}

async function throughput(bench: Bench, { format, parallelism, target }: PumpCase): Promise<Measurement[]> {
  const topic = `bench-${format}`
  // json goes into columns: its limit is COPY of the same rows as text
  const file = await writeRows(bench.folder, format === 'json' ? 'text' : format)
  await fillTopic(bench.brokers, topic, rowCount, (i) => row(format, i))
  await bench.client.query(`CREATE TABLE IF NOT EXISTS target (${rowTable})`)
  const copyTimes: number[] = []
  const pumpTimes: number[] = []
  bench.daemon.takeHighestMemory()
  await bench.daemon.takeLoopDelay()
  for (let i = 0; i < runs; i++) {
    copyTimes.push(await timeCopy(bench, file, format === 'csv' ? 'csv' : 'text'))
    pumpTimes.push(await timePump(bench, topic, format, parallelism))
    console.log(`  ${format}: COPY ${copyTimes.at(-1)?.toFixed(2)} s, pump ${pumpTimes.at(-1)?.toFixed(2)} s`)
  }
  const memory = bench.daemon.takeHighestMemory()
  const loop = await bench.daemon.takeLoopDelay()
  const ratio = median(copyTimes.map((time, i) => time / (pumpTimes[i] as number)))
  const name = `${format}, parallelism ${parallelism}`
  return [
    { case: `COPY of a file, ${format}`, value: median(copyTimes), unit: 's' },
    { case: name, value: median(pumpTimes), unit: 's', ratio, target, holds: ratio >= target },
    {
      case: `resident memory, ${name}`,
      value: memory / 1e6,
      unit: 'MB',
      target: memoryLimit / 1e6,
      holds: memory < memoryLimit,
    },
    {
      case: `event loop held p99.9, ${name}`,
      value: loop.p999,
      unit: 'ms',
      target: 10,
      holds: loop.p999 < 10,
    },
    {
      case: `of that the daemon's own work, p99.9, ${name}`,
      value: loop.workedP999,
      unit: 'ms',
      target: 10,
      holds: loop.workedP999 < 10,
    },
  ]
}

async function timeCopy(bench: Bench, file: string, format: 'text' | 'csv'): Promise<number> {
  await emptyTarget(bench.client)
  const start = performance.now()
  const copy = new CopyIn(`COPY target FROM STDIN WITH (FORMAT ${format})`, readChunks(file))
  bench.client.query(copy)
  const rows = await copy.done
  if (rows !== rowCount) throw new Error(`COPY loaded ${rows} rows`)
  return (performance.now() - start) / 1000
}

/** From consume_begin to the commit of the last row: joining the group and finding the start are included. */
async function timePump(
  bench: Bench,
  topic: string,
  format: RowFormat,
  parallelism: number,
): Promise<number> {
  const { client } = bench
  await emptyTarget(client)
  const delimiter = format === 'csv' ? ',' : '\t'
  const start = performance.now()
  await client.query(
    `SELECT pipeline_kafka.consume_begin($1, 'target', format := $2, delimiter := $3, parallelism := $4,
                                         start_offset := -2)`,
    [topic, format, delimiter, parallelism],
  )
  for (;;) {
    const { rows } = await client.query(
      `SELECT coalesce(sum(next_offset), 0) AS loaded, bool_and(c.start_pending) AS pending
         FROM millrace.position JOIN millrace.consumer AS c ON c.id = consumer_id WHERE c.topic = $1`,
      [topic],
    )
    if (Number(rows[0].loaded) === rowCount && !rows[0].pending) break
    await setTimeout(20)
  }
  const seconds = (performance.now() - start) / 1000
  await client.query(`SELECT pipeline_kafka.consume_end($1, 'target')`, [topic])
  const { rows } = await client.query('SELECT count(*) AS count, count(DISTINCT id) AS ids FROM target')
  if (Number(rows[0].count) !== rowCount || Number(rows[0].ids) !== rowCount) {
    throw new Error(`the pump loaded ${rows[0].count} rows, ${rows[0].ids} different ones`)
  }
  return seconds
}

async function emptyTarget(client: pg.Client): Promise<void> {
  await client.query('TRUNCATE target')
  await client.query('CHECKPOINT')
}

/** 100 messages a second for a while; a row is visible when its transaction's notification arrives. */
async function latency(bench: Bench): Promise<Measurement[]> {
  const { client } = bench
  const topic = 'bench-latency'
  await createTopics(bench.brokers, [topic], topicPartitions)
  await client.query(`CREATE TABLE arrivals (id bigint)`)
  await client.query(`CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_notify('arrivals', NEW.id::text); RETURN NULL; END $$`)
  await client.query('CREATE TRIGGER tell AFTER INSERT ON arrivals FOR EACH ROW EXECUTE FUNCTION tell()')
  await client.query(`SELECT pipeline_kafka.consume_begin($1, 'arrivals', start_offset := -2)`, [topic])
  const listener = await connect(bench.url)
  const sent: number[] = []
  const delays: number[] = []
  listener.on('notification', ({ payload }) => {
    const id = Number(payload)
    if (id >= warmUp) delays.push(performance.now() - (sent[id] as number))
  })
  await listener.query('LISTEN arrivals')
  const producer = newProducer(bench.brokers)
  const warmUp = 200
  const count = warmUp + 2000
  for (let id = 0; id < count; id++) {
    const due = setTimeout(10)
    sent[id] = performance.now()
    void producer.send({ messages: [{ topic, value: String(id) }], acks: -1 })
    await due
  }
  while (delays.length < count - warmUp) await setTimeout(20)
  await producer.close()
  await listener.end()
  await client.query(`SELECT pipeline_kafka.consume_end($1, 'arrivals')`, [topic])
  const [p50, p99] = [percentile(delays, 0.5), percentile(delays, 0.99)]
  return [
    { case: 'produce to visible row at 100/s, p50', value: p50, unit: 'ms', target: 15, holds: p50 < 15 },
    { case: 'produce to visible row at 100/s, p99', value: p99, unit: 'ms', target: 60, holds: p99 < 60 },
  ]
}

async function idle(bench: Bench): Promise<Measurement> {
  const topic = 'bench-idle'
  await createTopics(bench.brokers, [topic], topicPartitions)
  await bench.client.query('CREATE TABLE nothing (line text)')
  await bench.client.query(`SELECT pipeline_kafka.consume_begin($1, 'nothing', start_offset := -2)`, [topic])
  // the monitor of the event loop wakes it a thousand times a second: measured without it
  await bench.daemon.stop()
  const daemon = await DaemonProcess.start(bench.url, { monitored: false })
  await setTimeout(5000)
  const before = daemon.processorSeconds()
  const seconds = 30
  await setTimeout(seconds * 1000)
  const share = ((daemon.processorSeconds() - before) / seconds) * 100
  await daemon.stop()
  return {
    case: 'a daemon with one idle consumer',
    value: share,
    unit: '% of a core',
    target: 1,
    holds: share < 1,
  }
}

async function writeRows(folder: string, format: RowFormat): Promise<string> {
  const file = join(folder, `rows.${format}`)
  const out = createWriteStream(file)
  for (let i = 0; i < rowCount; ) {
    const lines: string[] = []
    for (const end = Math.min(i + 10_000, rowCount); i < end; i++) lines.push(row(format, i))
    if (!out.write(`${lines.join('\n')}\n`)) await once(out, 'drain')
  }
  out.end()
  await once(out, 'close')
  return file
}

async function* readChunks(file: string): AsyncGenerator<Buffer> {
  for await (const chunk of createReadStream(file, { highWaterMark: 256 * 1024 })) yield chunk as Buffer
}
