// The last messages of a topic, as a read_committed reader sees them, held in memory: for a try. The oldest of them are
// left out where they would be too many bytes.

import { MillraceError } from '../errors.ts'
import type { ClusterAccess } from '../kafka/access.ts'
import type { ResponsePool } from '../kafka/response-pool.ts'
import { TopicClient } from '../kafka/topic-client.ts'
import type { WalkedRecord } from '../kafka/walked-record.ts'
import { unlessAborted } from '../pipeline/interruption.ts'
import { shareOut } from '../pipeline/share-out.ts'
import type { Fetched } from './fetch-loop.ts'
import { Handover } from './handover.ts'
import type { MemoryAccount } from './memory-budget.ts'
import type { Meter } from './meter.ts'
import { readPartitions } from './reader.ts'
import { type StretchBounds, Stretches } from './stretches.ts'
import { type FetchedSpan, Pace, walkAll } from './walk.ts'

export interface TailParts {
  access: ClusterAccess
  groupId: string
  budget: MemoryAccount
  responses: ResponsePool
  /** Milliseconds. */
  retry: { min: number; max: number }
  signal: AbortSignal
}

export interface Tail {
  /** One message each, at least; the offsets are those of the messages in it. */
  partitions: { span: FetchedSpan; offsets: bigint[] }[]
  /** Held in the budget; whoever asked gives them back. */
  bytes: number
}

/** Where offsets have no message (compaction, aborted transactions) more of them are read, so many times at the most. */
const rounds = 4

/** That are kept, where the daemon's memory allows it. */
const mostBytes = 32 * 1024 * 1024

/** Milliseconds in which the topic has to be read. */
const patience = 30_000

/** Bytes asked for at once. */
const fetchBytes = 1024 * 1024

/**
 * Waits for no broker once the signal says so.
 * @throws MillraceError topic-missing, kafka-unreachable, broker-authorization, record-batch-corrupt, ...; the signal's reason
 */
export async function readTail(topicName: string, messages: number, parts: TailParts): Promise<Tail> {
  const { signal, budget } = parts
  const reading = read(topicName, messages, parts)
  try {
    return await unlessAborted(reading, signal)
  } catch (error) {
    reading.then(({ bytes }) => budget.release(bytes)).catch(() => {})
    throw error
  }
}

async function read(topicName: string, messages: number, parts: TailParts): Promise<Tail> {
  const client = new TopicClient(parts.access, topicName, parts.groupId, { session: 10_000, heartbeat: 3000 })
  const reader = new TailReader(client, topicName, parts)
  try {
    return await reader.read(messages)
  } catch (error) {
    reader.drop()
    throw error
  } finally {
    await client.close()
  }
}

class TailReader {
  readonly #client: TopicClient
  readonly #topic: string
  readonly #parts: TailParts
  readonly #mostBytes: number
  #stretches: Stretches

  constructor(client: TopicClient, topic: string, parts: TailParts) {
    this.#client = client
    this.#topic = topic
    this.#parts = parts
    this.#mostBytes = Math.min(mostBytes, Math.floor(parts.budget.limit / 4))
    this.#stretches = this.#begin(new Map())
  }

  async read(messages: number): Promise<Tail> {
    const topic = await this.#client.describe()
    if (!topic)
      throw new MillraceError('topic-missing', { topic: this.#topic, cluster: this.#parts.access.name })
    const [low, end] = [await this.#client.offsets('start'), await this.#client.offsets('end')]
    const there = topic.partitions.map((_, partition) =>
      Number((end[partition] ?? 0n) - (low[partition] ?? 0n)),
    )
    for (let round = 0, wanted = messages; ; round++, wanted *= 4) {
      const bounds = new Map<number, StretchBounds>()
      for (const [partition, share] of shareOut(there, wanted).entries()) {
        const until = end[partition] as bigint
        if (share > 0)
          bounds.set(partition, { low: low[partition] as bigint, from: until - BigInt(share), end: until })
      }
      this.drop()
      this.#stretches = this.#begin(bounds)
      await this.#fetch(topic.id)
      const found = await this.#offsets()
      const count = found.reduce((sum, { offsets }) => sum + offsets.length, 0)
      const { isWhole, isCut } = this.#stretches
      if (count >= messages || isWhole || isCut || round === rounds) return this.#tail(found, messages)
    }
  }

  /** Gives back what was read. */
  drop(): void {
    this.#stretches.drop()
  }

  #begin(bounds: Map<number, StretchBounds>): Stretches {
    return new Stretches(bounds, { ...this.#parts, mostBytes: this.#mostBytes })
  }

  async #fetch(topicId: string): Promise<void> {
    const { access, budget, responses, retry, signal } = this.#parts
    const stretches = this.#stretches
    const readings = stretches.readings
    if (readings.size === 0) return
    const handover = new Handover<Fetched>()
    const over = new AbortController()
    const late = AbortSignal.timeout(patience)
    const source = {
      access,
      describe: () => this.#client.describe(),
      offsets: (which: 'start' | 'high') => this.#client.offsets(which),
    }
    let trouble: unknown = null
    const reading = readPartitions({
      source,
      topicId,
      readings,
      budget,
      responses,
      handover,
      maxWait: 250,
      idleWait: 250,
      maxBytes: fetchBytes,
      retry,
      meter: silent,
      onWatermarks: () => {},
      onRetry: (error) => {
        trouble = error
      },
      onRecovered: () => {
        trouble = null
      },
      onThrottled: () => {},
      signal: AbortSignal.any([signal, over.signal, late]),
    }).finally(() => handover.end())
    reading.catch(() => {})
    try {
      while (!stretches.isRead) {
        const fetched = await handover.take()
        if (!fetched) break
        stretches.keep(fetched)
      }
    } finally {
      over.abort()
      for (const fetched of handover.close()) stretches.pass(fetched)
    }
    const end = await reading
    signal.throwIfAborted()
    if (stretches.isRead) return
    if (end === 'topic-gone')
      throw new MillraceError('topic-missing', { topic: this.#topic, cluster: access.name })
    throw (
      trouble ?? new MillraceError('kafka-unreachable', { cluster: access.name, reason: 'it took too long' })
    )
  }

  /** Of the messages that were read. */
  async #offsets(): Promise<Tail['partitions']> {
    const pace = new Pace()
    const parts = { topic: this.#topic, budget: this.#parts.budget }
    const found: Tail['partitions'] = []
    for (const span of this.#stretches.spans) {
      const offsets: bigint[] = []
      const sink = {
        appendRecord: (record: WalkedRecord) => {
          offsets.push(record.offset)
        },
      }
      for (const batch of span.batches) {
        await walkAll(batch, span, 0, parts, pace, sink)
      }
      found.push({ span, offsets })
    }
    return found
  }

  /** The last ones of them, from each partition its share. */
  #tail(found: Tail['partitions'], messages: number): Tail {
    const counts = found.map(({ offsets }) => offsets.length)
    const shares = shareOut(counts, messages)
    const partitions = found.flatMap(({ span, offsets: all }, index) => {
      const offsets = all.slice(all.length - (shares[index] as number))
      const [from] = offsets
      if (from === undefined) return []
      const batches = span.batches.filter((batch) => batch.lastOffset >= from)
      return [{ span: { ...span, from, batches }, offsets }]
    })
    return { partitions, bytes: this.#stretches.bytes }
  }
}

/** Nothing is counted: no consumer reads here. */
const silent: Meter = {
  loaded: () => {},
  rejected: () => {},
  retried: () => {},
  failed: () => {},
  fetched: () => {},
  connected: () => {},
}
