// Counts values by bounds that never change, as Prometheus wants it: each bucket also holds what is in the ones
// below it, and all of it only grows.

export class Histogram {
  /** Upper bounds, inclusive, ascending. */
  readonly bounds: readonly number[]
  readonly #counts: number[]
  #sum = 0
  #count = 0

  constructor(bounds: readonly number[]) {
    this.bounds = bounds
    this.#counts = bounds.map(() => 0)
  }

  observe(value: number): void {
    const bucket = this.bounds.findIndex((bound) => value <= bound)
    if (bucket >= 0) this.#counts[bucket]!++
    this.#sum += value
    this.#count++
  }

  get sum(): number {
    return this.#sum
  }

  get count(): number {
    return this.#count
  }

  /** How many values were at most as large as each bound. */
  get cumulative(): number[] {
    let below = 0
    return this.#counts.map((count) => (below += count))
  }
}
