// Sending: how fast a filled outbox is drained beside COPY of the same rows to nowhere, how long a message takes from
// COMMIT to a consumer, what that takes of memory, and what 32 writers pay for waking the daemon.

import { setTimeout } from 'node:timers/promises'
import { Admin, Consumer, ListOffsetTimestamps } from '@platformatic/kafka'
import type pg from 'pg'
import { install } from '../src/cli/install.ts'
import { connect } from '../src/postgres/connection.ts'
import { CopyOut } from '../src/postgres/copy-out.ts'
import { startStack } from '../stack/stack.ts'
import type { Measurement } from './main.ts'
import { DaemonProcess } from './support/daemon-process.ts'
import { median, percentile } from './support/statistics.ts'

const messages = Number(process.env.BENCH_MESSAGES ?? 1_000_000)
const runs = Number(process.env.BENCH_RUNS ?? 3)
const partitions = 4
const writers = 32

interface Bench {
  url: string
  brokers: string
  client: pg.Client
  admin: Admin
}

export async function run(): Promise<Measurement[]> {
  const stack = await startStack()
  try {
    const url = stack.postgres.url
    await install(['--database', url], process.env)
    const client = await connect(url)
    const { brokers } = stack.kafka
    await client.query('SELECT millrace.add_broker($1)', [brokers])
    const admin = new Admin({ clientId: 'bench', bootstrapBrokers: [brokers] })
    const bench = { url, brokers, client, admin }
    try {
      return [...(await draining(bench)), ...(await latency(bench)), ...(await waking(bench))]
    } finally {
      await admin.close()
      await client.end()
    }
  } finally {
    await stack.remove()
  }
}

async function draining(bench: Bench): Promise<Measurement[]> {
  const limits: number[] = []
  const times: number[] = []
  let memory = 0
  const cost: number[] = []
  for (let i = 0; i < runs; i++) {
    const topic = `drained-${i}`
    await createTopic(bench, topic)
    await fill(bench.client, topic)
    limits.push(await timeCopy(bench.client, topic))
    const daemon = await DaemonProcess.start(bench.url)
    const start = performance.now()
    await untilCount(bench, topic, messages)
    times.push((performance.now() - start) / 1000)
    memory = Math.max(memory, daemon.takeHighestMemory())
    cost.push((daemon.processorSeconds() / messages) * 1e6)
    await daemon.stop()
    console.log(`  COPY ${limits.at(-1)?.toFixed(2)} s, sent ${times.at(-1)?.toFixed(2)} s`)
  }
  const rate = messages / median(times)
  const ratio = median(limits.map((limit, i) => limit / (times[i] as number)))
  return [
    { case: 'COPY of the same rows to nowhere', value: messages / median(limits), unit: 'messages/s' },
    { case: 'drain, 200 bytes', value: rate, unit: 'messages/s', target: 150_000, holds: rate >= 150_000 },
    { case: 'drain beside COPY', value: ratio, unit: 'ratio' },
    { case: "the daemon's processor time for a message", value: median(cost), unit: 'us' },
    {
      case: `resident memory, ${messages} rows waiting`,
      value: memory / 1e6,
      unit: 'MB',
      target: 200,
      holds: memory < 200e6,
    },
  ]
}

/** As writers would: many transactions, in the segment that is written now. */
async function fill(client: pg.Client, topic: string): Promise<void> {
  const { rows } = await client.query('SELECT segment FROM millrace.outbox_writing')
  const step = 10_000
  for (let from = 0; from < messages; from += step) {
    await client.query(
      `INSERT INTO millrace.outbox_${rows[0].segment} (cluster, topic, key, value)
       SELECT 'default', $1, convert_to('key ' || i % 5000, 'UTF8'), convert_to(rpad(i::text, 200, 'x'), 'UTF8')
         FROM generate_series($2::int, $3::int) AS i`,
      [topic, from, from + step - 1],
    )
  }
}

async function timeCopy(client: pg.Client, topic: string): Promise<number> {
  const start = performance.now()
  let rows = 0
  const copy = new CopyOut(
    `COPY (SELECT xid, id, partition, topic, key, value, headers, "timestamp" FROM millrace.outbox
      WHERE topic = '${topic}' ORDER BY id) TO STDOUT (FORMAT binary)`,
    () => rows++,
  )
  client.query(copy)
  await copy.done
  if (rows < messages) throw new Error(`COPY gave ${rows} rows`)
  return (performance.now() - start) / 1000
}

async function latency(bench: Bench): Promise<Measurement[]> {
  const topic = 'latency'
  await createTopic(bench, topic)
  // a monitor of the event loop would take more than the daemon does while it idles
  const daemon = await DaemonProcess.start(bench.url, { monitored: false })
  const consumer = new Consumer({
    clientId: 'bench',
    groupId: 'bench-latency',
    bootstrapBrokers: [bench.brokers],
    maxWaitTime: 1000,
    minBytes: 1,
  })
  const arrived = new Map<number, number>()
  const stream = await consumer.consume({ topics: [topic], mode: 'earliest' })
  stream.on('data', (message) => arrived.set(Number(String(message.value)), performance.now()))
  const count = 3000
  const committed: number[] = []
  const begin = performance.now()
  const before = daemon.processorSeconds()
  for (let i = 0; i < count; i++) {
    await setTimeout(Math.max(0, begin + i * 10 - performance.now()))
    await bench.client.query('SELECT millrace.produce($1, $2, $2)', [topic, String(i)])
    committed.push(performance.now())
  }
  const cost = ((daemon.processorSeconds() - before) / (performance.now() - begin)) * 1e5
  while (arrived.size < count) await setTimeout(10)
  await stream.close()
  await consumer.close(true)
  await setTimeout(2000)
  const idleBefore = daemon.processorSeconds()
  await setTimeout(20_000)
  const idle = ((daemon.processorSeconds() - idleBefore) / 20) * 100
  await daemon.stop()
  // the first ones find a consumer and a producer that are not connected yet
  const times = committed.slice(300).map((at, i) => Math.max(0, (arrived.get(i + 300) as number) - at))
  const [p50, p99] = [percentile(times, 0.5), percentile(times, 0.99)]
  return [
    { case: 'COMMIT to consumer at 100/s, p50', value: p50, unit: 'ms', target: 6, holds: p50 < 6 },
    { case: 'COMMIT to consumer at 100/s, p99', value: p99, unit: 'ms', target: 20, holds: p99 < 20 },
    { case: 'daemon at 100/s', value: cost, unit: '% of a core' },
    { case: 'daemon, nothing produced', value: idle, unit: '% of a core', target: 1, holds: idle < 1 },
  ]
}

/** Each way in turn, several times: other programs may use the machine. */
async function waking(bench: Bench): Promise<Measurement[]> {
  const topic = 'woken'
  await createTopic(bench, topic)
  const produce = `SELECT millrace.produce('${topic}', 'x', 'k')`
  const notify = `BEGIN; ${produce}; NOTIFY woken; COMMIT`
  const clients = await Promise.all(Array.from({ length: writers }, () => connect(bench.url)))
  const rates: Record<string, number[]> = { alone: [], daemon: [], notify: [] }
  for (let i = 0; i < runs; i++) {
    rates.alone?.push(await write(clients, `BEGIN; ${produce}; COMMIT`))
    rates.notify?.push(await write(clients, notify))
    const daemon = await DaemonProcess.start(bench.url, { monitored: false })
    await setTimeout(500)
    rates.daemon?.push(await write(clients, `BEGIN; ${produce}; COMMIT`))
    await daemon.stop()
  }
  await Promise.all(clients.map((client) => client.end()))
  const of = (name: string) => median(rates[name] as number[])
  return [
    { case: `${writers} writers, no daemon`, value: of('alone'), unit: 'commits/s' },
    { case: `${writers} writers, with the daemon`, value: of('daemon'), unit: 'commits/s' },
    { case: `${writers} writers, NOTIFY in each, no daemon`, value: of('notify'), unit: 'commits/s' },
  ]
}

async function write(clients: pg.Client[], sql: string): Promise<number> {
  const seconds = 4
  const end = performance.now() + seconds * 1000
  let count = 0
  const work = clients.map(async (client) => {
    for (; performance.now() < end; count++) await client.query(sql)
  })
  await Promise.all(work)
  return count / seconds
}

async function createTopic({ admin }: Bench, topic: string): Promise<void> {
  await admin.createTopics({ topics: [topic], partitions, replicas: 1 })
}

async function untilCount({ admin }: Bench, topic: string, count: number): Promise<void> {
  const asked = Array.from({ length: partitions }, (_, partitionIndex) => ({
    partitionIndex,
    timestamp: ListOffsetTimestamps.LATEST,
  }))
  for (;;) {
    const [listed] = await admin.listOffsets({ topics: [{ name: topic, partitions: asked }] })
    const there = listed?.partitions.reduce((sum, { offset }) => sum + Number(offset), 0) ?? 0
    if (there >= count) return
    await setTimeout(20)
  }
}
