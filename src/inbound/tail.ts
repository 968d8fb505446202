// The last messages of a topic, as a read_committed reader sees them, held in memory: for a try. The oldest of them are
// left out where they would be too many bytes.

import { MillraceError } from '../errors.ts'
import type { ClusterAccess } from '../kafka/access.ts'
import type { RecordBatch } from '../kafka/record-batch.ts'
import type { ResponsePool } from '../kafka/response-pool.ts'
import { TopicClient } from '../kafka/topic-client.ts'
import type { WalkedRecord } from '../kafka/walked-record.ts'
import { shareOut } from '../pipeline/share-out.ts'
import type { Fetched, Reading } from './fetch-loop.ts'
import { Handover } from './handover.ts'
import type { MemoryAccount } from './memory-budget.ts'
import type { Meter } from './meter.ts'
import { readPartitions } from './reader.ts'
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

/** A partition's stretch of offsets that is read, and what came of it. */
interface Stretch {
  low: bigint
  from: bigint
  /** How far it is read. */
  read: bigint
  end: bigint
  batches: RecordBatch[]
  bytes: number
}

/** Where offsets have no message (compaction, aborted transactions) more of them are read, so many times at the most. */
const rounds = 4

/** Milliseconds in which the topic has to be read. */
const patience = 30_000

/** Bytes asked for at once. */
const fetchBytes = 1024 * 1024

/** @throws MillraceError topic-missing, kafka-unreachable, broker-authorization, record-batch-corrupt, ... */
export async function readTail(topicName: string, messages: number, parts: TailParts): Promise<Tail> {
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
  #stretches = new Map<number, Stretch>()
  #cut = false

  constructor(client: TopicClient, topic: string, parts: TailParts) {
    this.#client = client
    this.#topic = topic
    this.#parts = parts
    this.#mostBytes = Math.min(32 * 1024 * 1024, Math.floor(parts.budget.limit / 4))
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
      const shares = shareOut(there, wanted)
      this.drop()
      for (const [partition, share] of shares.entries()) {
        if (share === 0) continue
        const until = end[partition] as bigint
        const from = until - BigInt(share)
        const stretch = { low: low[partition] as bigint, from, read: from, end: until, batches: [], bytes: 0 }
        this.#stretches.set(partition, stretch)
      }
      await this.#fetch(topic.id)
      const found = await this.#offsets()
      const count = found.reduce((sum, [, offsets]) => sum + offsets.length, 0)
      const whole = [...this.#stretches.values()].every(({ low, from }) => from === low)
      if (count >= messages || whole || this.#cut || round === rounds) return this.#tail(found, messages)
    }
  }

  /** Gives back what was read. */
  drop(): void {
    for (const { bytes } of this.#stretches.values()) this.#parts.budget.release(bytes)
    this.#stretches.clear()
  }

  async #fetch(topicId: string): Promise<void> {
    const { access, budget, responses, retry, signal } = this.#parts
    const readings = new Map<number, Reading>()
    for (const [partition, { from }] of this.#stretches) readings.set(partition, { offset: from, epoch: -1 })
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
      while (!this.#isRead()) {
        const fetched = await handover.take()
        if (!fetched) break
        this.#keep(fetched)
      }
    } finally {
      over.abort()
      for (const fetched of handover.close()) this.#giveBack(fetched)
    }
    const end = await reading
    signal.throwIfAborted()
    if (this.#isRead()) return
    if (end === 'topic-gone')
      throw new MillraceError('topic-missing', { topic: this.#topic, cluster: access.name })
    throw (
      trouble ?? new MillraceError('kafka-unreachable', { cluster: access.name, reason: 'it took too long' })
    )
  }

  #isRead(): boolean {
    return [...this.#stretches.values()].every(({ read, end }) => read >= end)
  }

  /** Copied: the response's memory is used again. */
  #keep(fetched: Fetched): void {
    for (const span of fetched.spans) {
      const stretch = this.#stretches.get(span.partition)
      if (!stretch) continue
      for (const batch of span.batches) {
        if (batch.baseOffset >= stretch.end) break
        const kept = { ...batch, payload: Buffer.from(batch.payload) }
        stretch.batches.push(kept)
        this.#count(stretch, kept.payload.length)
      }
      stretch.read = span.to
      this.#shorten(stretch)
    }
    this.#giveBack(fetched)
  }

  /** Leaves the oldest record batches out, as far as the bytes are more than this partition's share. */
  #shorten(stretch: Stretch): void {
    const share = this.#mostBytes / this.#stretches.size
    while (stretch.bytes > share && stretch.batches.length > 1) {
      const [oldest] = stretch.batches.splice(0, 1)
      this.#count(stretch, -(oldest as RecordBatch).payload.length)
      stretch.from = (stretch.batches[0] as RecordBatch).baseOffset
      this.#cut = true
    }
  }

  #count(stretch: Stretch, bytes: number): void {
    stretch.bytes += bytes
    this.#parts.budget.add(bytes)
  }

  #giveBack({ reserved, memory }: Fetched): void {
    this.#parts.budget.release(reserved)
    for (const buffer of memory) this.#parts.responses.give(buffer)
  }

  /** Of the messages that were read. */
  async #offsets(): Promise<[number, bigint[]][]> {
    const found: [number, bigint[]][] = []
    const pace = new Pace()
    const parts = { topic: this.#topic, budget: this.#parts.budget }
    for (const [partition] of this.#stretches) {
      const offsets: bigint[] = []
      const sink = {
        appendRecord: (record: WalkedRecord) => {
          offsets.push(record.offset)
        },
      }
      const span = this.#spanOf(partition)
      for (const batch of span.batches) {
        await walkAll(batch, span, 0, parts, pace, sink)
      }
      found.push([partition, offsets])
    }
    return found
  }

  /** The last ones of them, from each partition its share. */
  #tail(found: [number, bigint[]][], messages: number): Tail {
    const shares = shareOut(
      found.map(([, offsets]) => offsets.length),
      messages,
    )
    const partitions = found.flatMap(([partition, all], index) => {
      const offsets = all.slice(all.length - (shares[index] as number))
      const [from] = offsets
      if (from === undefined) return []
      const span = this.#spanOf(partition)
      return [
        {
          span: { ...span, from, batches: span.batches.filter((batch) => batch.lastOffset >= from) },
          offsets,
        },
      ]
    })
    const bytes = [...this.#stretches.values()].reduce((sum, stretch) => sum + stretch.bytes, 0)
    return { partitions, bytes }
  }

  #spanOf(partition: number): FetchedSpan {
    const { from, end, batches } = this.#stretches.get(partition) as Stretch
    return { partition, from, to: end, leaderEpoch: -1, batches }
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
