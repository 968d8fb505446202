// What waits is tried again a place at a time, in its order. A place waits no more while its messages are on their way; so
// the first one of them that is refused again puts it back, and the rest stays behind that one.

import type { TopicHealth } from './given-up.ts'
import { waitingQuery } from './outbox-query.ts'
import type { Progress } from './progress.ts'
import type { Refusals } from './refusals.ts'
import type { Sending } from './sending.ts'
import type { Shipment } from './shipment.ts'
import type { TopicInquiry } from './topic-inquiry.ts'
import { placeCondition, type WaitingPlace } from './waiting.ts'

export interface RetriesParts {
  cluster: string
  progress: Progress
  refusals: Refusals
  inquiry: TopicInquiry
  sending: Sending
  /** Of a topic that was just looked up. Null: it does not matter, since no transaction is at stake. */
  healthOf: ((topic: string) => TopicHealth) | null
  /** Stores what was sent, and what waits on. */
  record: (shipment: Shipment) => Promise<void>
}

/** Milliseconds for which it goes on while others may have something to send. */
const longestTime = 50

/** Rows that are tried again at a time. */
const mostRows = 1000

export class Retries {
  readonly #parts: RetriesParts
  #stopped = false

  constructor(parts: RetriesParts) {
    this.#parts = parts
  }

  /** Tries some of what is due. The rest has its turn after another batch. @throws LeaseLost, PostgreSQL's error, ... */
  async some(): Promise<void> {
    const { places } = this.#parts.refusals
    const end = performance.now() + longestTime
    const asked = new Set<string>()
    for (const place of places.due()) {
      if (this.#stopped || performance.now() >= end) return
      places.release(place)
      if (!asked.has(place.topic)) await this.#parts.inquiry.ask(place.topic)
      asked.add(place.topic)
      if (this.#stopped) return
      if (places.hasTopic(place.topic) || !this.#mayTry(place.topic)) await this.#waitsOn(place)
      else await this.#send(place)
    }
  }

  /** Nothing is begun from here on. */
  stop(): void {
    this.#stopped = true
  }

  #mayTry(topic: string): boolean {
    const { healthOf, refusals } = this.#parts
    return healthOf === null || refusals.mayTry(topic, healthOf(topic))
  }

  /** Its topic still cannot be written to. */
  async #waitsOn(place: WaitingPlace): Promise<void> {
    const { refusals, progress } = this.#parts
    refusals.places.add(place)
    const reason = refusals.reasonToBury(place.topic)
    if (reason) await progress.bury(place.topic, reason)
  }

  async #send(place: WaitingPlace): Promise<void> {
    const { cluster, refusals, progress, sending, record } = this.#parts
    const whole = await sending.send({
      sql: waitingQuery(cluster, placeCondition(place), mostRows),
      keepSent: true,
      record,
    })
    const left = await progress.anyOf(place)
    if (!left && whole) refusals.forget(place)
    else if (left) refusals.places.goOn(place)
  }
}
