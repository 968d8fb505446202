// What of a cluster's messages cannot be sent, and what has to wait behind it so that nothing overtakes.

import type { MillraceError } from '../errors.ts'
import type { OutgoingRecord } from '../kafka/batch-writer.ts'
import type { PartitionQueue } from '../kafka/partition-queue.ts'
import type { Logger } from '../log.ts'
import type { OutboxRow } from './outbox-row.ts'
import type { Shipment } from './shipment.ts'
import { WaitingPlaces } from './waiting.ts'

export class Refusals {
  readonly places: WaitingPlaces
  readonly #cluster: string
  readonly #log: Logger
  /** What each topic that waits as a whole met. */
  readonly #topicErrors = new Map<string, MillraceError>()

  /** @param interval ms to the first time that something is tried again */
  constructor(cluster: string, interval: number, log: Logger) {
    this.places = new WaitingPlaces(interval, 60 * interval)
    this.#cluster = cluster
    this.#log = log
  }

  /** Has the row wait if it must. @returns whether it does */
  holds(row: OutboxRow, shipment: Shipment): boolean {
    const { topic, key, partition } = row
    if (!this.places.any || !this.places.has(topic, key, partition)) return false
    this.withhold(topic, [shipment.add(row)], shipment)
    return true
  }

  /** The broker does not take this message. */
  refuse(
    { topic, partition }: PartitionQueue,
    { key }: OutgoingRecord,
    ticket: number,
    error: MillraceError,
    shipment: Shipment,
  ): void {
    const id = shipment.idOf(ticket)
    this.places.add({
      topic,
      wholeTopic: false,
      key: key && Buffer.from(key),
      partition: !key && shipment.choseItsPartition(ticket) ? partition : null,
      id,
    })
    shipment.park(ticket, false, error)
    this.#log.warn({ err: error, id: String(id), cluster: this.#cluster }, 'a message waits, and its key')
  }

  /** No message of the topic can be sent. */
  refuseTopic(topic: string, error: MillraceError): void {
    if (!this.#topicErrors.has(topic))
      this.#log.warn({ err: error, topic, cluster: this.#cluster }, 'the messages of a topic wait')
    this.#topicErrors.set(topic, error)
    this.places.add({ topic, wholeTopic: true, key: null, partition: null, id: null })
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
    for (const ticket of tickets) shipment.park(ticket, wholeTopic, error)
  }
}
