// Reads a stream's partitions from whichever brokers lead them, and follows when leadership moves. What the
// network does is waited out here; what the log itself says (an offset that is gone, a cut log) ends the stream.

import { setTimeout } from 'node:timers/promises'
import { MillraceError } from '../errors.ts'
import { type ClusterAccess, kafkaError } from '../kafka/access.ts'
import { openFetchConnection } from '../kafka/connect.ts'
import type { ResponsePool } from '../kafka/response-pool.ts'
import type { Topic } from '../kafka/topic-client.ts'
import { Backoff } from '../pipeline/backoff.ts'
import { type Fetched, fetchLoop, LeadershipMoved, type Reading, type Watermarks } from './fetch-loop.ts'
import type { Handover } from './handover.ts'
import type { MemoryAccount } from './memory-budget.ts'
import type { Meter } from './meter.ts'

/** Where the messages come from. */
export interface TopicSource {
  access: ClusterAccess
  describe(): Promise<Topic | null>
  /** Of each partition: where its log begins, or the high watermark. */
  offsets(which: 'start' | 'high'): Promise<bigint[]>
}

export interface ReaderOptions {
  source: TopicSource
  /** The topic that the positions belong to, and no other of its name. */
  topicId: string
  readings: Map<number, Reading>
  budget: MemoryAccount
  responses: ResponsePool
  handover: Handover<Fetched>
  maxWait: number
  idleWait: number
  maxBytes: number
  retry: { min: number; max: number }
  meter: Meter
  onWatermarks: (marks: Watermarks) => void
  onRetry: (error: unknown) => void
  onRecovered: () => void
  onThrottled: (milliseconds: number) => void
  signal: AbortSignal
}

/** Errors after which the log cannot be read on; every other one passes. */
const final: readonly string[] = [
  'offset-out-of-range',
  'offset-beyond-end',
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
  // what ends one of the groups ends all of them
  const round = new AbortController()
  const signal = AbortSignal.any([options.signal, round.signal])
  return readGroup({ ...options, signal }, round)
}

/** Reads partitions that have one leader now; where leadership is divided, each part becomes a group of its own. */
async function readGroup(options: ReaderOptions, round: AbortController): Promise<'stopped' | 'topic-gone'> {
  const { signal, source, readings } = options
  const backoff = new Backoff(options.retry.min, options.retry.max)
  let troubled = false
  const onHealthy = () => {
    backoff.reset()
    if (troubled) options.onRecovered()
    troubled = false
  }
  while (!signal.aborted) {
    try {
      const topic = await source.describe()
      if (topic?.id !== options.topicId) {
        round.abort()
        return 'topic-gone'
      }
      const byLeader = Map.groupBy(readings, ([partition]) => topic.partitions[partition]?.leader ?? -1)
      if (byLeader.size === 1) await readLeader(topic, readings, options, onHealthy)
      else {
        const groups = [...byLeader.values()].map((part) => ({ ...options, readings: new Map(part) }))
        const ends = await Promise.all(groups.map((group) => readGroup(group, round)))
        return ends.find((end) => end !== 'stopped') ?? 'stopped'
      }
    } catch (caught) {
      const error = await explained(caught, source)
      if (error instanceof MillraceError && final.includes(error.code)) {
        round.abort()
        throw error
      }
      if (signal.aborted) break
      // a leader that moves is found again with the next metadata; only what lasts is worth saying
      if (backoff.attempts > 2 || error instanceof MillraceError) {
        troubled = true
        options.onRetry(named(error, source.access))
      }
      await setTimeout(backoff.next(), undefined, { signal }).catch(() => {})
    }
  }
  return 'stopped'
}

/** What lasts has a code: the broker answers with an error, or does not answer. */
function named(error: unknown, access: ClusterAccess): MillraceError {
  if (!(error instanceof LeadershipMoved)) return kafkaError(error, access)
  return new MillraceError('broker-error', { cluster: access.name, reason: error.message })
}

/**
 * The broker says of an offset only that it has none such. Below the log's start it was removed before it was read;
 * above the end it has been read, and is there no more; and if there is such an offset after all, the log that it was
 * read from is another one than this: a leader that never had the epoch of what was read cannot say more.
 */
async function explained(error: unknown, source: TopicSource): Promise<unknown> {
  if (!(error instanceof MillraceError && error.code === 'offset-out-of-range')) return error
  const { topic, partition, offset } = error.facts as { topic: string; partition: number; offset: bigint }
  try {
    const low = (await source.offsets('start'))[partition]
    const high = (await source.offsets('high'))[partition]
    if (low === undefined || high === undefined) throw new LeadershipMoved('the topic has lost a partition')
    if (offset < low) return error.with({ low, high })
    if (offset > high) return new MillraceError('offset-beyond-end', { topic, partition, offset, high })
    return new MillraceError('log-truncated', { topic, partition, offset: high })
  } catch (cause) {
    return cause // asked again with the next Fetch
  }
}

async function readLeader(
  topic: Topic,
  readings: Map<number, Reading>,
  options: ReaderOptions,
  onHealthy: () => void,
): Promise<void> {
  const { signal } = options
  const [partition] = readings.keys()
  const broker = topic.brokers.get(topic.partitions[partition ?? -1]?.leader ?? -1)
  if (!broker) throw new MillraceError('leader-missing', { topic: topic.name, partition })
  const fetchConnection = await openFetchConnection(options.source.access, options.responses, broker)
  options.meter.connected()
  // closing the connection is what ends a Fetch that waits at the broker
  const close = () => fetchConnection.wire.close()
  signal.addEventListener('abort', close, { once: true })
  try {
    if (signal.aborted) return
    await fetchLoop({ ...options, fetchConnection, topic, readings, onHealthy })
  } finally {
    signal.removeEventListener('abort', close)
    close()
  }
}
