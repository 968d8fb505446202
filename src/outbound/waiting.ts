// What waits, and everything behind it that must not overtake it. Messages are in order by their key; without a key, by
// the partition that was asked for; without either they are in no order, and one waits alone.

import { literal } from '../postgres/literal.ts'

export interface WaitingPlace {
  topic: string
  /** Every message of the topic waits: it cannot be written to. */
  wholeTopic: boolean
  key: Uint8Array | null
  partition: number | null
  /** Of the row, where that is all there is. */
  id: bigint | null
}

interface Waiting {
  place: WaitingPlace
  /** performance.now() */
  retryAt: number
  pause: number
}

/** Beyond so many, the whole topic waits where another key would. */
const mostPlaces = 20_000

export class WaitingPlaces {
  readonly #places = new Map<string, Waiting>()
  /** performance.now() before which nothing is tried again. */
  #nextAt = Infinity
  /** Pauses of places that are being tried again. */
  readonly #pauses = new Map<string, number>()
  readonly #min: number
  readonly #max: number

  /** @param min ms to the first retry; each later one takes twice as long, up to `max` */
  constructor(min: number, max: number) {
    this.#min = min
    this.#max = max
  }

  get any(): boolean {
    return this.#places.size > 0
  }

  has(topic: string, key: Uint8Array | null, partition: number | null): boolean {
    if (this.#places.size === 0) return false
    if (this.#places.has(topicName(topic))) return true
    const name = orderName(topic, key, partition)
    return name !== null && this.#places.has(name)
  }

  hasTopic(topic: string): boolean {
    return this.#places.has(topicName(topic))
  }

  /** @param shortest ms to its next retry  @returns where it waits: with its whole topic where there are too many places */
  add(place: WaitingPlace, shortest = this.#min): WaitingPlace {
    const many = this.#places.size >= mostPlaces && !place.wholeTopic
    const at = many ? wholeTopicOf(place.topic) : place
    const name = nameOf(at)
    if (this.#places.has(name)) return at
    const before = this.#pauses.get(name)
    const pause = Math.max(shortest, before === undefined ? this.#min : Math.min(this.#max, 2 * before))
    this.#set(name, { place: at, retryAt: performance.now() + pause, pause })
    return at
  }

  get anyDue(): boolean {
    return performance.now() >= this.#nextAt
  }

  /** Those whose time has come. */
  due(): WaitingPlace[] {
    const now = performance.now()
    const due: WaitingPlace[] = []
    this.#nextAt = Infinity
    for (const { place, retryAt } of this.#places.values()) {
      if (retryAt <= now) due.push(place)
      this.#nextAt = Math.min(this.#nextAt, retryAt)
    }
    return due
  }

  /** It is tried again: it waits no more, unless it is added again. */
  release(place: WaitingPlace): void {
    const name = nameOf(place)
    const waiting = this.#places.get(name)
    this.#places.delete(name)
    if (waiting) this.#pauses.set(name, waiting.pause)
  }

  /** Nothing of it waits any more. */
  forget(place: WaitingPlace): void {
    if (!this.#places.has(nameOf(place))) this.#pauses.delete(nameOf(place))
  }

  /** Some of it was sent, more waits: at once, unless something was refused again. */
  goOn(place: WaitingPlace): void {
    if (this.#places.has(nameOf(place))) return
    this.#set(nameOf(place), { place, retryAt: performance.now(), pause: this.#min })
  }

  #set(name: string, waiting: Waiting): void {
    this.#places.set(name, waiting)
    this.#nextAt = Math.min(this.#nextAt, waiting.retryAt)
  }
}

export function wholeTopicOf(topic: string): WaitingPlace {
  return { topic, wholeTopic: true, key: null, partition: null, id: null }
}

/** The rows of a place, as a condition on millrace.outbox_waiting. */
export function placeCondition({ topic, wholeTopic, key, partition, id }: WaitingPlace): string {
  const ofTopic = `topic = ${literal(topic)}`
  if (wholeTopic) return `${ofTopic} AND whole_topic`
  if (key) return `${ofTopic} AND NOT whole_topic AND key = '\\x${Buffer.from(key).toString('hex')}'::bytea`
  if (partition !== null)
    return `${ofTopic} AND NOT whole_topic AND key IS NULL AND partition = ${Number(partition)}`
  return `id = ${id}`
}

/** What there is in the table when a relay begins. */
export const placesQuery = `
  SELECT DISTINCT topic, whole_topic AS "wholeTopic", CASE WHEN NOT whole_topic THEN key END AS key,
         CASE WHEN NOT whole_topic AND key IS NULL THEN partition END AS partition,
         CASE WHEN NOT whole_topic AND key IS NULL AND partition IS NULL THEN id END AS id
    FROM millrace.outbox_waiting WHERE cluster = $1`

function topicName(topic: string): string {
  return `topic ${topic}`
}

function orderName(topic: string, key: Uint8Array | null, partition: number | null): string | null {
  if (key) return `key ${topic} ${Buffer.from(key).toString('latin1')}`
  return partition === null ? null : `partition ${topic} ${partition}`
}

function nameOf({ topic, wholeTopic, key, partition, id }: WaitingPlace): string {
  return wholeTopic ? topicName(topic) : (orderName(topic, key, partition) ?? `message ${id}`)
}
