// A stream takes some partitions of a consumer from Fetch to COMMIT: one COPY at a time, while the next batch
// is built and the one after it is fetched. It ends when it is told to, when its claim is lost or when a
// message cannot be loaded; anything that may pass by itself it waits out.

import type { ChunkPool } from '../formats/chunk-pool.ts'
import type { ResponsePool } from '../kafka/response-pool.ts'
import type { SessionPool } from '../postgres/session-pool.ts'
import type { LoadedSpan } from './batch.ts'
import type { Claim } from './claim.ts'
import type { ConsumerSpec } from './consumer.ts'
import { Delivery } from './delivery.ts'
import type { Fetched, Reading, Watermarks } from './fetch-loop.ts'
import { Handover } from './handover.ts'
import type { ConsumerPlan } from './load-plan.ts'
import type { MemoryAccount, MemoryBudget } from './memory-budget.ts'
import type { Meter } from './meter.ts'
import { readPartitions, type TopicSource } from './reader.ts'
import { endOf, type StreamEnd } from './stream-end.ts'
import type { FetchedSpan } from './walk.ts'

export interface StreamParts {
  spec: ConsumerSpec
  claim: Claim
  source: TopicSource
  plan: ConsumerPlan
  /** Whether the relation is another one by now than the plan was made for. */
  hasChanged: () => Promise<boolean>
  sessions: SessionPool
  chunks: ChunkPool
  budget: MemoryBudget
  responses: ResponsePool
  /** Milliseconds. */
  retry: { min: number; max: number }
  meter: Meter
  onLoaded: (spans: LoadedSpan[]) => void
  /** Messages that could not be loaded were kept or counted. */
  onRejected: (messages: number, transactionIds: number) => void
  onWatermarks: (marks: Watermarks) => void
  /** Waiting to try again; the error says what for. */
  onRetry: (error: unknown) => void
  /** Going again after `onRetry`. */
  onRecovered: () => void
  onThrottled: (milliseconds: number) => void
}

/** However large `maxbytes` is, one batch takes no more than this part of the memory budget. */
const budgetShare = 8

/**
 * Milliseconds. A message ends the wait when it comes, so that a longer one delays nothing; what an idle consumer costs
 * is how often it asks.
 */
const idleWait = 1000

/** Bytes; larger ones are no faster and hold more memory. */
const largestFetch = 4 * 1024 * 1024

export class Stream {
  readonly #parts: StreamParts
  readonly #stop = new AbortController()
  readonly #handover = new Handover<Fetched>()
  readonly #budget: MemoryAccount
  readonly #delivery: Delivery
  readonly #batchBytes: number
  /** Milliseconds that a Fetch waits for messages; where none came for a while, at least `idleWait`. */
  readonly #wait: number
  readonly #idleWait: number

  constructor(parts: StreamParts) {
    this.#parts = parts
    this.#budget = parts.budget.account()
    this.#delivery = new Delivery({ ...parts, budget: this.#budget, signal: this.#stop.signal })
    const longest = Math.floor(parts.source.access.requestTimeout / 2)
    this.#wait = Math.min(parts.spec.timeout, longest)
    this.#idleWait = Math.min(Math.max(parts.spec.timeout, idleWait), longest)
    this.#batchBytes = Math.min(parts.spec.maxBytes, Math.floor(parts.budget.limit / budgetShare))
  }

  /** Ends the stream after the batch in hand. `run` resolves then. */
  stop(): void {
    this.#stop.abort()
    this.#release(this.#handover.close())
  }

  async run(): Promise<StreamEnd> {
    const reading = this.#read().finally(() => this.#handover.end())
    // heard below, which may be long after: what is in hand is loaded first
    reading.catch(() => {})
    try {
      await this.#write()
      return this.#stop.signal.aborted ? { reason: 'stopped' } : { reason: await reading }
    } catch (error) {
      return endOf(error, this.#parts.spec.topic, this.#stop.signal.aborted)
    } finally {
      this.stop()
      await reading.catch(() => {})
    }
  }

  /** Fetches until the stream is stopped or the source has nothing more to give. */
  async #read(): Promise<'stopped' | 'topic-gone'> {
    const readings = new Map<number, Reading>()
    for (const [partition, { position, leaderEpoch }] of this.#parts.claim.partitions) {
      readings.set(partition, { offset: position, epoch: leaderEpoch })
    }
    return readPartitions({
      ...this.#parts,
      budget: this.#budget,
      topicId: this.#parts.claim.topicId,
      readings,
      handover: this.#handover,
      maxWait: this.#wait,
      idleWait: this.#idleWait,
      maxBytes: Math.min(this.#batchBytes, largestFetch),
      signal: this.#stop.signal,
    })
  }

  /**
   * Builds and delivers what is fetched, until there is no more. A batch is built while the one before it is
   * delivered.
   * @throws whatever ended a delivery for good
   */
  async #write(): Promise<void> {
    const failures: unknown[] = []
    let delivering: Promise<void> = Promise.resolve()
    const isOver = () => failures.length > 0 || this.#stop.signal.aborted
    const fail = (error: unknown) => {
      failures.push(error)
      this.#release(this.#handover.close())
    }
    for (let fetched = await this.#nextFetched(); fetched; fetched = await this.#nextFetched()) {
      const inHand = fetched
      let left: FetchedSpan[] = fetched.spans
      while (left.length > 0 && !isOver()) {
        const building = this.#delivery.build(left, this.#batchBytes)
        const [built] = await Promise.allSettled([building, delivering])
        if (built.status === 'rejected') {
          fail(built.reason)
          break
        }
        const { batch, rest } = built.value
        if (isOver()) this.#delivery.discard(batch)
        else delivering = this.#delivery.deliver(batch, left).catch(fail)
        left = rest
      }
      delivering = delivering.then(() => this.#release([inHand]))
    }
    await delivering
    if (failures.length > 0) throw failures[0]
  }

  /**
   * What the next batch is made of: one Fetch, or several while they hold less than a batch and the broker has
   * more to give. It has it at once, unless it went away meanwhile: then what is in hand is loaded.
   */
  async #nextFetched(): Promise<Fetched | null> {
    const fetched = await this.#handover.take()
    if (!fetched) return null
    const { batchSize } = this.#parts.spec
    let messages = countMessages(fetched.spans)
    while (!fetched.caughtUp && messages < batchSize && fetched.reserved < this.#batchBytes) {
      const more = await this.#handover.take(this.#wait)
      if (!more) break
      fetched.spans = joinSpans(fetched.spans, more.spans)
      fetched.reserved += more.reserved
      fetched.memory.push(...more.memory)
      fetched.caughtUp = more.caughtUp
      messages += countMessages(more.spans)
    }
    return fetched
  }

  /** What is loaded, or will not be: nothing refers to its memory any more. */
  #release(done: Fetched[]): void {
    for (const fetched of done) {
      this.#budget.release(fetched.reserved)
      for (const memory of fetched.memory) this.#parts.responses.give(memory)
    }
  }
}

function countMessages(spans: FetchedSpan[]): number {
  let messages = 0
  for (const span of spans) for (const batch of span.batches) messages += batch.records
  return messages
}

/** One span for each partition, so that a batch moves each position once. @param later continues `earlier` */
function joinSpans(earlier: FetchedSpan[], later: FetchedSpan[]): FetchedSpan[] {
  const joined = new Map(earlier.map((span) => [span.partition, span]))
  for (const span of later) {
    const first = joined.get(span.partition)
    joined.set(
      span.partition,
      first ? { ...span, from: first.from, batches: [...first.batches, ...span.batches] } : span,
    )
  }
  return [...joined.values()]
}
