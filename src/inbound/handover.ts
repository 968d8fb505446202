// Where fetched spans wait to be scanned. There is room for one: the next Fetch is under way while the present
// response is scanned, and no more than that is read ahead.

export class Handover<T> {
  #items: T[] = []
  #takers: ((item: T | null) => void)[] = []
  #pushers: (() => void)[] = []
  #closed = false

  /** Resolves when there is room for another one. @returns false when it is closed: the item stays the caller's */
  async push(item: T): Promise<boolean> {
    if (this.#closed) return false
    const taker = this.#takers.shift()
    if (taker) taker(item)
    else if (this.#items.push(item) > 1) await new Promise<void>((resolve) => this.#pushers.push(resolve))
    return true
  }

  /**
   * The next item, or null when it is closed.
   * @param patience milliseconds after which null stands for "none came"
   */
  async take(patience?: number): Promise<T | null> {
    const item = this.#takeNow()
    if (item !== null || this.#closed) return item
    const { promise, resolve } = Promise.withResolvers<T | null>()
    this.#takers.push(resolve)
    if (patience === undefined) return promise
    const timer = setTimeout(() => {
      const index = this.#takers.indexOf(resolve)
      if (index >= 0) this.#takers.splice(index, 1)
      resolve(null)
    }, patience)
    return promise.finally(() => clearTimeout(timer))
  }

  #takeNow(): T | null {
    const item = this.#items.shift() ?? null
    if (item !== null) this.#pushers.shift()?.()
    return item
  }

  /** Nothing more comes; what waits can still be taken. */
  end(): void {
    this.#closed = true
    for (const taker of this.#takers.splice(0)) taker(null)
    for (const pusher of this.#pushers.splice(0)) pusher()
  }

  /** Ends at once. @returns what nobody took */
  close(): T[] {
    this.end()
    return this.#items.splice(0)
  }
}
