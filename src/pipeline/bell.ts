// Wakes one sleeper. A ring while nobody sleeps is not lost: the next sleep ends at once.

export class Bell {
  #rung = false
  #wake: (() => void) | null = null

  ring(): void {
    this.#rung = true
    this.#wake?.()
  }

  /** Sleeps until the bell rings, or `milliseconds` have passed. */
  async sleep(milliseconds: number): Promise<void> {
    if (!this.#rung) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#wake = resolve
      const timer = setTimeout(resolve, milliseconds)
      await promise
      clearTimeout(timer)
      this.#wake = null
    }
    this.#rung = false
  }
}
