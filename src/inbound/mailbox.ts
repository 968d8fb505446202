// What happens to a pipeline is put into its mailbox and dealt with one at a time, in order.

export class Mailbox<T> {
  readonly #letters: T[] = []
  #reader: (() => void) | null = null

  put(letter: T): void {
    this.#letters.push(letter)
    this.#reader?.()
  }

  /** Waits for the next letter. @throws the signal's reason */
  async take(signal: AbortSignal): Promise<T> {
    for (;;) {
      signal.throwIfAborted()
      const letter = this.#letters.shift()
      if (letter !== undefined) return letter
      const { promise, resolve } = Promise.withResolvers<void>()
      const wake = () => resolve()
      this.#reader = wake
      signal.addEventListener('abort', wake, { once: true })
      await promise
      signal.removeEventListener('abort', wake)
      this.#reader = null
    }
  }
}
