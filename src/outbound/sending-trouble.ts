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
  /** Whoever sent before may have said something that nobody has taken back: it had to begin anew. */
  #fresh = true

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
    const any = this.#code !== null
    if (!any && !this.#fresh) return false
    this.#fresh = false
    this.#code = null
    const over = this.#outages.end(this.#who)
    if (over.length > 0) this.#log.info({ over }, 'recovered')
    this.#progress.tell(null)
    return any
  }

  /** Nobody sends any more. */
  forget(): void {
    this.#outages.end(this.#who)
  }

  get #who(): string {
    return `outbox for ${this.#cluster}`
  }
}
