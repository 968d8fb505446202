// The session in which a consumer's batches are loaded. It may be another one each time. Then nothing is loaded before the
// one whose connection was lost has ended, and the stored positions say what became of what it was doing.

import { setTimeout } from 'node:timers'
import type { Session } from '../postgres/session.ts'
import type { SessionPool } from '../postgres/session-pool.ts'
import { attach, type Claim } from './claim.ts'
import type { ConsumerSpec } from './consumer.ts'
import type { ConsumerPlan } from './load-plan.ts'
import { PositionLost } from './loader.ts'
import type { FetchedSpan } from './walk.ts'

export interface LoadingSessionParts {
  spec: ConsumerSpec
  claim: Claim
  plan: ConsumerPlan
  sessions: SessionPool
  signal: AbortSignal
}

/** Whatever kept the daemon from PostgreSQL says nothing about the consumer: it may pass. */
export class NoSession extends Error {}

/** Milliseconds that a load may go on when its consumer was told to stop. */
const stopPatience = 60_000

export class LoadingSession {
  readonly #parts: LoadingSessionParts
  /** The last one. */
  #session: Session | null = null

  constructor(parts: LoadingSessionParts) {
    this.#parts = parts
  }

  /**
   * @returns `committed`, and nothing is done, where an earlier attempt has committed these spans after all
   * @throws NoSession, PositionLost, and what the work throws
   */
  async use<T>(spans: FetchedSpan[], work: (session: Session) => Promise<T>): Promise<T | 'committed'> {
    const { sessions, claim, signal } = this.#parts
    const session = await sessions.acquire(this, this.#owner).catch((cause) => {
      throw new NoSession('no session to load in', { cause })
    })
    // who was told to stop waits for what is under way, but not for code that never returns
    let waiting: NodeJS.Timeout | undefined
    const wait = () => {
      waiting = setTimeout(() => session.discard(new Error('the consumer was stopped')), stopPatience)
    }
    signal.addEventListener('abort', wait, { once: true })
    try {
      if (session !== this.#session) {
        const stored = await attach(session, claim, this.#session)
        this.#session = session
        if (isCommitted(spans, stored)) return 'committed'
      }
      return await work(session)
    } finally {
      signal.removeEventListener('abort', wait)
      clearTimeout(waiting)
      sessions.release(session)
    }
  }

  /** Whose code a load may run; null: that of trusted roles alone. */
  get #owner(): string | null {
    const { spec, plan } = this.#parts
    const isTrusted = plan.routes === null && plan.relationsOf([]).every(({ target }) => target.trusted)
    return isTrusted ? null : spec.owner
  }
}

/**
 * Whether the stored positions are those after the spans.
 * @throws PositionLost when they are neither those nor the ones before it
 */
function isCommitted(spans: FetchedSpan[], stored: Map<number, bigint>): boolean {
  if (spans.every((span) => stored.get(span.partition) === span.to)) return true
  if (spans.every((span) => stored.get(span.partition) === span.from)) return false
  throw new PositionLost()
}
