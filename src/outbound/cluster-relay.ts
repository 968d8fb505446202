// Sends what the outbox has for one cluster, a batch after the other. A batch is finished when each of its rows is written
// by all in-sync replicas, or waits and is stored as waiting; only then comes the next one.

import type { MillraceError } from '../errors.ts'
import { failpoint } from '../failpoint.ts'
import type { ClusterAccess } from '../kafka/access.ts'
import type { OutgoingRecord } from '../kafka/batch-writer.ts'
import type { PartitionQueue } from '../kafka/partition-queue.ts'
import { Producer } from '../kafka/producer.ts'
import type { ProducerEvents, ProducerSettings } from '../kafka/producer-events.ts'
import type { Logger } from '../log.ts'
import { Backoff } from '../pipeline/backoff.ts'
import type { Outages } from '../pipeline/outage.ts'
import type { SessionPool } from '../postgres/session-pool.ts'
import type { SharedSession } from '../postgres/shared-session.ts'
import type { Lease } from './lease.ts'
import { batchQuery, waitingQuery } from './outbox-query.ts'
import { RowReader } from './outbox-row.ts'
import { Progress } from './progress.ts'
import { Reading, type RowTaker } from './reading.ts'
import { Recording } from './recording.ts'
import { Refusals } from './refusals.ts'
import { SendingTrouble } from './sending-trouble.ts'
import { Shipment } from './shipment.ts'
import { TopicInquiry } from './topic-inquiry.ts'
import { placeCondition } from './waiting.ts'

export interface ClusterRelayParts {
  access: ClusterAccess
  lease: Lease
  installation: string
  shared: SharedSession
  sessions: SessionPool
  settings: ProducerSettings
  outages: Outages
  log: Logger
}

export interface Batch {
  [column: string]: unknown
  sent: string
  batch: string
  last_id: string
  segments: number[]
}

/** Milliseconds between two times that the position is written within a batch. */
const recordInterval = 500

/** Rows that are tried again at a time. */
const retryRows = 1000

export class ClusterRelay implements ProducerEvents, RowTaker {
  readonly #parts: ClusterRelayParts
  readonly #cluster: string
  readonly #producer: Producer
  readonly #rows: RowReader
  readonly #progress: Progress
  readonly #refusals: Refusals
  readonly #trouble: SendingTrouble
  readonly #backoff: Backoff
  #loaded = false
  readonly #room = Shipment.room()
  #shipment = new Shipment(this.#room, false)
  #reading: Reading | null = null
  #recording: Recording | null = null
  readonly #inquiry: TopicInquiry
  #stopping = false

  constructor(parts: ClusterRelayParts) {
    this.#parts = parts
    this.#cluster = parts.access.name
    this.#producer = new Producer(parts.access, parts.settings, this)
    this.#rows = new RowReader(parts.installation)
    this.#progress = new Progress(this.#cluster, parts)
    this.#refusals = new Refusals(this.#cluster, parts.settings.metadataInterval, parts.log)
    this.#trouble = new SendingTrouble(this.#cluster, this.#progress, parts)
    this.#backoff = new Backoff(parts.settings.retry.min, parts.settings.retry.max)
    this.#inquiry = new TopicInquiry(
      (topic) => this.#producer.learn(topic),
      (error) => this.trouble(error),
      this.#backoff,
    )
  }

  get access(): ClusterAccess {
    return this.#parts.access
  }

  /** Whether something that waits is to be tried again. */
  get retryIsDue(): boolean {
    return this.#loaded && this.#refusals.places.due().length > 0
  }

  /** Whether anything waits that will be tried again. */
  get waits(): boolean {
    return this.#refusals.places.any
  }

  /** Reads what waits, which has to be known before anything is sent. */
  async load(): Promise<void> {
    if (this.#loaded) return
    for (const place of await this.#progress.places()) this.#refusals.places.add(place)
    this.#loaded = true
  }

  /** @returns whether it is finished; not if it was stopped  @throws LeaseLost, PostgreSQL's error */
  async send(batch: Batch): Promise<boolean> {
    failpoint('outbound.after-batch')
    await this.load()
    let from = BigInt(batch.last_id)
    while (!this.#stopping) {
      await this.#inquiry.settled()
      this.#shipment = new Shipment(this.#room, false)
      const sql = batchQuery(this.#cluster, batch, String(from))
      const whole = await this.#ship(sql, () => this.#record(from))
      from = this.#shipment.lastId ?? from
      if (whole) return true
    }
    return false
  }

  /** Tries again what waits, where its time has come. */
  async retry(): Promise<void> {
    const { places } = this.#refusals
    for (const place of places.due()) {
      if (this.#stopping) return
      places.release(place)
      this.#shipment = new Shipment(this.#room, true)
      await this.#inquiry.ask(place.topic)
      if (places.hasTopic(place.topic)) {
        places.add(place)
        continue
      }
      const rows = waitingQuery(this.#cluster, placeCondition(place), retryRows)
      const whole = await this.#ship(rows, () => this.#recordRetried())
      const left = await this.#progress.anyOf(place)
      if (!left && whole) places.forget(place)
      else if (left) places.goOn(place)
    }
  }

  /** What is in hand is finished, unless Kafka is away. */
  async end(): Promise<void> {
    this.#stop()
    if (this.#trouble.present) await this.#producer.close()
    await this.#producer.untilIdle()
  }

  /** Afterwards, whatever is still on its way is given up. */
  async close(): Promise<void> {
    this.#stop()
    await this.#producer.close()
    this.#trouble.forget()
  }

  #stop(): void {
    this.#stopping = true
    this.#inquiry.stop()
    this.#reading?.abandon()
  }

  // Reading

  get ready(): boolean {
    return this.#producer.hasRoom && this.#shipment.hasRoom && !this.#inquiry.isUnderWay
  }

  async untilReady(): Promise<void> {
    await this.#inquiry.settled()
    if (this.#shipment.parkedEnough) await this.#recording?.now()
    const shipment = this.#shipment
    await this.#producer.untilRoom(() => shipment.hasRoom || shipment.parkedEnough)
    if (this.#stopping) this.#reading?.abandon()
  }

  take(bytes: Buffer): boolean {
    const row = this.#rows.read(bytes)
    if (row === null) return true
    const { topic, partition } = row
    if (this.#refusals.holds(row, this.#shipment)) return true
    if (!this.#producer.knows(topic)) {
      void this.#inquiry.ask(topic)
      return false
    }
    failpoint('outbound.before-send')
    this.#producer.append(topic, partition, row, this.#shipment.add(row))
    return true
  }

  /** Reads and sends, and records how far it is. @returns whether all of it is sent or waits */
  async #ship(sql: string, record: () => Promise<void>): Promise<boolean> {
    const { sessions, lease } = this.#parts
    const session = await sessions.acquire(this)
    const recording = new Recording(record, recordInterval, () => this.#reading?.abandon())
    this.#recording = recording
    let whole = false
    try {
      await session.cleanFor(null)
      lease.check()
      this.#reading = new Reading(session, sql, this)
      if (this.#stopping) this.#reading.abandon()
      whole = await this.#reading.whole()
    } catch (error) {
      await session.rollback()
      throw error
    } finally {
      this.#reading = null
      sessions.release(session)
      recording.stopTimer()
    }
    await this.#producer.untilIdle()
    await recording.settled()
    // where everything was sent, the statement that finishes the batch says so
    if (!whole || !this.#producer.idle || this.#shipment.hasToTell) await recording.now()
    recording.check()
    return whole && this.#producer.idle
  }

  async #record(from: bigint): Promise<void> {
    const last = this.#shipment.lastId
    if (last !== null) await this.#progress.record(last > from ? last : from, this.#shipment.takeParked())
  }

  async #recordRetried(): Promise<void> {
    const sent = this.#shipment.takeSent()
    const parked = this.#shipment.takeParked()
    if (sent.length > 0 || parked.length > 0) await this.#progress.recordRetried(sent, parked)
  }

  // What becomes of what was handed to the producer

  maySend(): boolean {
    return this.#parts.lease.fresh
  }

  acknowledged(tickets: number[]): void {
    failpoint('outbound.after-acknowledged')
    this.#shipment.written(tickets)
  }

  refused(queue: PartitionQueue, record: OutgoingRecord, ticket: number, error: MillraceError): void {
    this.#refusals.refuse(queue, record, ticket, error, this.#shipment)
  }

  topicRefused(topic: string, error: MillraceError): void {
    this.#refusals.refuseTopic(topic, error)
  }

  mustWait(queue: PartitionQueue, record: OutgoingRecord, ticket: number): boolean {
    return this.#refusals.mustWait(queue, record, ticket, this.#shipment)
  }

  withheld(topic: string, tickets: number[]): void {
    this.#refusals.withhold(topic, tickets, this.#shipment)
  }

  trouble(error: MillraceError | null): void {
    if (error) this.#trouble.begin(error)
    else if (this.#trouble.end()) this.#backoff.reset()
  }
}
