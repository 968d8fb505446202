// What of a cluster's messages cannot be sent, and what has to wait behind it so that nothing overtakes.

import { MillraceError } from '../errors.ts'
import type { OutgoingRecord } from '../kafka/batch-writer.ts'
import type { PartitionQueue } from '../kafka/partition-queue.ts'
import type { Logger } from '../log.ts'
import type { GivenUp, TopicHealth } from './given-up.ts'
import type { OutboxRow } from './outbox-row.ts'
import type { Shipment } from './shipment.ts'
import { type WaitingPlace, WaitingPlaces, wholeTopicOf } from './waiting.ts'

export class Refusals {
  readonly places: WaitingPlaces
  readonly #givenUp: GivenUp
  readonly #cluster: string
  readonly #log: Logger
  readonly #buries: () => boolean
  /** Topics whose messages were spoken of, with the reason. */
  readonly #said = new Set<string>()
  /** What each topic that waits as a whole met. */
  readonly #topicErrors = new Map<string, MillraceError>()

  /**
   * @param interval ms to the first time that something is tried again
   * @param buries whether what is refused becomes a dead letter, which nothing waits for
   */
  constructor(cluster: string, interval: number, givenUp: GivenUp, buries: () => boolean, log: Logger) {
    this.places = new WaitingPlaces(interval, longestWait(interval))
    this.#givenUp = givenUp
    this.#cluster = cluster
    this.#buries = buries
    this.#log = log
  }

  /** What the topic met, where no message of it can be sent and none is to wait. */
  reasonToBury(topic: string): MillraceError | null {
    if (!this.#buries() || !this.places.hasTopic(topic)) return null
    const error = this.#topicErrors.get(topic)
    return error && !passes(error) ? error : null
  }

  /** Has the row wait if it must. @returns whether it does */
  holds(row: OutboxRow, shipment: Shipment): boolean {
    const { topic, key, partition } = row
    if (!this.places.any || !this.places.has(topic, key, partition)) return false
    this.withhold(topic, [shipment.add(row)], shipment)
    return true
  }

  /** It is larger than any broker takes. */
  refuseUnread(row: OutboxRow, shipment: Shipment): void {
    const { topic, partition } = row
    const error = new MillraceError('message-refused', {
      topic,
      partition,
      reason: 'with key and headers it has more than 95 MB, or it has more than 10,000 headers',
    })
    this.refuse({ topic, partition: partition ?? 0 }, row, shipment.add(row), error, shipment)
  }

  /** The broker does not take this message. */
  refuse(
    { topic, partition }: Pick<PartitionQueue, 'topic' | 'partition'>,
    { key }: OutgoingRecord,
    ticket: number,
    error: MillraceError,
    shipment: Shipment,
  ): void {
    if (this.#buries()) {
      shipment.park(ticket, false, error, true)
      this.#sayBuried(topic, error)
      return
    }
    const id = shipment.idOf(ticket)
    const { wholeTopic } = this.places.add({
      topic,
      wholeTopic: false,
      key: key && Buffer.from(key),
      partition: !key && shipment.choseItsPartition(ticket) ? partition : null,
      id,
    })
    shipment.park(ticket, wholeTopic, error)
    if (this.#isNew(topic, error))
      this.#log.warn({ err: error, id: String(id), cluster: this.#cluster }, 'a message waits, and its key')
  }

  /** No message of the topic can be sent. */
  refuseTopic(topic: string, error: MillraceError): void {
    if (this.#buries() && !passes(error)) this.#sayBuried(topic, error)
    else if (this.#isNew(topic, error))
      this.#log.warn({ err: error, topic, cluster: this.#cluster }, 'the messages of a topic wait')
    this.#topicErrors.set(topic, error)
    this.places.add(wholeTopicOf(topic), passes(error) ? this.#givenUp.add(topic, error) : undefined)
  }

  /** Topics wait on that whoever sent before has given up. */
  takeOver(): void {
    for (const [topic, error] of this.#givenUp.errors) this.refuseTopic(topic, error)
  }

  /** Whether what waits for the topic is to be tried again. */
  mayTry(topic: string, health: TopicHealth): boolean {
    return this.#givenUp.mayTry(topic, health)
  }

  /** Nothing of the place waits any more. */
  forget(place: WaitingPlace): void {
    this.places.forget(place)
    if (!place.wholeTopic) return
    this.#givenUp.forget(place.topic)
    this.#said.delete(about(place.topic, 'partition-unavailable'))
  }

  mustWait(
    { topic, partition }: PartitionQueue,
    { key }: OutgoingRecord,
    ticket: number,
    shipment: Shipment,
  ): boolean {
    return this.places.has(topic, key, shipment.choseItsPartition(ticket) ? partition : null)
  }

  withhold(topic: string, tickets: number[], shipment: Shipment): void {
    const wholeTopic = this.places.hasTopic(topic)
    const error = wholeTopic ? (this.#topicErrors.get(topic) ?? null) : null
    const dead = this.reasonToBury(topic) !== null
    for (const ticket of tickets) shipment.park(ticket, wholeTopic, error, dead)
  }

  #sayBuried(topic: string, error: MillraceError): void {
    if (!this.#isNew(topic, error)) return
    this.#log.warn(
      { err: error, topic, cluster: this.#cluster },
      'messages become dead letters (millrace.outbox_dead_letters)',
    )
  }

  /** Of each it is said once: there may be many. */
  #isNew(topic: string, error: MillraceError): boolean {
    const one = about(topic, error.code)
    if (this.#said.has(one)) return false
    this.#said.add(one)
    return true
  }
}

function about(topic: string, code: string): string {
  return `${topic} ${code}`
}

/** @param interval ms to the first retry  @returns ms to the later ones, at most */
export function longestWait(interval: number): number {
  return 60 * interval
}

/** It is nothing about the messages or their topic. */
function passes({ code }: MillraceError): boolean {
  return code === 'partition-unavailable'
}
