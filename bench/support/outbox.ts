// Messages in the outbox, and when they are in Kafka.

import { setTimeout } from 'node:timers/promises'
import type pg from 'pg'
import { Admin, Consumer, FetchIsolationLevels, ListOffsetTimestamps } from '../../src/kafka/library.ts'
import type { DaemonProcess } from './daemon-process.ts'
import { topicPartitions } from './topics.ts'

const rowsTogether = 10_000

/** Messages of 200 bytes with 5,000 keys, as writers would: many transactions, in the segment that is written now. */
export async function fillOutbox(client: pg.Client, topic: string, count: number): Promise<void> {
  for (let from = 0; from < count; from += rowsTogether) {
    const { rows } = await client.query('SELECT segment FROM millrace.outbox_writing')
    await client.query(
      `INSERT INTO millrace.outbox_${rows[0].segment} (cluster, topic, key, value)
       SELECT 'default', $1, convert_to('key ' || i % 5000, 'UTF8'), convert_to(rpad(i::text, 200, 'x'), 'UTF8')
         FROM generate_series($2::int, $3::int) AS i`,
      [topic, from, Math.min(from + rowsTogether, count) - 1],
    )
  }
}

/** Returns when the topic has so many messages that a reader with read_committed may see. */
export async function untilWritten(brokers: string, topic: string, count: number): Promise<void> {
  const admin = new Admin({ clientId: 'bench', bootstrapBrokers: [brokers] })
  const asked = Array.from({ length: topicPartitions }, (_, partitionIndex) => ({
    partitionIndex,
    timestamp: ListOffsetTimestamps.LATEST,
  }))
  for (let there = 0; there < count; await setTimeout(20)) {
    const [listed] = await admin.listOffsets({
      topics: [{ name: topic, partitions: asked }],
      isolationLevel: FetchIsolationLevels.READ_COMMITTED,
    })
    there = listed?.partitions.reduce((sum, { offset }) => sum + Number(offset), 0) ?? 0
  }
  await admin.close()
}

export interface Delivery {
  client: pg.Client
  brokers: string
  topic: string
  daemon: DaemonProcess
  /** Transactions of one message, 100 a second. */
  count: number
}

/** The first ones find a consumer and a producer that are not connected yet. */
const unmeasured = 300

/** @returns times: ms from COMMIT to a consumer, of each message; cost: what the daemon took, % of a core */
export async function timeDelivery(delivery: Delivery): Promise<{ times: number[]; cost: number }> {
  const { client, brokers, topic, daemon, count } = delivery
  const consumer = new Consumer({
    clientId: 'bench',
    groupId: `bench-${topic}`,
    bootstrapBrokers: [brokers],
    maxWaitTime: 1000,
    minBytes: 1,
    isolationLevel: FetchIsolationLevels.READ_COMMITTED,
  })
  const arrived = new Map<number, number>()
  const stream = await consumer.consume({ topics: [topic], mode: 'earliest' })
  stream.on('data', (message) => arrived.set(Number(String(message.value)), performance.now()))
  const committed: number[] = []
  const begin = performance.now()
  const before = daemon.processorSeconds()
  for (let i = 0; i < count; i++) {
    await setTimeout(Math.max(0, begin + i * 10 - performance.now()))
    await client.query('SELECT millrace.produce($1, $2, $2)', [topic, String(i)])
    committed.push(performance.now())
  }
  const cost = ((daemon.processorSeconds() - before) / (performance.now() - begin)) * 1e5
  while (arrived.size < count) await setTimeout(10)
  await stream.close()
  await consumer.close(true)
  const measured = committed.slice(unmeasured)
  return {
    times: measured.map((at, i) => Math.max(0, (arrived.get(i + unmeasured) as number) - at)),
    cost,
  }
}
