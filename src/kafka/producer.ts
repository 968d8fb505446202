// Sends records so that none is lost and none overtakes another of its partition: every in-sync replica has to have a
// batch before it counts as written, one batch of a partition is under way at a time, and it is sent again until the
// broker has either written or refused it. Partitions do not wait for each other.

import { MillraceError } from '../errors.ts'
import { type ClusterAccess, kafkaError } from './access.ts'
import { Backlog } from './backlog.ts'
import type { OutgoingRecord } from './batch-writer.ts'
import { Brokers } from './brokers.ts'
import { BufferShelf } from './buffer-shelf.ts'
import { Dispatch } from './dispatch.ts'
import { PartitionQueue } from './partition-queue.ts'
import type { ProducerEvents, ProducerSettings } from './producer-events.ts'
import { Settlement } from './settlement.ts'
import { TargetTopics } from './target-topics.ts'
import type { Transactions } from './transactions.ts'

/** Bytes by which the last record of a batch may exceed its size without another piece of memory. */
const slack = 16 * 1024

/** What a full batch of small records holds beside them, as a part of its size. */
const ticketShare = 1 / 8

/** So that small pieces are kept for later, too, while as much as may be is in use. */
const spare = 1.25

export class Producer {
  readonly #access: ClusterAccess
  readonly #settings: ProducerSettings
  readonly #events: ProducerEvents
  readonly #brokers: Brokers
  readonly #topics: TargetTopics
  readonly #backlog: Backlog
  readonly #settlement: Settlement
  readonly #dispatch: Dispatch
  #closed = false

  /** @param transactions that what it sends is part of; somebody else begins and commits them */
  constructor(
    access: ClusterAccess,
    settings: ProducerSettings,
    events: ProducerEvents,
    transactions: Transactions | null = null,
  ) {
    const brokers = new Brokers(access)
    const fullBatch = Math.ceil(settings.batchSize * (1 + ticketShare)) + slack
    const shelf = new BufferShelf(fullBatch, settings.buffer * spare)
    const topics = new TargetTopics(access, brokers, shelf, (queue) => this.#move(queue))
    const backlog = new Backlog(settings.buffer)
    const lookUp = (topic: string) => this.#lookUp(topic)
    const shared = { settings, events, topics, backlog, lookUp }
    const settlement = new Settlement({ ...shared, access, transactional: transactions !== null })
    this.#access = access
    this.#settings = settings
    this.#events = events
    this.#brokers = brokers
    this.#topics = topics
    this.#backlog = backlog
    this.#settlement = settlement
    this.#dispatch = new Dispatch({ ...shared, transactions, brokers, settlement })
  }

  get hasRoom(): boolean {
    return this.#backlog.hasRoom
  }

  get idle(): boolean {
    return this.#backlog.isEmpty
  }

  /** When there is room for more and `also` holds, or the producer is closed. */
  untilRoom(also: () => boolean): Promise<void> {
    return this.#backlog.untilRoom(also)
  }

  /** When everything that was appended is written or refused, or the producer is closed. */
  untilIdle(): Promise<void> {
    return this.#backlog.untilEmpty()
  }

  knows(topic: string): boolean {
    return this.#topics.knows(topic)
  }

  /** How the replicas of a topic that is known are: how many in sync, and whether all of them. */
  healthOf(topic: string): { inSync: number; complete: boolean } {
    return this.#topics.healthOf(topic)
  }

  /** Looks the topic up. Where it cannot be written to, that comes as an event. @throws MillraceError kafka-unreachable, ... */
  async learn(topic: string): Promise<void> {
    const error = await this.#topics.learn(topic)
    if (error) this.#settlement.refuseTopic(topic, error)
  }

  /**
   * @param topic that is known  @param partition null: the key decides, as with the Java client
   * @param record of no more than 95 MB: a broker would close the connection without a word
   */
  append(topic: string, partition: number | null, record: OutgoingRecord, ticket: number): void {
    const queue = this.#topics.queueFor(topic, partition, record.key)
    if (!queue) {
      const nowhere = new PartitionQueue(topic, partition ?? 0)
      const facts = { topic, partition, count: this.#topics.countOf(topic), cluster: this.#access.name }
      this.#events.refused(nowhere, record, ticket, new MillraceError('target-partition-missing', facts))
      return
    }
    const { bytes, full } = queue.append(record, ticket, this.#settings.batchSize, performance.now())
    if (full && partition === null && !record.key) this.#topics.turn(topic)
    this.#backlog.add(queue, bytes)
    this.#dispatch.soon()
  }

  /** What is not written yet is given up. Waits for no broker. */
  close(): void {
    this.#closed = true
    this.#dispatch.close()
    this.#brokers.close()
    this.#backlog.end()
    this.#topics.close()
  }

  /** Without being waited for. */
  #lookUp(topic: string): void {
    this.learn(topic).then(
      () => this.#dispatch.soon(),
      (error) => {
        if (!this.#closed) this.#events.trouble(kafkaError(error, this.#access))
      },
    )
  }

  /** The partition is not there any more: what it holds goes where it would go now. */
  #move(queue: PartitionQueue): void {
    for (const batch of this.#settlement.abandon(queue)) {
      for (const [record, ticket] of batch.entries()) {
        const chosen = this.#events.choseItsPartition(ticket) ? queue.partition : null
        this.append(queue.topic, chosen, record, ticket)
      }
      batch.abandon()
    }
    // what asked for this very partition has no place now, and it may have been all that there was
    this.#backlog.wake()
  }
}
