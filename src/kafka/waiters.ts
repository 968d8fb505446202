// Whoever waits until something holds is woken when it does, or when there is nothing to wait for any more.

interface Waiter {
  done: () => boolean
  resolve: () => void
}

export class Waiters {
  #waiting: Waiter[] = []
  #ended = false

  until(done: () => boolean): Promise<void> {
    if (this.#ended || done()) return Promise.resolve()
    return new Promise((resolve) => this.#waiting.push({ done, resolve }))
  }

  /** Something has changed. */
  wake(): void {
    const over = this.#waiting.filter(({ done }) => this.#ended || done())
    if (over.length === 0) return
    this.#waiting = this.#waiting.filter((waiter) => !over.includes(waiter))
    for (const { resolve } of over) resolve()
  }

  /** Nobody waits from here on. */
  end(): void {
    this.#ended = true
    this.wake()
  }
}
