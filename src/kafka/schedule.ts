// When the next round of sending is: soon, which is after whatever else is to be done now, or at a moment.

export class Schedule {
  readonly #round: () => void
  #soon = false
  #timer: NodeJS.Timeout | null = null
  #ended = false

  constructor(round: () => void) {
    this.#round = round
  }

  soon(): void {
    if (this.#soon || this.#ended) return
    this.#soon = true
    setImmediate(() => {
      this.#soon = false
      if (!this.#ended) this.#round()
    })
  }

  /** Takes the place of the moment that was said before.  @param moment performance.now() */
  at(moment: number, now: number): void {
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = setTimeout(this.#round, Math.max(1, moment - now))
  }

  end(): void {
    this.#ended = true
    if (this.#timer) clearTimeout(this.#timer)
  }
}
