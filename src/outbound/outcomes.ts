// What becomes of what was handed to the producer, as the shipment under way and whoever looks have to know it: each row
// is written, or it waits; or a transaction is broken, and nothing of it counts.

import { MillraceError } from '../errors.ts'
import { failpoint } from '../failpoint.ts'
import type { OutgoingRecord } from '../kafka/batch-writer.ts'
import type { PartitionQueue } from '../kafka/partition-queue.ts'
import type { ProducerEvents } from '../kafka/producer-events.ts'
import { positionTicket } from './exactly-once.ts'
import type { Lease } from './lease.ts'
import type { ClusterMeter } from './meter.ts'
import type { Refusals } from './refusals.ts'
import type { SendingTrouble } from './sending-trouble.ts'
import { Shipment } from './shipment.ts'

interface Parts {
  cluster: string
  lease: Lease
  refusals: Refusals
  trouble: SendingTrouble
  meter: ClusterMeter
  /** Of the position, which is no row. */
  positionTopic: string
  /** Kafka has answered. */
  onAnswer: () => void
  onTrouble: () => void
  onRecovery: () => void
  onBroken: () => void
}

export class Outcomes implements ProducerEvents {
  readonly #parts: Parts
  readonly #room = Shipment.room()
  #shipment = new Shipment(this.#room, false)
  /** Messages may be under way. */
  begun = false
  /** Why the transaction cannot be committed. */
  #broken: MillraceError | null = null

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** Under way. */
  get shipment(): Shipment {
    return this.#shipment
  }

  /** Nothing of the one before is on its way any more. @param keepSent whether the ids of what is written are asked for */
  newShipment(keepSent: boolean): Shipment {
    this.#shipment = new Shipment(this.#room, keepSent)
    return this.#shipment
  }

  /** @throws MillraceError transaction-lost */
  check(): void {
    if (this.#broken) throw this.#broken
  }

  maySend(): boolean {
    return this.#parts.lease.fresh
  }

  acknowledged(tickets: number[], bytes: number): void {
    this.answered()
    if (tickets[0] === positionTicket) return
    this.#parts.meter.sent(tickets.length, bytes)
    failpoint('outbound.after-acknowledged')
    this.#shipment.written(tickets)
  }

  refused(queue: PartitionQueue, record: OutgoingRecord, ticket: number, error: MillraceError): void {
    this.#parts.meter.refused(error.code)
    if (ticket === positionTicket) this.broken(error)
    else this.#parts.refusals.refuse(queue, record, ticket, error, this.#shipment)
  }

  topicRefused(topic: string, error: MillraceError): void {
    this.#parts.meter.refused(error.code)
    if (topic !== this.#parts.positionTopic) this.#parts.refusals.refuseTopic(topic, error)
    else if (this.begun) this.broken(error)
  }

  mustWait(queue: PartitionQueue, record: OutgoingRecord, ticket: number): boolean {
    return ticket !== positionTicket && this.#parts.refusals.mustWait(queue, record, ticket, this.#shipment)
  }

  withheld(topic: string, tickets: number[]): void {
    this.#parts.refusals.withhold(topic, tickets, this.#shipment)
  }

  choseItsPartition(ticket: number): boolean {
    return ticket !== positionTicket && this.#shipment.choseItsPartition(ticket)
  }

  answered(): void {
    this.#parts.onAnswer()
  }

  trouble(error: MillraceError | null): void {
    const { trouble, meter, onTrouble, onRecovery } = this.#parts
    if (error) {
      meter.retried(error.code)
      trouble.begin(error)
      onTrouble()
    } else if (trouble.end()) {
      meter.recovered()
      onRecovery()
    }
  }

  broken(cause: MillraceError): void {
    const facts = { cluster: this.#parts.cluster, reason: cause.message, cause }
    this.#broken ??= cause.code === 'transaction-lost' ? cause : new MillraceError('transaction-lost', facts)
    this.#parts.onBroken()
  }
}
