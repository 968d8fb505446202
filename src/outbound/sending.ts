// The rows of one query on their way: read, handed to the producer, and how far they are recorded. It is over when each
// row is written or stored as waiting; or when it was given up, and then what is recorded is where the next one begins.

import { failpoint } from '../failpoint.ts'
import type { Producer } from '../kafka/producer.ts'
import type { SessionPool } from '../postgres/session-pool.ts'
import type { ExactlyOnce } from './exactly-once.ts'
import type { Lease } from './lease.ts'
import { OutboxReader } from './outbox-reader.ts'
import { RowReader } from './outbox-row.ts'
import type { Outcomes } from './outcomes.ts'
import type { RowTaker } from './reading.ts'
import { Recording } from './recording.ts'
import type { Refusals } from './refusals.ts'
import type { Shipment } from './shipment.ts'
import type { TopicInquiry } from './topic-inquiry.ts'

export interface SendingParts {
  installation: string
  sessions: SessionPool
  lease: Lease
  producer: Producer
  outcomes: Outcomes
  refusals: Refusals
  inquiry: TopicInquiry
  /** Null: at least once. */
  exactly: ExactlyOnce | null
}

export interface Consignment {
  /** That reads the rows. */
  sql: string
  /** Whether the ids of what was written are asked for. */
  keepSent: boolean
  /** Writes how far it is. @param last whether nothing more comes of it */
  record: (shipment: Shipment, last: boolean) => Promise<void>
}

/** Milliseconds between two times that it is recorded how far it is. */
const recordInterval = 500

export class Sending implements RowTaker {
  readonly #producer: Producer
  readonly #outcomes: Outcomes
  readonly #refusals: Refusals
  readonly #inquiry: TopicInquiry
  readonly #exactly: ExactlyOnce | null
  readonly #rows: RowReader
  readonly #reader: OutboxReader
  #recording: Recording | null = null
  #stopped = false

  constructor(parts: SendingParts) {
    this.#producer = parts.producer
    this.#outcomes = parts.outcomes
    this.#refusals = parts.refusals
    this.#inquiry = parts.inquiry
    this.#exactly = parts.exactly
    this.#rows = new RowReader(parts.installation)
    this.#reader = new OutboxReader(parts, this)
  }

  /** @returns whether all of it is sent or waits  @throws LeaseLost, PostgreSQL's error, MillraceError transaction-lost */
  async send({ sql, keepSent, record }: Consignment): Promise<boolean> {
    const shipment = this.#outcomes.newShipment(keepSent)
    let whole = false
    const recording = new Recording(
      () => record(shipment, whole),
      recordInterval,
      () => this.abandon(),
    )
    this.#recording = recording
    try {
      whole = await this.#reader.read(sql)
    } finally {
      recording.stopTimer()
    }
    if (!this.#exactly) await this.#producer.untilIdle()
    await recording.settled()
    // where everything was sent, the statement that finishes the batch says so
    if (this.#exactly || !whole || !this.#producer.idle || shipment.hasToTell) await recording.now()
    this.#outcomes.check()
    // what was not committed when it had to end was not sent
    if (!this.#stopped || !this.#exactly) recording.check()
    return whole && this.#producer.idle && !recording.hasFailed
  }

  /** What is being read. */
  abandon(): void {
    this.#reader.abandon()
  }

  /** Nothing is read from here on. */
  stop(): void {
    this.#stopped = true
    this.#reader.stop()
  }

  get ready(): boolean {
    const held = this.#inquiry.isUnderWay || this.#exactly?.isConcluding
    return this.#producer.hasRoom && this.#outcomes.shipment.hasRoom && !held
  }

  async untilReady(): Promise<void> {
    await this.#inquiry.settled()
    if (this.#exactly?.isConcluding) await this.#recording?.settled()
    const { shipment } = this.#outcomes
    // what waits is stored with the position, so nothing of it is before the first row is passed
    const canStore = () => shipment.parkedEnough && shipment.lastId !== null
    if (canStore()) await this.#recording?.now()
    await this.#producer.untilRoom(() => shipment.hasRoom || canStore())
    if (this.#stopped) this.abandon()
  }

  take(bytes: Buffer): boolean {
    if (this.#exactly?.isConcluding) return false
    const row = this.#rows.read(bytes)
    if (row === null) return true
    const { shipment } = this.#outcomes
    const { topic, partition } = row
    if (this.#refusals.holds(row, shipment)) return true
    if (row.tooLarge) {
      this.#refusals.refuseUnread(row, shipment)
      return true
    }
    if (!this.#producer.knows(topic)) {
      void this.#inquiry.ask(topic)
      return false
    }
    failpoint('outbound.before-send')
    this.#exactly?.added()
    this.#producer.append(topic, partition, row, shipment.add(row))
    return true
  }
}
