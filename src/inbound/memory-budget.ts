// One budget for all bytes that the daemon holds between broker and database. Whoever wants to fetch reserves
// first and waits its turn; what turns out larger than reserved (a single large batch, decompression) is
// counted after the fact, and then the next reservation waits longer. Memory is bounded by this, not by the backlog.
// Who holds nothing gets a little at once: a stream that cannot write keeps what it holds, and not the others from
// going on.

interface Waiter {
  account: MemoryAccount
  bytes: number
  resolve: (granted: number) => void
}

/** Bytes that an account without any gets at once, whatever the others hold. */
export const smallestReservation = 64 * 1024

export class MemoryBudget {
  readonly limit: number
  #used = 0
  readonly #waiting: Waiter[] = []

  /** @param limit bytes */
  constructor(limit: number) {
    this.limit = limit
  }

  get used(): number {
    return this.#used
  }

  account(): MemoryAccount {
    return new MemoryAccount(this)
  }

  /** For accounts. @returns the bytes granted */
  async reserve(account: MemoryAccount, bytes: number, signal: AbortSignal): Promise<number> {
    signal.throwIfAborted()
    if (this.#waiting.length === 0 && this.#fits(bytes)) return this.#grant(account, bytes)
    if (account.held === 0) return this.#grant(account, Math.min(bytes, smallestReservation))
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    const waiter = { account, bytes, resolve }
    const abandon = () => {
      const index = this.#waiting.indexOf(waiter)
      if (index < 0) return // served already, in this same turn of the event loop
      this.#waiting.splice(index, 1)
      this.#serve()
      reject(signal.reason)
    }
    this.#waiting.push(waiter)
    signal.addEventListener('abort', abandon, { once: true })
    const granted = await promise
    signal.removeEventListener('abort', abandon)
    return granted
  }

  /** For accounts. */
  add(account: MemoryAccount, bytes: number): void {
    this.#used += bytes
    account.held += bytes
    if (bytes < 0) this.#serve()
  }

  #grant(account: MemoryAccount, bytes: number): number {
    this.add(account, bytes)
    return bytes
  }

  #fits(bytes: number): boolean {
    return this.#used === 0 || this.#used + bytes <= this.limit
  }

  /** In order, as far as there is room; and those that hold nothing by now. */
  #serve(): void {
    let blocked = false
    for (const waiter of [...this.#waiting]) {
      const { account, bytes, resolve } = waiter
      blocked ||= !this.#fits(bytes)
      if (blocked && account.held > 0) continue
      this.#waiting.splice(this.#waiting.indexOf(waiter), 1)
      resolve(this.#grant(account, blocked ? Math.min(bytes, smallestReservation) : bytes))
    }
  }
}

/** What one stream holds of the budget. */
export class MemoryAccount {
  readonly #budget: MemoryBudget
  /** Bytes; changed by the budget alone. */
  held = 0

  constructor(budget: MemoryBudget) {
    this.#budget = budget
  }

  /** Bytes of the whole budget. */
  get limit(): number {
    return this.#budget.limit
  }

  /**
   * Waits until `bytes` fit; more than the whole budget fits when nothing else is held.
   * @returns the bytes granted: fewer where this account holds nothing and others hold everything
   */
  reserve(bytes: number, signal: AbortSignal): Promise<number> {
    return this.#budget.reserve(this, bytes, signal)
  }

  /** Counts bytes that are there already. */
  add(bytes: number): void {
    this.#budget.add(this, bytes)
  }

  release(bytes: number): void {
    this.#budget.add(this, -bytes)
  }
}
