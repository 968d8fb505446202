// A stream takes some partitions of a consumer from Fetch to COMMIT: one COPY at a time, while the next batch
// is built and the one after it is fetched. It ends when it is told to, when its claim is lost or when a
// message cannot be loaded; anything that may pass by itself it waits out.

import { EventEmitter } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import { MillraceError } from '../errors.ts'
import type { ChunkPool } from '../formats/chunk-pool.ts'
import type { Format } from '../formats/format.ts'
import type { ResponsePool } from '../kafka/response-pool.ts'
import { Backoff } from '../pipeline/backoff.ts'
import { verdictOf } from '../pipeline/error-policy.ts'
import { isSingle, split } from '../pipeline/span.ts'
import type { Session } from '../postgres/session.ts'
import type { SessionPool } from '../postgres/session-pool.ts'
import {
  type Batch,
  buildBatch,
  type FetchedSpan,
  giveBack,
  type LoadedSpan,
  type RejectedMessage,
} from './batch.ts'
import { attach, type Claim } from './claim.ts'
import type { ConsumerSpec } from './consumer.ts'
import type { Fetched, Reading, Watermarks } from './fetch-loop.ts'
import { Handover } from './handover.ts'
import { load, TargetRefused } from './loader.ts'
import type { MemoryBudget } from './memory-budget.ts'
import { readPartitions, type TopicSource } from './reader.ts'
import type { Target } from './target.ts'

export interface StreamParts {
  spec: ConsumerSpec
  claim: Claim
  source: TopicSource
  target: Target
  format: Format
  sessions: SessionPool
  chunks: ChunkPool
  budget: MemoryBudget
  responses: ResponsePool
  /** Milliseconds. */
  retry: { min: number; max: number }
}

interface Events {
  loaded: [spans: LoadedSpan[]]
  watermarks: [marks: Watermarks]
  /** Waiting to try again; the error says what for. */
  retrying: [error: unknown]
  /** Going again after `retrying`. */
  recovered: []
}

/** Why a stream ended: by order, because the stored position is not its own any more, or for a person to see. */
export type StreamEnd =
  | { reason: 'stopped' }
  | { reason: 'lost' }
  | { reason: 'topic-gone' }
  | { reason: 'failed'; error: MillraceError; partition: number | null; offset: bigint | null }

/** The position moved under us: a batch that is not continued from what is stored. */
class PositionLost extends Error {}

/** A message that cannot be loaded; everything before it is committed. */
class Rejected extends Error {
  readonly rejected: RejectedMessage
  readonly sqlstate: string | undefined

  constructor(rejected: RejectedMessage, cause?: unknown) {
    super(rejected.reason, { cause })
    this.rejected = rejected
    this.sqlstate = sqlstateOf(cause)
  }
}

/** However large `maxbytes` is, one batch takes no more than this part of the memory budget. */
const budgetShare = 8

/** Bytes; larger ones are no faster and hold more memory. */
const largestFetch = 4 * 1024 * 1024

export class Stream extends EventEmitter<Events> {
  readonly #parts: StreamParts
  readonly #stop = new AbortController()
  readonly #handover = new Handover<Fetched>()
  readonly #backoff: Backoff
  readonly #batchBytes: number
  /** Milliseconds that a Fetch waits for messages. */
  readonly #wait: number
  #session: Session | null = null

  constructor(parts: StreamParts) {
    super()
    this.#parts = parts
    this.#backoff = new Backoff(parts.retry.min, parts.retry.max)
    this.#wait = Math.min(parts.spec.timeout, Math.floor(parts.source.access.requestTimeout / 2))
    this.#batchBytes = Math.min(parts.spec.maxBytes, Math.floor(parts.budget.limit / budgetShare))
  }

  /** Ends the stream after the batch in hand. `run` resolves then. */
  stop(): void {
    this.#stop.abort()
    this.#release(this.#handover.close())
  }

  async run(): Promise<StreamEnd> {
    const reading = this.#read().finally(() => this.#handover.end())
    try {
      await this.#write()
      return this.#stop.signal.aborted ? { reason: 'stopped' } : { reason: await reading }
    } catch (error) {
      return this.#endOf(error)
    } finally {
      this.stop()
      await reading.catch(() => {})
    }
  }

  /** Fetches until the stream is stopped or the source has nothing more to give. */
  async #read(): Promise<'stopped' | 'topic-gone'> {
    const { claim, source, budget, responses } = this.#parts
    const readings = new Map<number, Reading>()
    for (const [partition, { position, leaderEpoch }] of claim.partitions) {
      readings.set(partition, { offset: position, epoch: leaderEpoch })
    }
    return readPartitions({
      source,
      readings,
      budget,
      responses,
      handover: this.#handover,
      maxWait: this.#wait,
      maxBytes: Math.min(this.#batchBytes, largestFetch),
      retry: this.#parts.retry,
      onWatermarks: (marks) => this.emit('watermarks', marks),
      onRetry: (error) => this.emit('retrying', error),
      onRecovered: () => this.emit('recovered'),
      signal: this.#stop.signal,
    })
  }

  /**
   * Builds and loads what is fetched, until there is no more. A batch is built while the one before it is loaded.
   * @throws whatever ended a load for good
   */
  async #write(): Promise<void> {
    let broken: { error: unknown } | null = null
    let loading: Promise<void> = Promise.resolve()
    const startLoading = (batch: Batch) => {
      loading = this.#loadAndReport(batch).catch((error) => {
        broken ??= { error }
        this.#release(this.#handover.close())
      })
    }
    for (let fetched = await this.#nextFetched(); fetched; fetched = await this.#nextFetched()) {
      const inHand = fetched
      let left: FetchedSpan[] = fetched.spans
      while (left.length > 0 && !broken && !this.#stop.signal.aborted) {
        const limits = { bytes: this.#batchBytes }
        const built = await buildBatch(left, this.#parts.format, this.#parts.chunks, limits)
        this.#parts.budget.add(built.batch.size)
        await loading
        if (broken || this.#stop.signal.aborted) {
          this.#drop(built.batch)
          break
        }
        startLoading(built.batch)
        left = built.batch.rejected ? [] : built.rest
      }
      loading = loading.then(() => this.#release([inHand]))
      if (broken) break
    }
    await loading
    if (broken) throw (broken as { error: unknown }).error
  }

  /**
   * What the next batch is made of: one Fetch, or several while they hold less than a batch and the broker has
   * more to give. It has it at once, unless it went away meanwhile: then what is in hand is loaded.
   */
  async #nextFetched(): Promise<Fetched | null> {
    const fetched = await this.#handover.take()
    if (!fetched) return null
    let messages = countMessages(fetched.spans)
    while (
      !fetched.caughtUp &&
      messages < this.#parts.spec.batchSize &&
      fetched.reserved < this.#batchBytes
    ) {
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

  /** @throws PositionLost, Rejected, TargetRefused */
  async #loadAndReport(batch: Batch): Promise<void> {
    try {
      if (batch.spans.length > 0) await this.#loadInTime(batch)
    } finally {
      this.#drop(batch)
    }
    if (batch.rejected) throw new Rejected(batch.rejected)
  }

  /** Loads the batch, however often it has to be tried; or finds the message that cannot be. */
  async #loadInTime(batch: Batch): Promise<void> {
    for (;;) {
      try {
        await this.#loadOnce(batch)
        this.#recovered()
        return
      } catch (error) {
        if (error instanceof PositionLost || error instanceof TargetRefused) throw error
        const verdict = verdictOf(sqlstateOf(error))
        if (verdict === 'person') throw error
        if (verdict === 'message') {
          await this.#isolate(batch.spans, error)
          return
        }
        await this.#waitToRetry(error)
      }
    }
  }

  /** @returns after the batch is committed, now or by an earlier attempt whose outcome was unknown */
  async #loadOnce(batch: Batch): Promise<void> {
    const { sessions, claim, target, format } = this.#parts
    const session = await sessions.acquire(this)
    try {
      if (session !== this.#session) {
        const stored = await attach(session, claim, this.#session)
        this.#session = session
        if (isCommitted(batch, stored)) {
          this.#committed(batch)
          return
        }
      }
      if ((await load(session, claim, target, format, batch)) === 'lost') throw new PositionLost()
      this.#committed(batch)
    } finally {
      sessions.release(session)
    }
  }

  #committed(batch: Batch): void {
    for (const span of batch.spans) {
      const owned = this.#parts.claim.partitions.get(span.partition)
      if (owned) {
        owned.position = span.to
        owned.leaderEpoch = span.leaderEpoch
      }
    }
    this.emit('loaded', batch.spans)
  }

  /**
   * A batch that PostgreSQL refused because of a message: halves are tried until the message stands alone. Every
   * half that can be loaded is committed, so that everything before the message is. Returns when, after all,
   * everything could be loaded.
   */
  async #isolate(spans: FetchedSpan[], error: unknown): Promise<void> {
    let refused = error
    let suspects = spans
    while (suspects.length > 0) {
      const [first, second] = isSingle(suspects) ? [suspects, []] : split(suspects)
      const outcome = await this.#tryPart(first)
      if (outcome === null) {
        suspects = second
        continue
      }
      refused = outcome
      if (isSingle(first)) {
        const span = first[0] as FetchedSpan
        throw new Rejected(
          {
            partition: span.partition,
            offset: span.from,
            code: 'message-rejected',
            reason: messageOf(refused),
          },
          refused,
        )
      }
      // the whole is refused again further down: what follows the part is tried once the part is through
      await this.#isolate(first, refused)
      suspects = second
    }
  }

  /** @returns null when the part is committed, else the error with which PostgreSQL refused it */
  async #tryPart(spans: FetchedSpan[]): Promise<unknown> {
    const { batch } = await buildBatch(spans, this.#parts.format, this.#parts.chunks, {
      bytes: Number.MAX_SAFE_INTEGER,
    })
    this.#parts.budget.add(batch.size)
    try {
      for (;;) {
        try {
          await this.#loadOnce(batch)
          return null
        } catch (error) {
          if (error instanceof PositionLost || error instanceof TargetRefused) throw error
          const verdict = verdictOf(sqlstateOf(error))
          if (verdict === 'message') return error
          if (verdict === 'person') throw error
          await this.#waitToRetry(error)
        }
      }
    } finally {
      this.#drop(batch)
    }
  }

  async #waitToRetry(error: unknown): Promise<void> {
    this.emit('retrying', error)
    await setTimeout(this.#backoff.next(), undefined, { signal: this.#stop.signal })
  }

  #recovered(): void {
    if (this.#backoff.attempts === 0) return
    this.#backoff.reset()
    this.emit('recovered')
  }

  #drop(batch: Batch): void {
    giveBack(batch, this.#parts.chunks)
    this.#parts.budget.release(batch.size)
    batch.size = 0
  }

  /** What is loaded, or will not be: nothing refers to its memory any more. */
  #release(done: Fetched[]): void {
    for (const fetched of done) {
      this.#parts.budget.release(fetched.reserved)
      for (const memory of fetched.memory) this.#parts.responses.give(memory)
    }
  }

  #endOf(error: unknown): StreamEnd {
    if (this.#stop.signal.aborted && (error as Error).name === 'AbortError') return { reason: 'stopped' }
    if (error instanceof PositionLost) return { reason: 'lost' }
    return { reason: 'failed', ...failureOf(error, this.#parts.spec.topic) }
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

/**
 * Whether the stored positions are those after the batch.
 * @throws PositionLost when they are neither those nor the ones before it
 */
function isCommitted(batch: Batch, stored: Map<number, bigint>): boolean {
  if (batch.spans.every((span) => stored.get(span.partition) === span.to)) return true
  if (batch.spans.every((span) => stored.get(span.partition) === span.from)) return false
  throw new PositionLost()
}

/** PostgreSQL's own errors carry a severity; by its code alone a socket's EPIPE would pass for a SQLSTATE. */
function sqlstateOf(error: unknown): string | undefined {
  const { severity, code } = (error ?? {}) as { severity?: string; code?: string }
  return severity === undefined ? undefined : code
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function failureOf(
  error: unknown,
  topic: string,
): { error: MillraceError; partition: number | null; offset: bigint | null } {
  if (error instanceof Rejected) {
    const { partition, offset, code, reason } = error.rejected
    const facts = { topic, partition, offset, reason, sqlstate: error.sqlstate, cause: error.cause }
    return { error: new MillraceError(code as 'message-rejected', facts), partition, offset }
  }
  if (error instanceof TargetRefused) {
    return {
      error: new MillraceError('target-refused', { topic, reason: error.message }),
      partition: null,
      offset: null,
    }
  }
  if (error instanceof MillraceError) {
    const { partition, offset } = error.facts as { partition?: number; offset?: bigint }
    return { error: error.with({ topic }), partition: partition ?? null, offset: offset ?? null }
  }
  const sqlstate = sqlstateOf(error)
  const code = sqlstate === '42P01' ? 'relation-missing' : sqlstate ? 'target-refused' : 'internal'
  return {
    error: new MillraceError(code, { topic, reason: messageOf(error), sqlstate, cause: error }),
    partition: null,
    offset: null,
  }
}
