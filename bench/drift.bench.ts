// Whether sending gets slower, larger or later: one daemon, ten million messages. What is measured in the first and in the
// last million has to be the same, and what the outbox takes on disk has to come down to what it was.

import type pg from 'pg'
import type { Measurement } from './main.ts'
import { DaemonProcess } from './support/daemon-process.ts'
import { type InstalledStack, withStack } from './support/installed-stack.ts'
import { fillOutbox, timeDelivery, untilWritten } from './support/outbox.ts'
import { percentile } from './support/statistics.ts'
import { createTopics, topicPartitions } from './support/topics.ts'

const rounds = 10
const messages = Number(process.env.BENCH_MESSAGES ?? 1_000_000)

/** How much the last may differ from the first; the machine itself varies by as much. */
const tolerance = 1.3

interface Round {
  /** Messages a second. */
  rate: number
  /** Bytes. */
  memory: number
}

export function run(): Promise<Measurement[]> {
  return withStack(async (stack) => {
    const { url, client } = stack
    const daemon = await DaemonProcess.start(url, { monitored: false })
    try {
      const before = await latency(stack, daemon, 'before')
      const done: Round[] = []
      for (let i = 0; i < rounds; i++) done.push(await round(stack, daemon, i))
      const after = await latency(stack, daemon, 'after')
      await untilEmptied(client)
      return report(done, before, after, await outboxBytes(client))
    } finally {
      await daemon.stop()
    }
  })
}

async function round({ brokers, client }: InstalledStack, daemon: DaemonProcess, i: number): Promise<Round> {
  const topic = `drift-${i}`
  await createTopics(brokers, [topic], topicPartitions)
  daemon.takeHighestMemory()
  const start = performance.now()
  await fillOutbox(client, topic, messages)
  await untilWritten(brokers, topic, messages)
  const rate = messages / ((performance.now() - start) / 1000)
  const memory = daemon.takeHighestMemory()
  const disk = await outboxBytes(client)
  console.log(
    `  round ${i}: ${rate.toFixed(0)} messages/s written and sent, ${(memory / 1e6).toFixed(0)} MB, outbox ${(disk / 1e6).toFixed(0)} MB`,
  )
  return { rate, memory }
}

async function latency({ brokers, client }: InstalledStack, daemon: DaemonProcess, topic: string) {
  await createTopics(brokers, [topic], topicPartitions)
  const { times } = await timeDelivery({ client, brokers, topic, daemon, count: 1500 })
  return percentile(times, 0.5)
}

function report(done: Round[], before: number, after: number, left: number): Measurement[] {
  // the first million warms up caches and the daemon's own code
  const [first, last] = [done[1] as Round, done.at(-1) as Round]
  const slower = first.rate / last.rate
  const larger = last.memory / first.memory
  const later = after / before
  return [
    { case: 'written and sent, second million', value: first.rate, unit: 'messages/s' },
    {
      case: 'the same, last million: times slower',
      value: slower,
      unit: 'ratio',
      target: tolerance,
      holds: slower < tolerance,
    },
    {
      case: 'resident memory, last million beside second',
      value: larger,
      unit: 'ratio',
      target: tolerance,
      holds: larger < tolerance,
    },
    {
      case: 'COMMIT to consumer, p50, after beside before',
      value: later,
      unit: 'ratio',
      target: tolerance,
      holds: later < tolerance,
    },
    {
      case: 'the outbox on disk afterwards',
      value: left / 1e6,
      unit: 'MB',
      target: 100,
      holds: left < 100e6,
    },
  ]
}

/** All but the segment that is written now. */
async function untilEmptied(client: pg.Client): Promise<void> {
  const deadline = performance.now() + 60_000
  for (;;) {
    const { rows } = await client.query(
      `SELECT count(*)::int AS full FROM generate_series(0, 3) AS i
        WHERE i <> (SELECT segment FROM millrace.outbox_writing)
          AND pg_relation_size(('millrace.outbox_' || i)::regclass) > 0`,
    )
    if (rows[0].full === 0 || performance.now() > deadline) return
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
}

async function outboxBytes(client: pg.Client): Promise<number> {
  const { rows } = await client.query(
    `SELECT sum(pg_total_relation_size(('millrace.outbox_' || i)::regclass))::float8 AS bytes FROM generate_series(0, 3) AS i`,
  )
  return rows[0].bytes
}
