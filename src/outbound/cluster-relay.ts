// Sends what the outbox has for one cluster, a batch after the other. A batch is finished when each of its rows is written
// by all in-sync replicas, or waits and is stored as waiting; only then comes the next one.

import type { MillraceError } from '../errors.ts'
import { failpoint } from '../failpoint.ts'
import type { ClusterAccess } from '../kafka/access.ts'
import { Producer } from '../kafka/producer.ts'
import type { ProducerSettings } from '../kafka/producer-events.ts'
import type { Logger } from '../log.ts'
import { Backoff } from '../pipeline/backoff.ts'
import type { Outages } from '../pipeline/outage.ts'
import type { SessionPool } from '../postgres/session-pool.ts'
import type { SharedSession } from '../postgres/shared-session.ts'
import type { Delivery } from './delivery.ts'
import { ExactlyOnce } from './exactly-once.ts'
import { positionTopicName } from './kafka-position.ts'
import type { Lease } from './lease.ts'
import type { RelayMeter } from './meter.ts'
import { batchQuery, waitingQuery } from './outbox-query.ts'
import { OutboxReader } from './outbox-reader.ts'
import { RowReader } from './outbox-row.ts'
import { Outcomes } from './outcomes.ts'
import { Progress } from './progress.ts'
import type { RowTaker } from './reading.ts'
import { Recording } from './recording.ts'
import { Refusals } from './refusals.ts'
import { SendingTrouble } from './sending-trouble.ts'
import { Shipment } from './shipment.ts'
import { Takeover } from './takeover.ts'
import { TopicInquiry } from './topic-inquiry.ts'
import { placeCondition } from './waiting.ts'

export interface ClusterRelayParts {
  access: ClusterAccess
  delivery: Delivery
  lease: Lease
  installation: string
  shared: SharedSession
  sessions: SessionPool
  settings: ProducerSettings
  outages: Outages
  /** Whether what the cluster refuses becomes a dead letter. */
  buries: (cluster: string) => boolean
  meter: RelayMeter
  log: Logger
}

export interface Batch {
  [column: string]: unknown
  sent: string
  batch: string
  last_id: string
  segments: number[]
  number: string
  /** Null: sent at least once. */
  token: string | null
}

/** Milliseconds between two times that the position is written within a batch. */
const recordInterval = 500

/** Milliseconds for which what waits is tried again while others may have something to send. */
const retryTime = 50

/** Rows that are tried again at a time. */
const retryRows = 1000

export class ClusterRelay implements RowTaker {
  readonly #parts: ClusterRelayParts
  readonly #cluster: string
  /** Null: at least once. */
  readonly #exactly: ExactlyOnce | null
  readonly #takeover: Takeover
  readonly #outcomes: Outcomes
  readonly #producer: Producer
  readonly #rows: RowReader
  readonly #progress: Progress
  readonly #refusals: Refusals
  readonly #trouble: SendingTrouble
  readonly #room = Shipment.room()
  readonly #reader: OutboxReader
  #recording: Recording | null = null
  readonly #inquiry: TopicInquiry
  #stopping = false

  constructor(parts: ClusterRelayParts) {
    const { access, delivery, installation, settings, log } = parts
    const { retry } = settings
    const cluster = access.name
    this.#parts = parts
    this.#cluster = cluster
    const progress = new Progress(cluster, parts)
    const backoff = new Backoff(retry.min, retry.max)
    this.#progress = progress
    this.#rows = new RowReader(installation)
    this.#reader = new OutboxReader(parts, this)
    this.#refusals = new Refusals(cluster, settings.metadataInterval, () => parts.buries(cluster), log)
    this.#trouble = new SendingTrouble(cluster, progress, parts)
    this.#outcomes = new Outcomes(new Shipment(this.#room, false), {
      ...{ cluster, lease: parts.lease, refusals: this.#refusals, trouble: this.#trouble },
      meter: parts.meter.of(cluster),
      positionTopic: positionTopicName(installation, cluster),
      onTrouble: () => this.#stopping && this.#giveUp(),
      onRecovery: () => backoff.reset(),
      onBroken: () => {
        this.#reader.abandon()
        void this.#giveUp()
      },
    })
    const exactly = new ExactlyOnce({ access, installation, progress, retry }, this.#outcomes)
    this.#exactly = delivery === 'exactly_once' ? exactly : null
    this.#producer = new Producer(access, settings, this.#outcomes, this.#exactly?.transactions)
    const onTrouble = (error: MillraceError | null) => this.#outcomes.trouble(error)
    const producer = this.#exactly && this.#producer
    this.#takeover = new Takeover({ progress, exactly, producer, backoff, onTrouble })
    this.#inquiry = new TopicInquiry((topic) => this.#producer.learn(topic), onTrouble, backoff)
  }

  get access(): ClusterAccess {
    return this.#parts.access
  }

  get delivery(): Delivery {
    return this.#parts.delivery
  }

  /** Whether it may send. */
  get begun(): boolean {
    return this.#outcomes.begun
  }

  /** Exactly once: the id up to which Kafka has committed the last batch. */
  get committedId(): string | null {
    return this.#exactly?.committedId ?? null
  }

  /** Whether something that waits is to be tried again. */
  get retryIsDue(): boolean {
    return this.begun && this.#refusals.places.anyDue
  }

  /** Whether anything waits that will be tried again. */
  get waits(): boolean {
    return this.#refusals.places.any
  }

  /**
   * Finds out what has to be known before anything is sent: what waits, and, where Kafka was told with the messages, how
   * far they are sent. It takes as long as it takes. @throws LeaseLost, PostgreSQL's error
   */
  async begin(): Promise<void> {
    if (!(await this.#takeover.done())) return
    for (const place of await this.#progress.places()) this.#refusals.places.add(place)
    this.#outcomes.begun = true
  }

  /** @returns whether it is finished; not if it was stopped  @throws LeaseLost, PostgreSQL's error */
  async send(batch: Batch): Promise<boolean> {
    failpoint('outbound.after-batch')
    this.#exactly?.take(batch)
    let from = BigInt(batch.last_id)
    while (!this.#stopping) {
      await this.#inquiry.settled()
      this.#outcomes.shipment = new Shipment(this.#room, false)
      const sql = batchQuery(this.#cluster, batch, String(from))
      const whole = await this.#ship(sql, (last) => this.#record(from, last))
      from = this.#outcomes.shipment.lastId ?? from
      if (whole) return true
    }
    return false
  }

  /** Tries again some of what waits, where its time has come. The rest has its turn after another batch. */
  async retry(): Promise<void> {
    const { places } = this.#refusals
    const end = performance.now() + retryTime
    const known = new Set<string>()
    for (const place of places.due()) {
      if (this.#stopping || performance.now() >= end) return
      places.release(place)
      this.#outcomes.shipment = new Shipment(this.#room, true)
      if (!known.has(place.topic)) await this.#inquiry.ask(place.topic)
      known.add(place.topic)
      if (places.hasTopic(place.topic)) {
        places.add(place)
        const reason = this.#refusals.reasonToBury(place.topic)
        if (reason) await this.#progress.bury(place.topic, reason)
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
    if (this.#trouble.present || !this.begun) await this.#giveUp()
    await this.#producer.untilIdle()
  }

  /** Afterwards, whatever is still on its way is given up. */
  async close(): Promise<void> {
    this.#stop()
    await this.#giveUp()
    this.#trouble.forget()
  }

  async #giveUp(): Promise<void> {
    this.#takeover.close()
    await this.#producer.close()
  }

  #stop(): void {
    this.#stopping = true
    this.#takeover.stop()
    this.#inquiry.stop()
    this.#reader.stop()
  }

  // Reading

  get ready(): boolean {
    const held = this.#inquiry.isUnderWay || this.#exactly?.isConcluding
    return this.#producer.hasRoom && this.#outcomes.shipment.hasRoom && !held
  }

  async untilReady(): Promise<void> {
    await this.#inquiry.settled()
    if (this.#exactly?.isConcluding) await this.#recording?.settled()
    if (this.#outcomes.shipment.parkedEnough) await this.#recording?.now()
    const shipment = this.#outcomes.shipment
    await this.#producer.untilRoom(() => shipment.hasRoom || shipment.parkedEnough)
    if (this.#stopping) this.#reader.abandon()
  }

  take(bytes: Buffer): boolean {
    if (this.#exactly?.isConcluding) return false
    const row = this.#rows.read(bytes)
    if (row === null) return true
    const { topic, partition } = row
    if (this.#refusals.holds(row, this.#outcomes.shipment)) return true
    if (row.tooLarge) {
      this.#refusals.refuseUnread(row, this.#outcomes.shipment)
      return true
    }
    if (!this.#producer.knows(topic)) {
      void this.#inquiry.ask(topic)
      return false
    }
    failpoint('outbound.before-send')
    this.#exactly?.added()
    this.#producer.append(topic, partition, row, this.#outcomes.shipment.add(row))
    return true
  }

  /** Reads and sends, and records how far it is. @returns whether all of it is sent or waits */
  async #ship(sql: string, record: (last: boolean) => Promise<void>): Promise<boolean> {
    let whole = false
    const recording = new Recording(
      () => record(whole),
      recordInterval,
      () => this.#reader.abandon(),
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
    if (this.#exactly || !whole || !this.#producer.idle || this.#outcomes.shipment.hasToTell)
      await recording.now()
    this.#outcomes.check()
    // what was not committed when it had to end was not sent
    if (!this.#stopping || !this.#exactly) recording.check()
    return whole && this.#producer.idle && !recording.hasFailed
  }

  async #record(from: bigint, last: boolean): Promise<void> {
    if (this.#exactly) return this.#exactly.commit(this.#producer, this.#outcomes.shipment, from, last)
    const { lastId } = this.#outcomes.shipment
    if (lastId === null) return
    await this.#progress.record(lastId > from ? lastId : from, this.#outcomes.shipment.takeParked())
  }

  async #recordRetried(): Promise<void> {
    if (this.#exactly) return this.#exactly.commitRetried(this.#producer, this.#outcomes.shipment)
    const sent = this.#outcomes.shipment.takeSent()
    const parked = this.#outcomes.shipment.takeParked()
    if (sent.length > 0 || parked.length > 0) await this.#progress.recordRetried(sent, parked)
  }
}
