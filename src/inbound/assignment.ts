// An assignment is what the consumer group gives to this daemon for a while: partitions that are claimed, read by
// streams and let go again. Two of one consumer never run at the same time.

import type { ChunkPool } from '../formats/chunk-pool.ts'
import type { ClusterAccess } from '../kafka/access.ts'
import type { ResponsePool } from '../kafka/response-pool.ts'
import type { CommittedOffset, Topic, TopicClient } from '../kafka/topic-client.ts'
import type { SessionPool } from '../postgres/session-pool.ts'
import type { SharedSession } from '../postgres/shared-session.ts'
import type { LoadedSpan } from './batch.ts'
import { type Claim, type ClaimedPartition, claim, release } from './claim.ts'
import type { ConsumerSpec } from './consumer.ts'
import type { Watermarks } from './fetch-loop.ts'
import { describePlan, hasChanged } from './load-plan.ts'
import type { MemoryBudget } from './memory-budget.ts'
import type { Meter } from './meter.ts'
import { Stream, type StreamParts } from './stream.ts'
import type { StreamEnd } from './stream-end.ts'

/** What all consumers of a daemon share. */
export interface SharedParts {
  shared: SharedSession
  sessions: SessionPool
  chunks: ChunkPool
  budget: MemoryBudget
  responses: ResponsePool
}

export interface AssignmentParts extends SharedParts {
  spec: ConsumerSpec
  access: ClusterAccess
  client: TopicClient
  topic: Topic
  partitions: number[]
  /** This daemon's id, and how it takes over from another one. Milliseconds. */
  ownership: { owner: string; grace: number; patience: number }
  retry: { min: number; max: number }
  meter: Meter
  onLoaded: (spans: LoadedSpan[]) => void
  onRejected: (messages: number, transactionIds: number) => void
  onWatermarks: (marks: Watermarks) => void
  onRetry: (error: unknown) => void
  onRecovered: () => void
  onThrottled: (milliseconds: number) => void
  onStreamEnd: (end: StreamEnd) => void
}

export class Assignment {
  readonly #parts: AssignmentParts
  readonly #claim: Claim
  readonly #streams: Stream[]
  readonly #running: Promise<void>[]
  /** Positions that the consumer group does not know yet: at first, all of them. */
  #unmirrored: Set<number>

  private constructor(parts: AssignmentParts, claimed: Claim, streams: Stream[]) {
    this.#parts = parts
    this.#claim = claimed
    this.#streams = streams
    this.#unmirrored = new Set(claimed.partitions.keys())
    this.#running = streams.map((stream) => stream.run().then(parts.onStreamEnd))
  }

  /**
   * Claims the partitions and starts to read them.
   * @throws MillraceError topic-recreated, cluster-changed, takeover-failed, relation-missing, kafka-unreachable;
   *   PostgreSQL's errors
   */
  static async start(parts: AssignmentParts, signal: AbortSignal): Promise<Assignment> {
    const { spec, topic, partitions, client, shared } = parts
    const starts = partitions.length > 0 ? await client.offsets('start') : []
    const request = {
      consumerId: spec.id,
      version: spec.version,
      clusterId: topic.clusterId,
      topicId: topic.id,
      wanted: new Map(partitions.map((partition) => [partition, starts[partition] ?? 0n])),
      ...parts.ownership,
    }
    const claimed = await claim(shared, request, signal)
    const plan = await describePlan(shared, spec)
    let assignment: Assignment | null = null
    const streamParts: Omit<StreamParts, 'claim'> = {
      ...parts,
      plan,
      hasChanged: () => hasChanged(shared, spec, plan),
      source: {
        access: parts.access,
        describe: () => client.describe(),
        offsets: (which) => client.offsets(which),
      },
      onLoaded: (spans) => {
        assignment?.noteLoaded(spans)
        parts.onLoaded(spans)
      },
    }
    const streams = shares(claimed, spec.parallelism).map(
      (share) => new Stream({ ...streamParts, claim: share }),
    )
    assignment = new Assignment(parts, claimed, streams)
    return assignment
  }

  /** Not every partition asked for could be claimed: somebody else was faster. */
  get isPartial(): boolean {
    return this.#claim.partitions.size < this.#parts.partitions.length
  }

  /** Where each partition stands that is claimed here. */
  get positions(): ReadonlyMap<number, ClaimedPartition> {
    return this.#claim.partitions
  }

  noteLoaded(spans: LoadedSpan[]): void {
    for (const span of spans) this.#unmirrored.add(span.partition)
  }

  /** Copies the stored positions to the consumer group, where Kafka's own tools look for them. */
  async mirrorOffsets(): Promise<void> {
    if (this.#unmirrored.size === 0) return
    const partitions = this.#unmirrored
    this.#unmirrored = new Set()
    const offsets: CommittedOffset[] = []
    for (const partition of partitions) {
      const owned = this.#claim.partitions.get(partition)
      if (owned) offsets.push({ partition, offset: owned.position, leaderEpoch: owned.leaderEpoch })
    }
    try {
      await this.#parts.client.commit(offsets)
    } catch (error) {
      for (const partition of partitions) this.#unmirrored.add(partition)
      throw error
    }
  }

  /** Tells the streams to end after the batch in hand. */
  stop(): void {
    for (const stream of this.#streams) stream.stop()
  }

  /** Waits for the streams to end, then lets go of the partitions, so that a new owner need not wait. */
  async end(): Promise<void> {
    this.stop()
    await Promise.all(this.#running)
    if (this.#claim.partitions.size > 0) await release(this.#parts.shared, this.#claim)
  }
}

/** The claim's partitions spread evenly over at most `parallelism` streams. */
function shares(claimed: Claim, parallelism: number): Claim[] {
  const parts = [...claimed.partitions]
  const count = Math.min(parallelism, parts.length)
  return Array.from({ length: count }, (_, index) => ({
    ...claimed,
    partitions: new Map(parts.filter((_, position) => position % count === index)),
  }))
}
