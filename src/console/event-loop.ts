// How late the event loop is, over the last one to two minutes however often somebody asks: a window that is
// complete counts until the next one is. Sampled fifty times a second, which costs an idle daemon a quarter of a
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

export class EventLoopDelay {
  readonly #histogram = monitorEventLoopDelay({ resolution })
  #former: LoopDelay = { median: 0, high: 0, most: 0 }
  #since = performance.now()

  constructor() {
    this.#histogram.enable()
  }

  read(): LoopDelay {
    const now: LoopDelay = {
      median: this.#seconds(this.#histogram.percentile(50)),
      high: this.#seconds(this.#histogram.percentile(99)),
      most: this.#seconds(this.#histogram.max),
    }
    const age = performance.now() - this.#since
    const former = age > windowLength * 2 ? now : this.#former
    if (age > windowLength) {
      this.#former = now
      this.#histogram.reset()
      this.#since = performance.now()
    }
    return {
      median: Math.max(now.median, former.median),
      high: Math.max(now.high, former.high),
      most: Math.max(now.most, former.most),
    }
  }

  close(): void {
    this.#histogram.disable()
  }

  /** @param nanoseconds between two samples, the time that was meant to be between them included */
  #seconds(nanoseconds: number): number {
    // nothing was sampled yet: the maximum is 0 then, and a percentile may be anything below the resolution
    return this.#histogram.count === 0 ? 0 : Math.max(0, nanoseconds / 1e9 - resolution / 1000)
  }
}
