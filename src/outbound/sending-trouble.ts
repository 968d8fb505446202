// What is wrong between the relay and a cluster that may pass: said once when it begins and once when it is over, in the
// log and in millrace.outbox_status.

import type { MillraceError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { type Outages, outageOf } from '../pipeline/outage.ts'
import type { Progress } from './progress.ts'

export class SendingTrouble {
  readonly #cluster: string
  readonly #outages: Outages
  readonly #progress: Progress
  readonly #log: Logger
  #code: string | null = null

  constructor(cluster: string, progress: Progress, { outages, log }: { outages: Outages; log: Logger }) {
    this.#cluster = cluster
    this.#outages = outages
    this.#progress = progress
    this.#log = log
  }

  get present(): boolean {
    return this.#code !== null
  }

  begin(error: MillraceError): void {
    const outage = outageOf(error, error.code, this.#cluster, this.#who)
    if (this.#outages.begin(outage, this.#who))
      this.#log.warn({ err: error, cluster: this.#cluster }, outage.message)
    if (this.#code !== error.code) this.#progress.tell(error)
    this.#code = error.code
  }

  /** @returns whether there was any */
  end(): boolean {
    if (this.#code === null) return false
    this.#code = null
    const over = this.#outages.end(this.#who)
    if (over.length > 0) this.#log.info({ over }, 'recovered')
    this.#progress.tell(null)
    return true
  }

  /** Nobody sends any more. */
  forget(): void {
    this.#outages.end(this.#who)
  }

  get #who(): string {
    return `outbox for ${this.#cluster}`
  }
}
