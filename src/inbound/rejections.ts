// Messages that could not be loaded are counted each, and said together: one line of the log now and then, however many
// there are.

import type { Logger } from '../log.ts'
import type { ConsumerSpec } from './consumer.ts'
import type { Meter } from './meter.ts'

/** Milliseconds between two lines of the log. */
const quiet = 10_000

export class Rejections {
  readonly #spec: ConsumerSpec
  readonly #meter: Meter
  readonly #log: Logger
  /** Since they were last said. */
  #messages = 0
  #transactionIds = 0
  #quietUntil = 0

  constructor({ spec, meter, log }: { spec: ConsumerSpec; meter: Meter; log: Logger }) {
    this.#spec = spec
    this.#meter = meter
    this.#log = log
  }

  add(messages: number, transactionIds: number): void {
    this.#meter.rejected(messages, this.#spec.onError === 'dead_letter', transactionIds)
    this.#messages += messages
    this.#transactionIds += transactionIds
    if (this.#messages > 0 && performance.now() >= this.#quietUntil) this.#say()
  }

  #say(): void {
    const { id: consumer, topic, onError } = this.#spec
    const rejected = { messages: this.#messages, onError, transactionIds: this.#transactionIds }
    this.#log.warn({ consumer, topic, ...rejected }, 'messages could not be loaded')
    this.#messages = 0
    this.#transactionIds = 0
    this.#quietUntil = performance.now() + quiet
  }
}
