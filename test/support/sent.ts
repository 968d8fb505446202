// What tests of sending begin with and look at: messages produced in SQL, and what is on the topic afterwards.
import assert from 'node:assert/strict'
import { ListOffsetTimestamps } from '../../src/kafka/library.ts'
import type { Cleanup } from './cleanup.ts'
import type { Database } from './database.ts'
import { eventually } from './eventually.ts'
import { promptSettings } from './flow.ts'
import { type ReadRecord, readWithJava } from './java-client.ts'
import { adminOf } from './topic.ts'

/** A daemon that notices soon that another one is gone. */
export const promptRelay: Record<string, string> = {
  ...promptSettings,
  MILLRACE_OUTBOUND_LEASE_TIMEOUT: '3s',
}

export interface OutboxStatus {
  backlog: string
  waiting: string
  waiting_keys: string
  waiting_id: string | null
  waiting_topic: string | null
  waiting_code: string | null
  waiting_message: string | null
  error_code: string | null
  daemon: string | null
}

export async function outboxStatus(db: Pick<Database, 'query'>, cluster = 'default'): Promise<OutboxStatus> {
  const { rows } = await db.query<OutboxStatus>('SELECT * FROM millrace.outbox_status WHERE cluster = $1', [
    cluster,
  ])
  return rows[0]!
}

export async function untilSent(
  db: Pick<Database, 'query'>,
  options: { deadline?: number } = {},
): Promise<void> {
  let last: OutboxStatus | undefined
  await eventually(
    'everything is sent',
    async () => {
      last = await outboxStatus(db)
      return last.backlog === '0'
    },
    options,
  ).catch((error) => {
    throw new Error(`${error.message}; ${JSON.stringify(last)}`)
  })
}

/** How many messages a topic has, over all partitions. */
export async function countOf(topic: string, brokers?: string): Promise<number> {
  const admin = adminOf(brokers)
  const metadata = await admin.metadata({ topics: [topic], forceUpdate: true })
  const partitions = metadata.topics.get(topic)!.partitions.map((_, partitionIndex) => ({
    partitionIndex,
    timestamp: ListOffsetTimestamps.LATEST,
  }))
  const [listed] = await admin.listOffsets({ topics: [{ name: topic, partitions }] })
  return listed!.partitions.reduce((sum, { offset }) => sum + Number(offset), 0)
}

export async function untilCount(
  topic: string,
  count: number,
  options: { brokers?: string; deadline?: number } = {},
): Promise<void> {
  let last = -1
  await eventually(
    `${count} messages in ${topic}`,
    async () => {
      last = await countOf(topic, options.brokers)
      return last >= count
    },
    options,
  ).catch((error) => {
    throw new Error(`${error.message}; there are ${last}`)
  })
}

export function idOf({ headers }: ReadRecord): string {
  const found = headers.filter(([name]) => name === 'millrace-id').map(([, value]) => value)
  assert.equal(found.length, 1, 'each message has one id')
  return found[0]!
}

/**
 * What Kafka's own client reads, repetitions taken out. A repetition has the id and the bytes of the first one.
 */
export async function distinct(
  t: Cleanup,
  topic: string,
  brokers?: string,
): Promise<{ records: ReadRecord[]; repeated: number }> {
  const all = await readWithJava(t, topic, brokers)
  const first = new Map<string, ReadRecord>()
  for (const record of all) {
    const id = idOf(record)
    const before = first.get(id)
    if (!before) first.set(id, record)
    else assert.deepEqual({ ...record, offset: 0 }, { ...before, offset: 0 }, `message ${id} sent again`)
  }
  return { records: [...first.values()], repeated: all.length - first.size }
}

export function valuesOf(records: ReadRecord[]): (string | null)[] {
  return records.map(({ value }) => value)
}
