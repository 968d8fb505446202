// What is drawn depends on the seed alone, so that a run can be repeated.

/** Numbers from [0, 1), the same ones for a seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

export function randomSeed(): number {
  return Math.floor(Math.random() * 2 ** 31)
}

export class Random {
  readonly #next: () => number

  constructor(seed: number) {
    this.#next = randomFrom(seed)
  }

  /** From 0 to below `limit`. */
  below(limit: number): number {
    return Math.floor(this.#next() * limit)
  }

  /** From 1 to `most`. */
  upTo(most: number): number {
    return 1 + this.below(most)
  }

  chance(probability: number): boolean {
    return this.#next() < probability
  }

  among<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T
  }

  /** A name, as often as its weight says. */
  weighted(weights: Record<string, number>): string {
    const total = Object.values(weights).reduce((sum, weight) => sum + weight, 0)
    let left = this.#next() * total
    for (const [name, weight] of Object.entries(weights)) {
      left -= weight
      if (left < 0) return name
    }
    return Object.keys(weights).at(-1) as string
  }
}
