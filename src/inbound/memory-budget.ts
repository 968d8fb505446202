// One budget for all bytes that the daemon holds between broker and database. Whoever wants to fetch reserves
// first and waits its turn; what turns out larger than reserved (a single large batch, decompression) is
// counted after the fact, and then the next reservation waits longer. Memory is bounded by this, not by the backlog.

interface Waiter {
  bytes: number
  resolve: () => void
}

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

  /** Waits until `bytes` fit; one that is larger than the whole budget gets its turn when nothing else is held. */
  async reserve(bytes: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (this.#waiting.length === 0 && this.#fits(bytes)) {
      this.#used += bytes
      return
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const waiter = { bytes, resolve }
    const abandon = () => {
      const index = this.#waiting.indexOf(waiter)
      if (index < 0) return // served already, in this same turn of the event loop
      this.#waiting.splice(index, 1)
      this.#serve()
      reject(signal.reason)
    }
    this.#waiting.push(waiter)
    signal.addEventListener('abort', abandon, { once: true })
    await promise
    signal.removeEventListener('abort', abandon)
  }

  /** Counts bytes that are there already. */
  add(bytes: number): void {
    this.#used += bytes
  }

  release(bytes: number): void {
    this.#used -= bytes
    this.#serve()
  }

  #fits(bytes: number): boolean {
    return this.#used === 0 || this.#used + bytes <= this.limit
  }

  #serve(): void {
    for (let first = this.#waiting[0]; first && this.#fits(first.bytes); first = this.#waiting[0]) {
      this.#waiting.shift()
      this.#used += first.bytes
      first.resolve()
    }
  }
}
