// Who ends waits for what is on its way to Kafka as long as Kafka answers. After a silence that is given up: a request may take
// longer to time out than the end may take.

import type { Logger } from '../log.ts'

/** Milliseconds. */
const longestSilence = 5000

export class LastPatience {
  readonly #cluster: string
  readonly #log: Logger
  readonly #giveUp: () => void
  #timer: NodeJS.Timeout | null = null

  constructor(cluster: string, log: Logger, giveUp: () => void) {
    this.#cluster = cluster
    this.#log = log
    this.#giveUp = giveUp
  }

  begin(): void {
    this.#timer ??= setTimeout(() => {
      this.#log.warn({ cluster: this.#cluster }, 'Kafka does not answer; what is on its way is given up')
      this.#giveUp()
    }, longestSilence)
  }

  /** Kafka has answered. */
  renew(): void {
    this.#timer?.refresh()
  }

  end(): void {
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
  }
}
