// Delivery takes a batch to its commit, however often that has to be tried. What may pass by itself is waited out. What
// is refused because of a message goes on as the consumer's on_error says: either that message is found and everything
// before it committed, or everything is committed but what cannot be loaded.

import { setTimeout } from 'node:timers/promises'
import { MillraceError } from '../errors.ts'
import type { ChunkPool } from '../formats/chunk-pool.ts'
import { Backoff } from '../pipeline/backoff.ts'
import type { Verdict } from '../pipeline/error-policy.ts'
import { before, isSingle, split } from '../pipeline/span.ts'
import { DefersCode } from '../postgres/owner-code.ts'
import type { SessionPool } from '../postgres/session-pool.ts'
import type { Batch, LoadedSpan } from './batch.ts'
import type { Claim } from './claim.ts'
import type { ConsumerSpec } from './consumer.ts'
import { Damaged } from './damaged.ts'
import { FailureBrake } from './failure-brake.ts'
import { findRoutes } from './find-routes.ts'
import { buildHeld, release } from './held-batch.ts'
import type { ConsumerPlan } from './load-plan.ts'
import { load, PositionLost, TargetChanged } from './loader.ts'
import { LoadingSession, NoSession } from './loading-session.ts'
import type { MemoryAccount } from './memory-budget.ts'
import type { Meter } from './meter.ts'
import { loadSalvaging } from './salvage-load.ts'
import { Rejected } from './stream-end.ts'
import { verdictOn } from './verdict.ts'
import type { FetchedSpan } from './walk.ts'

export interface DeliveryParts {
  spec: ConsumerSpec
  claim: Claim
  plan: ConsumerPlan
  /** Whether the relation is another one by now than the plan was made for. */
  hasChanged: () => Promise<boolean>
  sessions: SessionPool
  chunks: ChunkPool
  budget: MemoryAccount
  /** Milliseconds. */
  retry: { min: number; max: number }
  meter: Meter
  onLoaded: (spans: LoadedSpan[]) => void
  /** Messages that could not be loaded were kept or counted. */
  onRejected: (messages: number, transactionIds: number) => void
  /** Waiting to try again; the error says what for. */
  onRetry: (error: unknown) => void
  onRecovered: () => void
  signal: AbortSignal
}

export class Delivery {
  readonly #parts: DeliveryParts
  readonly #backoff: Backoff
  readonly #brake = new FailureBrake()
  readonly #session: LoadingSession
  /** So much failed lately that halving would not pay. */
  #expectsMany = false

  constructor(parts: DeliveryParts) {
    this.#parts = parts
    this.#backoff = new Backoff(parts.retry.min, parts.retry.max)
    this.#session = new LoadingSession(parts)
  }

  /**
   * Commits the batch and gives its memory back.
   * @param spans what the batch was built of: where it ends before a message that cannot be loaded, that and what
   *   follows are in here
   * @throws Rejected for a message that cannot be loaded, PositionLost, TargetChanged, the signal's AbortError,
   *   MillraceError dead-letters-full, and PostgreSQL's error where only a person can help
   */
  async deliver(batch: Batch, spans: FetchedSpan[]): Promise<void> {
    const stops = this.#parts.spec.onError === 'stop'
    let refused: Error | null = null
    try {
      const one = stops || (batch.rejected === null && !this.#expectsMany)
      if (one && batch.spans.length > 0) refused = await this.#attempt(() => this.#loadOnce(batch))
      if (!one || (refused && !stops)) {
        this.discard(batch)
        await this.#salvage(batch.rejected ? spans : batch.spans)
        return
      }
      if (refused) await this.#isolate(batch.spans)
    } finally {
      this.discard(batch)
    }
    if (batch.rejected) throw new Rejected(batch.rejected)
  }

  /** Gives the batch's memory back. */
  discard(batch: Batch): void {
    release(batch, this.#parts)
  }

  /** Builds a batch and counts its memory. */
  async build(spans: FetchedSpan[], bytes: number): Promise<{ batch: Batch; rest: FetchedSpan[] }> {
    const { spec, plan, budget } = this.#parts
    if (plan.routes) await findRoutes(spans, plan.routes, { topic: spec.topic, budget })
    return buildHeld(spans, this.#parts, bytes)
  }

  /** @returns null when the work is committed, else the error with which PostgreSQL refused a message in it */
  async #attempt(work: () => Promise<void>): Promise<Error | null> {
    for (;;) {
      try {
        await work()
        if (this.#backoff.attempts > 0) this.#parts.onRecovered()
        this.#backoff.reset()
        return null
      } catch (error) {
        const verdict = await this.#verdict(error)
        if (verdict === 'message') return error as Error
        if (verdict === 'person') throw error
        this.#parts.onRetry(error instanceof NoSession ? error.cause : error)
        await setTimeout(this.#backoff.next(), undefined, { signal: this.#parts.signal })
      }
    }
  }

  /**
   * What is said of a message or of the relation is said of the one that is there now; as long as nobody can look, it is
   * tried again.
   * @throws TargetChanged
   */
  async #verdict(error: unknown): Promise<Verdict> {
    const verdict = verdictFor(error)
    if (verdict === 'retry' || decided(error)) return verdict
    const changed = await this.#parts.hasChanged().catch((cause) => {
      if (verdictOn(cause) === 'retry') return null
      throw cause
    })
    if (changed) throw new TargetChanged()
    return changed === null ? 'retry' : verdict
  }

  /** Loads now, unless an earlier attempt whose outcome was unknown turns out to have been committed. */
  async #loadOnce(batch: Batch): Promise<void> {
    const { claim, plan } = this.#parts
    const begun = performance.now()
    await this.#session.use(batch.spans, (session) => load(session, claim, plan, batch))
    this.#note(batch.spans, begun)
  }

  /** Commits all of the spans, except for what cannot be loaded; as far as a record batch that cannot be read. */
  async #salvage(spans: FetchedSpan[]): Promise<void> {
    let sound = spans
    let damaged: Damaged | null = null
    while (sound.length > 0) {
      try {
        const error = await this.#attempt(() => this.#salvageOnce(sound))
        // everything that is about one message was dealt with inside
        if (error) throw error
        break
      } catch (error) {
        if (!(error instanceof Damaged)) throw error
        damaged = error
        const { partition, offset } = error.rejected
        sound = before(
          sound,
          sound.findIndex((span) => span.partition === partition),
          offset,
        )
      }
    }
    if (damaged) throw new Rejected(damaged.rejected)
  }

  async #salvageOnce(spans: FetchedSpan[]): Promise<void> {
    const { spec, claim, plan, chunks, budget, signal } = this.#parts
    const begun = performance.now()
    const loaded = await this.#session.use(spans, (session) => {
      const parts = { session, spec, claim, plan, chunks, budget, expectsMany: this.#expectsMany }
      return loadSalvaging(spans, parts)
    })
    if (loaded === 'committed') {
      // its counts are lost with the answer; they are stored
      const unknown = { messages: 0, skipped: 0, bytes: 0 }
      this.#note(
        spans.map((span) => ({ ...span, ...unknown })),
        begun,
      )
      return
    }
    const { rejects, transactionIds, many, spans: counted } = loaded
    this.#expectsMany = many && rejects.length > 0
    this.#note(counted, begun)
    this.#parts.onRejected(rejects.length, transactionIds)
    const pause = this.#brake.after(
      rejects.length,
      counted.reduce((sum, { messages }) => sum + messages, 0),
    )
    if (pause > 0) await setTimeout(pause, undefined, { signal }).catch(() => {})
  }

  #note(spans: LoadedSpan[], begun: number): void {
    for (const { partition, to, leaderEpoch } of spans) {
      const owned = this.#parts.claim.partitions.get(partition)
      if (owned) Object.assign(owned, { position: to, leaderEpoch })
    }
    this.#parts.meter.loaded(spans, (performance.now() - begun) / 1000)
    this.#parts.onLoaded(spans)
  }

  /** Returns when, after all, everything could be loaded. @throws Rejected */
  async #isolate(spans: FetchedSpan[]): Promise<void> {
    let suspects = spans
    while (suspects.length > 0) {
      const [first, second] = isSingle(suspects) ? [suspects, []] : split(suspects)
      const { batch } = await this.build(first, Number.MAX_SAFE_INTEGER)
      const refused = await this.#attempt(() => this.#loadOnce(batch)).finally(() => this.discard(batch))
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
  if (error instanceof NoSession) return 'retry'
  return decided(error) ? 'person' : verdictOn(error)
}

/** Errors that say themselves what follows. */
function decided(error: unknown): boolean {
  return (
    error instanceof PositionLost ||
    error instanceof TargetChanged ||
    error instanceof DefersCode ||
    error instanceof Damaged ||
    (error instanceof MillraceError && !connectionCodes.includes(error.code))
  )
}

/** No connection is to be had now, which says nothing about what was to be loaded. */
export const connectionCodes: readonly string[] = [
  'database-unreachable',
  'server-changed',
  'server-standby',
  'identity-changed',
]
