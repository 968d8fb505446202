// One daemon at a time sends. It holds a lease in PostgreSQL, which belongs to its backend: whoever takes it over ends
// that backend first, and what a former holder still writes compares false. What Kafka is sent cannot be compared, so
// nothing is sent unless the lease was renewed lately: a process that was stopped asks first when it wakes.

import type { Session } from '../postgres/session.ts'

const name = 'outbox'

/** The lease is another's. */
export class LeaseLost extends Error {
  constructor() {
    super('another daemon has taken the sending over')
  }
}

export class Lease {
  readonly session: Session
  readonly epoch: string
  readonly #timeout: number
  #renewedAt: number
  readonly #timer: NodeJS.Timeout
  #lost: Error | null = null

  private constructor(session: Session, epoch: string, timeout: number, askedAt: number) {
    this.session = session
    this.epoch = epoch
    this.#timeout = timeout
    this.#renewedAt = askedAt
    this.#timer = setInterval(() => void this.#renew(), timeout / 5)
  }

  /** @param timeout ms  @returns null while another daemon has it */
  static async take(session: Session, daemon: string, timeout: number): Promise<Lease | null> {
    const askedAt = performance.now()
    const [row] = await session.query<{ epoch: string | null }>(
      "SELECT millrace.take_lease($1, $2, $3, $4 * interval '1 millisecond') AS epoch",
      [name, daemon, session.startedAt, timeout],
    )
    return row?.epoch ? new Lease(session, row.epoch, timeout, askedAt) : null
  }

  /** Whether nobody can have taken it over yet. */
  get fresh(): boolean {
    return !this.#lost && performance.now() - this.#renewedAt < this.#timeout * 0.8
  }

  /** @throws LeaseLost, what the session met */
  check(): void {
    if (this.#lost) throw this.#lost
    if (this.session.lost) throw this.session.lost
  }

  async release(): Promise<void> {
    clearInterval(this.#timer)
    if (this.#lost || this.session.lost) return
    await this.session.query('SELECT millrace.release_lease($1, $2)', [name, this.epoch]).catch(() => {})
  }

  async #renew(): Promise<void> {
    const askedAt = performance.now()
    try {
      const [row] = await this.session.query<{ renewed: boolean }>(
        'SELECT millrace.renew_lease($1, $2) AS renewed',
        [name, this.epoch],
      )
      if (row?.renewed) this.#renewedAt = askedAt
      else this.#lost ??= new LeaseLost()
    } catch (error) {
      this.#lost ??= error as Error
    }
  }
}
