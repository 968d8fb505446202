// What a partition's log really holds, asked of the broker as the daemon would: bounds, record batches, offsets.

import type { ClusterAccess } from '../../src/kafka/access.ts'
import { committedBatches } from '../../src/kafka/committed.ts'
import { decompress } from '../../src/kafka/compression.ts'
import { openFetchConnection } from '../../src/kafka/connect.ts'
import { fetch } from '../../src/kafka/fetch.ts'
import { type RecordBatch, readRecordBatches } from '../../src/kafka/record-batch.ts'
import { RecordWalk } from '../../src/kafka/records.ts'
import { ResponsePool } from '../../src/kafka/response-pool.ts'
import { TopicClient } from '../../src/kafka/topic-client.ts'
import { sharedServers } from './servers.ts'

const largest = 2 ** 26

async function withClient<T>(topic: string, use: (client: TopicClient) => Promise<T>): Promise<T> {
  const client = new TopicClient(access(), topic, 'unused', { session: 6000, heartbeat: 2000 })
  try {
    return await use(client)
  } finally {
    await client.close()
  }
}

/** @param brokers default: the shared Kafka */
export function access(brokers = sharedServers().brokers): ClusterAccess {
  return {
    name: 'default',
    brokers: brokers.split(','),
    clientId: 'millrace-test',
    connectTimeout: 5000,
    requestTimeout: 10_000,
  }
}

/** Of partition 0. */
export function endsOf(topic: string): Promise<{ start: number; end: number }> {
  return withClient(topic, async (client) => {
    const [start, end] = [await client.offsets('start'), await client.offsets('end')]
    return { start: Number(start[0]), end: Number(end[0]) }
  })
}

/** All record batches of partition 0 that a read_committed reader sees, as far as they come in one Fetch. */
export function batchesOf(topic: string): Promise<RecordBatch[]> {
  return withClient(topic, async (client) => {
    const { id, brokers, partitions } = (await client.describe())!
    const offset = (await client.offsets('start'))[0]!
    const pool = new ResponsePool(0, largest)
    const { wire, version } = await openFetchConnection(access(), pool, brokers.get(partitions[0]!.leader)!)
    try {
      const asked = { partition: 0, offset, currentLeaderEpoch: -1, lastFetchedEpoch: -1, maxBytes: largest }
      const limits = { maxWait: 1, minBytes: 1, maxBytes: largest }
      const response = await fetch(wire, version, { topic, topicId: id, partitions: [asked], ...limits })
      const { records, aborted } = response.partitions[0]!
      return committedBatches(readRecordBatches(records), aborted)
    } finally {
      wire.close()
    }
  })
}

/** The offsets that there are messages with a value at. */
export async function offsetsOf(topic: string): Promise<number[]> {
  const offsets: number[] = []
  for (const batch of await batchesOf(topic)) {
    const place = { partition: 0, offset: batch.baseOffset }
    const bytes = await decompress(batch.codec, batch.payload, largest, place)
    const sink = { append: (_bytes: Buffer, _start: number, _end: number, tag: number) => offsets.push(tag) }
    const base = Number(batch.baseOffset)
    const walk = new RecordWalk(bytes, batch.records, 0, Number.MAX_SAFE_INTEGER, base, place)
    while (walk.walk(sink, largest)) {}
  }
  return offsets
}
