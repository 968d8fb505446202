// How far the sending is, written every so often and once more when somebody asks: one time after the other, and no more
// after the first failure. However long one takes, at most one more is due: it writes what is known when it begins.

export class Recording {
  readonly #record: () => Promise<void>
  readonly #onFailure: () => void
  readonly #timer: NodeJS.Timeout
  #last = Promise.resolve()
  /** Asked for, and not begun. */
  #next: Promise<void> | null = null
  #failure: { error: unknown } | null = null

  /** @param interval ms */
  constructor(record: () => Promise<void>, interval: number, onFailure: () => void) {
    this.#record = record
    this.#onFailure = onFailure
    this.#timer = setInterval(() => void this.now(), interval)
  }

  /** When what is known now is written, or could not be. Never throws. */
  now(): Promise<void> {
    if (this.#next) return this.#next
    this.#next = this.#after(this.#last)
    this.#last = this.#next
    return this.#next
  }

  /** Only what is asked for from here on. */
  stopTimer(): void {
    clearInterval(this.#timer)
  }

  /** When nothing is being written. */
  settled(): Promise<void> {
    return this.#last
  }

  get hasFailed(): boolean {
    return this.#failure !== null
  }

  /** @throws what writing met */
  check(): void {
    if (this.#failure) throw this.#failure.error
  }

  async #after(before: Promise<void>): Promise<void> {
    await before
    this.#next = null
    if (this.#failure) return
    try {
      await this.#record()
    } catch (error) {
      this.#failure = { error }
      this.#onFailure()
    }
  }
}
