// Rows are read in a session of the pool, by whoever holds the lease, one query at a time. It can be given up at any
// moment; what was taken until then was taken.

import type { SessionPool } from '../postgres/session-pool.ts'
import type { Lease } from './lease.ts'
import { Reading, type RowTaker } from './reading.ts'

export class OutboxReader {
  readonly #sessions: SessionPool
  readonly #lease: Lease
  readonly #taker: RowTaker
  #reading: Reading | null = null
  #stopped = false

  constructor({ sessions, lease }: { sessions: SessionPool; lease: Lease }, taker: RowTaker) {
    this.#sessions = sessions
    this.#lease = lease
    this.#taker = taker
  }

  /** @returns whether every row was taken  @throws PostgreSQL's error, LeaseLost */
  async read(sql: string): Promise<boolean> {
    const session = await this.#sessions.acquire(this)
    try {
      await session.cleanFor(null)
      this.#lease.check()
      this.#reading = new Reading(session, sql, this.#taker)
      if (this.#stopped) this.#reading.abandon()
      return await this.#reading.whole()
    } catch (error) {
      await session.rollback()
      throw error
    } finally {
      this.#reading = null
      this.#sessions.release(session)
    }
  }

  /** What is being read. */
  abandon(): void {
    this.#reading?.abandon()
  }

  /** Nothing is read from here on. */
  stop(): void {
    this.#stopped = true
    this.abandon()
  }
}
