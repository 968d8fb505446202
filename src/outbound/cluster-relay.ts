// Sends what the outbox has for one cluster, a batch after the other. A batch is finished when each of its rows is written
// by all in-sync replicas, or waits and is stored as waiting; only then comes the next one.

import { type MillraceError, reasonOf } from '../errors.ts'
import { failpoint } from '../failpoint.ts'
import type { ClusterAccess } from '../kafka/access.ts'
import type { OutgoingRecord } from '../kafka/batch-writer.ts'
import type { PartitionQueue } from '../kafka/partition-queue.ts'
import { Producer, type ProducerEvents, type ProducerSettings } from '../kafka/producer.ts'
import type { Logger } from '../log.ts'
import { Backoff } from '../pipeline/backoff.ts'
import { type Outages, outageOf } from '../pipeline/outage.ts'
import type { SessionPool } from '../postgres/session-pool.ts'
import type { SharedSession } from '../postgres/shared-session.ts'
import { type Lease, LeaseLost } from './lease.ts'
import { batchQuery, waitingQuery } from './outbox-query.ts'
import { RowReader } from './outbox-row.ts'
import { Reading, type RowTaker } from './reading.ts'
import { type Parked, Shipment } from './shipment.ts'
import { placeCondition, placesQuery, type WaitingPlace, WaitingPlaces } from './waiting.ts'

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
  readonly #places: WaitingPlaces
  readonly #backoff: Backoff
  #loaded = false
  readonly #room = Shipment.room()
  #shipment = new Shipment(this.#room, false)
  #reading: Reading | null = null
  #learning: Promise<void> | null = null
  /** What each topic that waits as a whole met. */
  readonly #topicErrors = new Map<string, MillraceError>()
  #trouble: string | null = null
  #stopping = false

  constructor(parts: ClusterRelayParts) {
    this.#parts = parts
    this.#cluster = parts.access.name
    this.#producer = new Producer(parts.access, parts.settings, this)
    this.#rows = new RowReader(parts.installation)
    this.#places = new WaitingPlaces(parts.settings.metadataInterval, 60 * parts.settings.metadataInterval)
    this.#backoff = new Backoff(parts.settings.retry.min, parts.settings.retry.max)
  }

  get access(): ClusterAccess {
    return this.#parts.access
  }

  /** Whether something that waits is to be tried again. */
  get retryIsDue(): boolean {
    return this.#loaded && this.#places.due().length > 0
  }

  /** Whether anything waits that will be tried again. */
  get waits(): boolean {
    return this.#places.any
  }

  /** Reads what waits, which has to be known before anything is sent. */
  async load(): Promise<void> {
    if (this.#loaded) return
    const { shared } = this.#parts
    const places = await shared.query<WaitingPlace & Record<string, unknown>>(placesQuery, [this.#cluster])
    for (const place of places) this.#places.add(place)
    this.#loaded = true
  }

  /** @returns whether it is finished; not if it was stopped  @throws LeaseLost, PostgreSQL's error */
  async send(batch: Batch): Promise<boolean> {
    failpoint('outbound.after-batch')
    await this.load()
    let from = BigInt(batch.last_id)
    while (!this.#stopping) {
      await this.#learning
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
    for (const place of this.#places.due()) {
      if (this.#stopping) return
      this.#places.release(place)
      this.#shipment = new Shipment(this.#room, true)
      await this.#learn(place.topic)
      if (this.#places.hasTopic(place.topic)) {
        this.#places.add(place)
        continue
      }
      const rows = waitingQuery(this.#cluster, placeCondition(place), retryRows)
      const whole = await this.#ship(rows, () => this.#recordRetried())
      const [left] = await this.#parts.shared.query<{ any: boolean }>(
        `SELECT EXISTS (SELECT FROM millrace.outbox_waiting WHERE cluster = $1 AND ${placeCondition(place)}) AS any`,
        [this.#cluster],
      )
      if (!left?.any && whole) this.#places.forget(place)
      else if (left?.any) this.#places.goOn(place)
    }
  }

  /** What is in hand is finished, unless Kafka is away. */
  async end(): Promise<void> {
    this.#stopping = true
    this.#reading?.abandon()
    if (this.#trouble !== null) await this.#producer.close()
    await this.#producer.untilIdle()
  }

  /** Afterwards, whatever is still on its way is given up. */
  async close(): Promise<void> {
    this.#stopping = true
    this.#reading?.abandon()
    await this.#producer.close()
    this.#parts.outages.end(this.#who)
  }

  get #who(): string {
    return `outbox for ${this.#cluster}`
  }

  // Reading

  get ready(): boolean {
    return this.#producer.hasRoom && this.#shipment.hasRoom && this.#learning === null
  }

  async untilReady(): Promise<void> {
    await this.#learning
    if (this.#shipment.parkedEnough) await this.#recordNow()
    const shipment = this.#shipment
    await this.#producer.untilRoom(() => shipment.hasRoom || shipment.parkedEnough)
    if (this.#stopping) this.#reading?.abandon()
  }

  take(bytes: Buffer): boolean {
    const row = this.#rows.read(bytes)
    if (row === null) return true
    const { topic, key, partition } = row
    if (this.#places.any && this.#places.has(topic, key, partition)) {
      const wholeTopic = this.#places.hasTopic(topic)
      const error = wholeTopic ? (this.#topicErrors.get(topic) ?? null) : null
      this.#shipment.park(this.#shipment.add(row), wholeTopic, error)
    } else if (this.#producer.knows(topic)) {
      failpoint('outbound.before-send')
      this.#producer.append(topic, partition, row, this.#shipment.add(row))
    } else {
      this.#learning ??= this.#learn(topic).finally(() => {
        this.#learning = null
      })
      return false
    }
    return true
  }

  #recordNow: () => Promise<void> = async () => {}

  /** Reads and sends, and records how far it is. @returns whether all of it is sent or waits */
  async #ship(sql: string, record: () => Promise<void>): Promise<boolean> {
    const { sessions, lease } = this.#parts
    const session = await sessions.acquire(this)
    let whole = false
    let recording = Promise.resolve()
    let failure: unknown = null
    const recordInTurn = () => {
      recording = recording.then(record).catch((error) => {
        failure ??= error
        this.#reading?.abandon()
      })
      return recording
    }
    this.#recordNow = recordInTurn
    const timer = setInterval(recordInTurn, recordInterval)
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
      clearInterval(timer)
    }
    await this.#producer.untilIdle()
    await recording
    // where everything was sent, the statement that finishes the batch says so
    if (!whole || !this.#producer.idle || this.#shipment.hasToTell) await recordInTurn()
    if (failure) throw failure
    return whole && this.#producer.idle
  }

  async #record(from: bigint): Promise<void> {
    const last = this.#shipment.lastId
    if (last === null) return
    const parked = this.#shipment.takeParked()
    await this.#checked('SELECT millrace.record_outbox($1, $2, $3, $4, $5, $6, $7, $8) AS kept', [
      String(last > from ? last : from),
      [...new Set(parked.map(({ xid }) => xid))],
      ...columnsOf(parked),
    ])
  }

  async #recordRetried(): Promise<void> {
    const sent = this.#shipment.takeSent()
    const parked = this.#shipment.takeParked()
    if (sent.length === 0 && parked.length === 0) return
    await this.#checked('SELECT millrace.record_waiting($1, $2, $3, $4, $5, $6, $7) AS kept', [
      sent,
      ...columnsOf(parked),
    ])
  }

  /** @throws LeaseLost */
  async #checked(sql: string, values: unknown[]): Promise<void> {
    const { shared, lease } = this.#parts
    const [row] = await shared.query<{ kept: boolean }>(sql, [this.#cluster, lease.epoch, ...values])
    if (!row?.kept) throw new LeaseLost()
  }

  /** Asks about the topic until there is an answer. Never throws. */
  async #learn(topic: string): Promise<void> {
    while (!this.#stopping) {
      try {
        await this.#producer.learn(topic)
        return
      } catch (error) {
        this.trouble(error as MillraceError)
        const pause = Promise.withResolvers<void>()
        setTimeout(pause.resolve, this.#backoff.next())
        await pause.promise
      }
    }
  }

  // What becomes of what was handed to the producer

  maySend(): boolean {
    return this.#parts.lease.fresh
  }

  acknowledged(tickets: number[]): void {
    failpoint('outbound.after-acknowledged')
    this.#shipment.written(tickets)
  }

  refused(queue: PartitionQueue, { key }: OutgoingRecord, ticket: number, error: MillraceError): void {
    const { topic, partition } = queue
    const id = this.#shipment.idOf(ticket)
    const place = {
      topic,
      wholeTopic: false,
      key: key && Buffer.from(key),
      partition: !key && this.#shipment.choseItsPartition(ticket) ? partition : null,
      id,
    }
    this.#places.add(place)
    this.#shipment.park(ticket, false, error)
    this.#parts.log.warn(
      { err: error, id: String(id), cluster: this.#cluster },
      'a message waits, and its key',
    )
  }

  topicRefused(topic: string, error: MillraceError): void {
    if (!this.#topicErrors.has(topic))
      this.#parts.log.warn({ err: error, topic, cluster: this.#cluster }, 'the messages of a topic wait')
    this.#topicErrors.set(topic, error)
    this.#places.add({ topic, wholeTopic: true, key: null, partition: null, id: null })
  }

  mustWait({ topic, partition }: PartitionQueue, { key }: OutgoingRecord, ticket: number): boolean {
    const chosen = this.#shipment.choseItsPartition(ticket) ? partition : null
    return this.#places.has(topic, key, chosen)
  }

  withheld(topic: string, tickets: number[]): void {
    const wholeTopic = this.#places.hasTopic(topic)
    const error = wholeTopic ? (this.#topicErrors.get(topic) ?? null) : null
    for (const ticket of tickets) this.#shipment.park(ticket, wholeTopic, error)
  }

  trouble(error: MillraceError | null): void {
    const { outages, log } = this.#parts
    if (error === null) {
      if (this.#trouble === null) return
      this.#trouble = null
      this.#backoff.reset()
      const over = outages.end(this.#who)
      if (over.length > 0) log.info({ over }, 'recovered')
      this.#tell(null)
      return
    }
    const outage = outageOf(error, error.code, this.#cluster, this.#who)
    if (outages.begin(outage, this.#who)) log.warn({ err: error, cluster: this.#cluster }, outage.message)
    if (this.#trouble !== error.code) this.#tell(error)
    this.#trouble = error.code
  }

  /** For whoever looks at millrace.outbox_status. */
  #tell(error: MillraceError | null): void {
    const { shared, lease, log } = this.#parts
    shared
      .query(tell, [this.#cluster, lease.epoch, error?.code ?? null, error && reasonOf(error)])
      .catch((cause) => log.debug({ err: cause }, 'the state of the outbox could not be written'))
  }
}

function columnsOf(parked: Parked[]): unknown[] {
  return [
    parked.map(({ id }) => id),
    parked.map(({ wholeTopic }) => wholeTopic),
    parked.map(({ code }) => code),
    parked.map(({ message }) => message),
  ]
}

const tell = `
  UPDATE millrace.outbox_progress
     SET error_code = $3, error_message = $4, error_at = CASE WHEN $3::text IS NOT NULL THEN pg_catalog.clock_timestamp() END
   WHERE cluster = $1 AND epoch = $2`
