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
import type { GivenUp } from './given-up.ts'
import { positionTopicName } from './kafka-position.ts'
import { LastPatience } from './last-patience.ts'
import type { Lease } from './lease.ts'
import type { RelayMeter } from './meter.ts'
import { batchQuery } from './outbox-query.ts'
import { Outcomes } from './outcomes.ts'
import { Progress } from './progress.ts'
import { Refusals } from './refusals.ts'
import { Retries } from './retries.ts'
import { Sending } from './sending.ts'
import { SendingTrouble } from './sending-trouble.ts'
import type { Shipment } from './shipment.ts'
import { Takeover } from './takeover.ts'
import { TopicInquiry } from './topic-inquiry.ts'

export interface ClusterRelayParts {
  access: ClusterAccess
  delivery: Delivery
  lease: Lease
  installation: string
  shared: SharedSession
  sessions: SessionPool
  settings: ProducerSettings
  outages: Outages
  /** Milliseconds. */
  leaseTimeout: number
  /** What whoever sent to this cluster before has given up. */
  givenUp: GivenUp
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

export class ClusterRelay {
  readonly #parts: ClusterRelayParts
  readonly #cluster: string
  /** Null: at least once. */
  readonly #exactly: ExactlyOnce | null
  readonly #takeover: Takeover
  readonly #outcomes: Outcomes
  readonly #producer: Producer
  readonly #progress: Progress
  readonly #refusals: Refusals
  readonly #trouble: SendingTrouble
  readonly #inquiry: TopicInquiry
  readonly #sending: Sending
  readonly #retries: Retries
  readonly #patience: LastPatience
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
    this.#patience = new LastPatience(cluster, log, () => this.#giveUp())
    const buries = () => parts.buries(cluster)
    this.#refusals = new Refusals(cluster, settings.metadataInterval, parts.givenUp, buries, log)
    this.#trouble = new SendingTrouble(cluster, progress, parts)
    this.#outcomes = new Outcomes({
      ...{ cluster, lease: parts.lease, refusals: this.#refusals, trouble: this.#trouble },
      meter: parts.meter.of(cluster),
      positionTopic: positionTopicName(installation, cluster),
      onAnswer: () => this.#patience.renew(),
      onTrouble: () => this.#stopping && this.#giveUp(),
      onRecovery: () => backoff.reset(),
      onBroken: () => {
        this.#sending.abandon()
        this.#giveUp()
      },
    })
    const patience = Math.max(settings.partitionPatience, parts.leaseTimeout)
    const exactly = new ExactlyOnce({ access, installation, progress, retry, patience }, this.#outcomes)
    this.#exactly = delivery === 'exactly_once' ? exactly : null
    this.#producer = new Producer(access, settings, this.#outcomes, this.#exactly?.transactions)
    const onTrouble = (error: MillraceError | null) => this.#outcomes.trouble(error)
    const producer = this.#exactly && this.#producer
    this.#takeover = new Takeover({ progress, exactly, producer, backoff, onTrouble })
    this.#inquiry = new TopicInquiry((topic) => this.#producer.learn(topic), onTrouble, backoff)
    const shared = { refusals: this.#refusals, inquiry: this.#inquiry }
    const towards = { producer: this.#producer, outcomes: this.#outcomes, exactly: this.#exactly }
    this.#sending = new Sending({ ...parts, ...shared, ...towards })
    const record = (shipment: Shipment) => this.#recordRetried(shipment)
    const healthOf = this.#exactly && ((topic: string) => this.#producer.healthOf(topic))
    this.#retries = new Retries({ ...shared, cluster, progress, sending: this.#sending, healthOf, record })
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
    if (this.#exactly) this.#refusals.takeOver()
    for (const place of await this.#progress.places()) this.#refusals.places.add(place)
    this.#outcomes.begun = true
    if (this.#exactly) await this.#announce(this.#exactly)
  }

  /** @returns whether it is finished; not if it was stopped  @throws LeaseLost, PostgreSQL's error */
  async send(batch: Batch): Promise<boolean> {
    failpoint('outbound.after-batch')
    this.#exactly?.take(batch)
    let from = BigInt(batch.last_id)
    while (!this.#stopping) {
      await this.#inquiry.settled()
      const begun = from
      const whole = await this.#sending.send({
        sql: batchQuery(this.#cluster, batch, String(begun)),
        keepSent: false,
        record: (shipment, last) => this.#record(shipment, begun, last),
      })
      from = this.#outcomes.shipment.lastId ?? from
      if (whole) return true
    }
    return false
  }

  /** Tries again some of what waits, where its time has come. The rest has its turn after another batch. */
  retry(): Promise<void> {
    return this.#retries.some()
  }

  /** What is in hand is finished, unless Kafka is away or silent. */
  async end(): Promise<void> {
    this.#stop()
    if (this.#trouble.present || !this.begun) this.#giveUp()
    else this.#patience.begin()
    await this.#producer.untilIdle()
  }

  /** Afterwards, whatever is still on its way is given up. */
  close(): void {
    this.#stop()
    this.#giveUp()
    this.#trouble.forget()
  }

  #giveUp(): void {
    this.#patience.end()
    this.#takeover.close()
    this.#producer.close()
  }

  #stop(): void {
    this.#stopping = true
    this.#takeover.stop()
    this.#inquiry.stop()
    this.#sending.stop()
    this.#retries.stop()
  }

  /** What had to end before it was over is done by whoever comes next. */
  async #announce(exactly: ExactlyOnce): Promise<void> {
    try {
      await exactly.announce(this.#producer)
      this.#outcomes.check()
    } catch (error) {
      if (!this.#stopping) throw error
    }
  }

  async #record(shipment: Shipment, from: bigint, last: boolean): Promise<void> {
    if (this.#exactly) return this.#exactly.commit(this.#producer, shipment, from, last)
    const { lastId } = shipment
    if (lastId === null) return
    await this.#progress.record(lastId > from ? lastId : from, shipment.takeParked())
  }

  async #recordRetried(shipment: Shipment): Promise<void> {
    if (this.#exactly) return this.#exactly.commitRetried(this.#producer, shipment)
    const sent = shipment.takeSent()
    const parked = shipment.takeParked()
    if (sent.length > 0 || parked.length > 0) await this.#progress.recordRetried(sent, parked)
  }
}
