// What grows is tidied now and then: batches are merged as they age, dead letters past their age go, and so does what
// dropped consumers left. One daemon at a time does it, in a session that nobody loads with meanwhile, and each step
// commits by itself. Nothing waits for it; what fails is done the next time.

import type { Logger } from '../log.ts'
import type { Session } from '../postgres/session.ts'
import type { SessionPool } from '../postgres/session-pool.ts'

/** Milliseconds from one time to the next. */
const interval = 10 * 60_000

/** Whoever does not get this lock leaves the work to the daemon that has it. */
const onlyOne = 'SELECT pg_catalog.pg_try_advisory_lock(1298756723, 3) AS held'
const letOthers = 'SELECT pg_catalog.pg_advisory_unlock(1298756723, 3)'

const steps = {
  mergedBatches: 'SELECT millrace.merge_batches() AS count',
  expiredDeadLetters: 'SELECT millrace.expire_dead_letters() AS count',
  swept: 'SELECT millrace.sweep() AS count',
}

export class Housekeeping {
  readonly #sessions: SessionPool
  readonly #log: Logger
  /** performance.now() of the last time. */
  #doneAt = -Infinity
  #work: Promise<void> | null = null
  #session: Session | null = null
  #ending = false

  constructor(sessions: SessionPool, log: Logger) {
    this.#sessions = sessions
    this.#log = log
  }

  /** Begins when it is time. */
  keep(): void {
    if (this.#work || performance.now() - this.#doneAt < interval) return
    this.#doneAt = performance.now()
    this.#work = this.#tidy()
      .catch((error) => this.#log.debug({ err: error }, 'housekeeping failed; tried again later'))
      .finally(() => {
        this.#work = null
      })
  }

  /** The step under way is given up: it may be a long one, or wait for a lock. */
  async end(): Promise<void> {
    this.#ending = true
    this.#session?.discard(new Error('housekeeping was given up'))
    await this.#work
    this.#ending = false
  }

  async #tidy(): Promise<void> {
    const session = await this.#sessions.acquire(this)
    this.#session = session
    try {
      if (this.#ending) return
      await session.cleanFor(null)
      const [lock] = await session.query<{ held: boolean }>(onlyOne)
      if (!lock?.held) return
      const done: Record<string, number> = {}
      try {
        for (const [name, sql] of Object.entries(steps)) {
          const [row] = await session.query<{ count: string }>(sql)
          done[name] = Number(row?.count)
        }
      } finally {
        // with the session, the lock is gone
        if (!session.lost) await session.query(letOthers)
      }
      if (Object.values(done).some((count) => count > 0)) this.#log.info(done, 'housekeeping')
    } finally {
      this.#session = null
      this.#sessions.release(session)
    }
  }
}
