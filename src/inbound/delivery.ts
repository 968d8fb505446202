// Delivery takes a batch to its commit, however often that has to be tried. What may pass by itself is waited out;
// a batch that PostgreSQL refuses because of a message is halved until that message stands alone, with everything
// before it committed.

import { setTimeout } from 'node:timers/promises'
import type { ChunkPool } from '../formats/chunk-pool.ts'
import type { Format } from '../formats/format.ts'
import { Backoff } from '../pipeline/backoff.ts'
import { type Verdict, verdictOf } from '../pipeline/error-policy.ts'
import { isSingle, split } from '../pipeline/span.ts'
import type { Session } from '../postgres/session.ts'
import type { SessionPool } from '../postgres/session-pool.ts'
import { sqlstateOf } from '../postgres/sqlstate.ts'
import { type Batch, buildBatch, type FetchedSpan, giveBack, type LoadedSpan } from './batch.ts'
import { attach, type Claim } from './claim.ts'
import { load, TargetRefused } from './loader.ts'
import type { MemoryAccount } from './memory-budget.ts'
import type { Meter } from './meter.ts'
import { PositionLost, Rejected } from './stream-end.ts'
import type { Target } from './target.ts'

export interface DeliveryParts {
  claim: Claim
  target: Target
  format: Format
  sessions: SessionPool
  chunks: ChunkPool
  budget: MemoryAccount
  /** Milliseconds. */
  retry: { min: number; max: number }
  meter: Meter
  onLoaded: (spans: LoadedSpan[]) => void
  /** Waiting to try again; the error says what for. */
  onRetry: (error: unknown) => void
  onRecovered: () => void
  signal: AbortSignal
}

export class Delivery {
  readonly #parts: DeliveryParts
  readonly #backoff: Backoff
  #session: Session | null = null

  constructor(parts: DeliveryParts) {
    this.#parts = parts
    this.#backoff = new Backoff(parts.retry.min, parts.retry.max)
  }

  /**
   * Commits the batch and gives its memory back.
   * @throws Rejected for a message that cannot be loaded, PositionLost, TargetRefused, the signal's AbortError, and
   *   PostgreSQL's error where only a person can help
   */
  async deliver(batch: Batch): Promise<void> {
    try {
      if (batch.spans.length > 0) {
        const refused = await this.#attempt(batch)
        if (refused) await this.#isolate(batch.spans)
      }
    } finally {
      this.discard(batch)
    }
    if (batch.rejected) throw new Rejected(batch.rejected)
  }

  /** Gives the batch's memory back. */
  discard(batch: Batch): void {
    giveBack(batch, this.#parts.chunks)
    this.#parts.budget.release(batch.size)
    batch.size = 0
  }

  /** Builds a batch and counts its memory. */
  async build(spans: FetchedSpan[], bytes: number): Promise<{ batch: Batch; rest: FetchedSpan[] }> {
    const { format, chunks, budget } = this.#parts
    const built = await buildBatch(spans, { format, pool: chunks, budget, maxBytes: bytes })
    budget.add(built.batch.size)
    return built
  }

  /** @returns null when the batch is committed, else the error with which PostgreSQL refused a message in it */
  async #attempt(batch: Batch): Promise<Error | null> {
    for (;;) {
      try {
        await this.#loadOnce(batch)
        if (this.#backoff.attempts > 0) this.#parts.onRecovered()
        this.#backoff.reset()
        return null
      } catch (error) {
        const verdict = verdictFor(error)
        if (verdict === 'message') return error as Error
        if (verdict === 'person') throw error
        this.#parts.onRetry(error)
        await setTimeout(this.#backoff.next(), undefined, { signal: this.#parts.signal })
      }
    }
  }

  /** Loads now, unless an earlier attempt whose outcome was unknown turns out to have been committed. */
  async #loadOnce(batch: Batch): Promise<void> {
    const { sessions, claim, target, format } = this.#parts
    const session = await sessions.acquire(this)
    const begun = performance.now()
    try {
      let committed = false
      if (session !== this.#session) {
        const stored = await attach(session, claim, this.#session)
        this.#session = session
        committed = isCommitted(batch, stored)
      }
      if (!committed && (await load(session, claim, target, format, batch)) === 'lost')
        throw new PositionLost()
    } finally {
      sessions.release(session)
    }
    for (const { partition, to, leaderEpoch } of batch.spans) {
      const owned = claim.partitions.get(partition)
      if (owned) Object.assign(owned, { position: to, leaderEpoch })
    }
    this.#parts.meter.loaded(batch.spans, (performance.now() - begun) / 1000)
    this.#parts.onLoaded(batch.spans)
  }

  /** Returns when, after all, everything could be loaded. @throws Rejected */
  async #isolate(spans: FetchedSpan[]): Promise<void> {
    let suspects = spans
    while (suspects.length > 0) {
      const [first, second] = isSingle(suspects) ? [suspects, []] : split(suspects)
      const { batch } = await this.build(first, Number.MAX_SAFE_INTEGER)
      const refused = await this.#attempt(batch).finally(() => this.discard(batch))
      if (refused && isSingle(first)) {
        const { partition, from } = first[0] as FetchedSpan
        const rejected = {
          partition,
          offset: from,
          code: 'message-rejected',
          reason: refused.message,
        } as const
        throw new Rejected(rejected, refused)
      }
      if (refused) await this.#isolate(first)
      suspects = second
    }
  }
}

function verdictFor(error: unknown): Verdict {
  const decided = error instanceof PositionLost || error instanceof TargetRefused
  return decided ? 'person' : verdictOf(sqlstateOf(error))
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
