// How late the event loop is, over the last one to two minutes however often somebody asks: a window that is
// complete counts until the next one is. Sampled fifty times a second, which costs an idle daemon a fifth of a
// percent of a core.

import { monitorEventLoopDelay } from 'node:perf_hooks'

/** Milliseconds between two samples. */
const resolution = 20

/** Milliseconds. */
const windowLength = 60_000

/** Seconds. */
export interface LoopDelay {
  median: number
  high: number
  most: number
}

/** What has been sampled since it was begun. */
export interface DelaySampler {
  read(): LoopDelay
  begin(): void
}

export class EventLoopDelay {
  readonly #histogram = monitorEventLoopDelay({ resolution })
  readonly #recent = new RecentDelay({
    read: () => this.#sampled(),
    begin: () => this.#histogram.reset(),
  })

  constructor() {
    this.#histogram.enable()
  }

  read(): LoopDelay {
    return this.#recent.read()
  }

  close(): void {
    this.#histogram.disable()
  }

  #sampled(): LoopDelay {
    if (this.#histogram.count === 0) return { median: 0, high: 0, most: 0 }
    // between two samples there is the time that was meant to be between them, and the delay
    const delay = (nanoseconds: number) => Math.max(0, nanoseconds / 1e9 - resolution / 1000)
    return {
      median: delay(this.#histogram.percentile(50)),
      high: delay(this.#histogram.percentile(99)),
      most: delay(this.#histogram.max),
    }
  }
}

/** The higher of this window's and the last one's, while that one is recent. */
export class RecentDelay {
  readonly #sampler: DelaySampler
  readonly #clock: () => number
  #former: LoopDelay = { median: 0, high: 0, most: 0 }
  #since: number

  /** @param clock milliseconds */
  constructor(sampler: DelaySampler, clock: () => number = () => performance.now()) {
    this.#sampler = sampler
    this.#clock = clock
    this.#since = clock()
  }

  read(): LoopDelay {
    const now = this.#sampler.read()
    const age = this.#clock() - this.#since
    const former = age > 2 * windowLength ? now : this.#former
    if (age > windowLength) {
      this.#former = now
      this.#sampler.begin()
      this.#since = this.#clock()
    }
    return {
      median: Math.max(now.median, former.median),
      high: Math.max(now.high, former.high),
      most: Math.max(now.most, former.most),
    }
  }
}
