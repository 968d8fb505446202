// Sending: how fast a filled outbox is drained beside COPY of the same rows to nowhere, how long a message takes from
// COMMIT to a consumer, what that takes of memory, and what 32 writers pay for waking the daemon.

import { setTimeout } from 'node:timers/promises'
import type pg from 'pg'
import { connect } from '../src/postgres/connection.ts'
import { CopyOut } from '../src/postgres/copy-out.ts'
import type { Measurement } from './main.ts'
import { DaemonProcess } from './support/daemon-process.ts'
import { type InstalledStack, withStack } from './support/installed-stack.ts'
import { fillOutbox, timeDelivery, untilWritten } from './support/outbox.ts'
import { median, percentile } from './support/statistics.ts'
import { createTopics, topicPartitions } from './support/topics.ts'

const messages = Number(process.env.BENCH_MESSAGES ?? 1_000_000)
const runs = Number(process.env.BENCH_RUNS ?? 3)
const writers = 32

export function run(): Promise<Measurement[]> {
  return withStack(async (stack) => [
    ...(await draining(stack)),
    ...(await latency(stack)),
    ...(await exactlyOnce(stack)),
    ...(await waking(stack)),
  ])
}

async function draining({ url, brokers, client }: InstalledStack): Promise<Measurement[]> {
  const limits: number[] = []
  const times: number[] = []
  let memory = 0
  const cost: number[] = []
  for (let i = 0; i < runs; i++) {
    const topic = `drained-${i}`
    await createTopics(brokers, [topic], topicPartitions)
    await fillOutbox(client, topic, messages)
    limits.push(await timeCopy(client, topic))
    const daemon = await DaemonProcess.start(url)
    const start = performance.now()
    await untilWritten(brokers, topic, messages)
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

async function latency({ url, brokers, client }: InstalledStack): Promise<Measurement[]> {
  const topic = 'latency'
  await createTopics(brokers, [topic], topicPartitions)
  // a monitor of the event loop would take more than the daemon does while it idles
  const daemon = await DaemonProcess.start(url, { monitored: false })
  const { times, cost } = await timeDelivery({ client, brokers, topic, daemon, count: 3000 })
  await setTimeout(2000)
  const idleBefore = daemon.processorSeconds()
  await setTimeout(20_000)
  const idle = ((daemon.processorSeconds() - idleBefore) / 20) * 100
  await daemon.stop()
  const [p50, p99] = [percentile(times, 0.5), percentile(times, 0.99)]
  return [
    { case: 'COMMIT to consumer at 100/s, p50', value: p50, unit: 'ms', target: 6, holds: p50 < 6 },
    { case: 'COMMIT to consumer at 100/s, p99', value: p99, unit: 'ms', target: 20, holds: p99 < 20 },
    { case: 'daemon at 100/s', value: cost, unit: '% of a core' },
    { case: 'daemon, nothing produced', value: idle, unit: '% of a core', target: 1, holds: idle < 1 },
  ]
}

/** The same in Kafka transactions. */
async function exactlyOnce({ url, brokers, client }: InstalledStack): Promise<Measurement[]> {
  await client.query("SELECT millrace.alter_cluster('default', delivery := 'exactly_once')")
  await createTopics(brokers, ['exactly', 'exactly-drained'], topicPartitions)
  const daemon = await DaemonProcess.start(url, { monitored: false })
  const { times, cost } = await timeDelivery({ client, brokers, topic: 'exactly', daemon, count: 3000 })
  await daemon.stop()
  await fillOutbox(client, 'exactly-drained', messages)
  const drainer = await DaemonProcess.start(url)
  const start = performance.now()
  await untilWritten(brokers, 'exactly-drained', messages)
  const rate = messages / ((performance.now() - start) / 1000)
  await drainer.stop()
  await client.query("SELECT millrace.alter_cluster('default', delivery := 'at_least_once')")
  const [p50, p99] = [percentile(times, 0.5), percentile(times, 0.99)]
  return [
    {
      case: 'COMMIT to consumer at 100/s, exactly once, p50',
      value: p50,
      unit: 'ms',
      target: 20,
      holds: p50 < 20,
    },
    { case: 'COMMIT to consumer at 100/s, exactly once, p99', value: p99, unit: 'ms' },
    { case: 'daemon at 100/s, exactly once', value: cost, unit: '% of a core' },
    { case: 'drain, 200 bytes, exactly once', value: rate, unit: 'messages/s' },
  ]
}

/** Each way in turn, several times: other programs may use the machine. */
async function waking({ url, brokers }: InstalledStack): Promise<Measurement[]> {
  const topic = 'woken'
  await createTopics(brokers, [topic], topicPartitions)
  const produce = `SELECT millrace.produce('${topic}', 'x', 'k')`
  const notify = `BEGIN; ${produce}; NOTIFY woken; COMMIT`
  const clients = await Promise.all(Array.from({ length: writers }, () => connect(url)))
  const rates: Record<string, number[]> = { alone: [], daemon: [], notify: [] }
  for (let i = 0; i < runs; i++) {
    rates.alone?.push(await write(clients, `BEGIN; ${produce}; COMMIT`))
    rates.notify?.push(await write(clients, notify))
    const daemon = await DaemonProcess.start(url, { monitored: false })
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
