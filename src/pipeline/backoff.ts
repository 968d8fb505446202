// Waiting between attempts: doubling, with full jitter, so that many daemons do not return in step.
// https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/

export class Backoff {
  readonly #min: number
  readonly #max: number
  #attempts = 0

  /** @param min the first wait's upper bound, milliseconds  @param max the last one's */
  constructor(min: number, max: number) {
    this.#min = min
    this.#max = max
  }

  /** Failures since the last success. */
  get attempts(): number {
    return this.#attempts
  }

  /** Milliseconds to wait before the next attempt. */
  next(random: () => number = Math.random): number {
    const bound = Math.min(this.#max, this.#min * 2 ** Math.min(this.#attempts, 30))
    this.#attempts++
    return bound / 2 + (random() * bound) / 2
  }

  reset(): void {
    this.#attempts = 0
  }
}
