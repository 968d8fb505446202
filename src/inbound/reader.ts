// Reads a stream's partitions from whichever brokers lead them, and follows when leadership moves. What the
// network does is waited out here; what the log itself says (an offset that is gone, a cut log) ends the stream.

import { setTimeout } from 'node:timers/promises'
import { MillraceError } from '../errors.ts'
import { type ClusterAccess, openFetchConnection } from '../kafka/connect.ts'
import type { ResponsePool } from '../kafka/response-pool.ts'
import type { Topic } from '../kafka/topic-client.ts'
import { Backoff } from '../pipeline/backoff.ts'
import { type Fetched, fetchLoop, type Reading, type Watermarks } from './fetch-loop.ts'
import type { Handover } from './handover.ts'
import type { MemoryBudget } from './memory-budget.ts'

/** Where the messages come from. */
export interface TopicSource {
  access: ClusterAccess
  describe(): Promise<Topic | null>
}

export interface ReaderOptions {
  source: TopicSource
  readings: Map<number, Reading>
  budget: MemoryBudget
  responses: ResponsePool
  handover: Handover<Fetched>
  maxWait: number
  maxBytes: number
  retry: { min: number; max: number }
  onWatermarks: (marks: Watermarks) => void
  onRetry: (error: unknown) => void
  onRecovered: () => void
  signal: AbortSignal
}

/** Errors after which the log cannot be read on; every other one passes. */
const final: readonly string[] = [
  'offset-out-of-range',
  'log-truncated',
  'record-batch-corrupt',
  'record-batch-unsupported',
  'message-too-large',
]

/**
 * @returns when stopped, or when the topic is not there any more
 * @throws MillraceError with a code of `final`
 */
export async function readPartitions(options: ReaderOptions): Promise<'stopped' | 'topic-gone'> {
  const { signal, source } = options
  const backoff = new Backoff(options.retry.min, options.retry.max)
  let topicId: string | null = null
  let troubled = false
  const onWatermarks = (marks: Watermarks) => {
    backoff.reset()
    if (troubled) options.onRecovered()
    troubled = false
    options.onWatermarks(marks)
  }
  while (!signal.aborted) {
    try {
      const topic = await source.describe()
      if (!topic || (topicId !== null && topic.id !== topicId)) return 'topic-gone'
      topicId = topic.id
      await readLeaders(topic, { ...options, onWatermarks })
    } catch (error) {
      if (signal.aborted) break
      if (error instanceof MillraceError && final.includes(error.code)) throw error
      // a leader that moves is found again with the next metadata; only what lasts is worth saying
      if (backoff.attempts > 2 || error instanceof MillraceError) {
        troubled = true
        options.onRetry(error)
      }
      await setTimeout(backoff.next(), undefined, { signal }).catch(() => {})
    }
  }
  return 'stopped'
}

/** One loop for each leader; when one of them ends, all do. */
async function readLeaders(topic: Topic, options: ReaderOptions): Promise<void> {
  const byLeader = Map.groupBy(options.readings, ([partition]) => topic.partitions[partition]?.leader ?? -1)
  const round = new AbortController()
  const signal = AbortSignal.any([options.signal, round.signal])
  const loops = [...byLeader].map(async ([leader, readings]) => {
    try {
      await readLeader(topic, leader, new Map(readings), options, signal)
    } finally {
      round.abort()
    }
  })
  const outcomes = await Promise.allSettled(loops)
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected' && outcome.reason?.name !== 'AbortError') throw outcome.reason
  }
}

async function readLeader(
  topic: Topic,
  leader: number,
  readings: Map<number, Reading>,
  options: ReaderOptions,
  signal: AbortSignal,
): Promise<void> {
  const broker = topic.brokers.get(leader)
  if (!broker) throw new Error('a partition has no leader now')
  const fetchConnection = await openFetchConnection(options.source.access, options.responses, broker)
  // closing the connection is what ends a Fetch that waits at the broker
  const close = () => fetchConnection.wire.close()
  signal.addEventListener('abort', close, { once: true })
  try {
    if (signal.aborted) return
    await fetchLoop({ ...options, fetchConnection, topic, readings, signal })
  } finally {
    signal.removeEventListener('abort', close)
    close()
  }
}
