// What of a batch is on its way. Each row is either written to Kafka or waits; the position passes a row only when it is
// one of the two, and what waits is stored in the transaction that moves the position past it.

import { reasonOf } from '../errors.ts'
import { Acknowledged } from '../pipeline/acknowledged.ts'
import type { OutboxRow } from './outbox-row.ts'

/** Rows that may be on their way at a time. */
const capacity = 2 ** 17

/** Rows that wait and are not stored yet. */
const mostParked = 2000

export interface Parked {
  xid: string
  id: string
  wholeTopic: boolean
  /** A dead letter: nothing waits for it. */
  dead: boolean
  code: string | null
  message: string | null
}

export class Shipment {
  readonly #open: Acknowledged
  readonly #sent: string[] | null
  #parked: Parked[] = []

  /** Room for the rows on their way; it is used by one shipment after the other. */
  static room(): Acknowledged {
    return new Acknowledged(capacity)
  }

  /** @param keepSent whether the ids of what was written are asked for */
  constructor(room: Acknowledged, keepSent: boolean) {
    room.reset()
    this.#open = room
    this.#sent = keepSent ? [] : null
  }

  get hasRoom(): boolean {
    return this.#open.hasRoom && !this.parkedEnough
  }

  /** Whether what waits should be stored before more comes. */
  get parkedEnough(): boolean {
    return this.#parked.length >= mostParked
  }

  /** null: nothing is passed yet. */
  get lastId(): bigint | null {
    return this.#open.lastId
  }

  /** Of the last row, whether anything came of it or not. null: there is none. */
  get lastAddedId(): bigint | null {
    return this.#open.lastAddedId
  }

  /** @returns its ticket */
  add({ bytes, xidAt, idAt, partition }: OutboxRow): number {
    return this.#open.add(bytes, xidAt, idAt, partition !== null)
  }

  /** Whether the row asked for its partition itself. */
  choseItsPartition(ticket: number): boolean {
    return this.#open.flag(ticket)
  }

  idOf(ticket: number): bigint {
    return this.#open.id(ticket)
  }

  written(tickets: number[]): void {
    for (const ticket of tickets) {
      this.#sent?.push(String(this.#open.id(ticket)))
      this.#open.acknowledge(ticket)
    }
  }

  /** @param error of the row itself or of its topic; null: it is behind another one */
  park(ticket: number, wholeTopic: boolean, error: { code: string } | null, dead = false): void {
    this.#parked.push({
      xid: String(this.#open.xid(ticket)),
      id: String(this.#open.id(ticket)),
      wholeTopic,
      dead,
      code: error?.code ?? null,
      message: error && reasonOf(error),
    })
    this.#open.acknowledge(ticket)
  }

  /** What is to be stored with the position as it is now. */
  takeParked(): Parked[] {
    const parked = this.#parked
    this.#parked = []
    return parked
  }

  /** Whether something is to be stored, apart from the position. */
  get hasToTell(): boolean {
    return this.#parked.length > 0 || (this.#sent?.length ?? 0) > 0
  }

  takeSent(): string[] {
    return this.#sent?.splice(0) ?? []
  }
}
