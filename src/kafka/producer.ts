// Sends records so that none is lost and none overtakes another of its partition: every in-sync replica has to have a
// batch before it counts as written, one batch of a partition is under way at a time, and it is sent again until the
// broker has either written or refused it. Partitions do not wait for each other.

import { MillraceError } from '../errors.ts'
import { type ClusterAccess, kafkaError } from './access.ts'
import type { OutgoingRecord } from './batch-writer.ts'
import type { BrokerLink } from './broker-link.ts'
import { Brokers, type Identity } from './brokers.ts'
import { BufferShelf } from './buffer-shelf.ts'
import { RefusedTopics } from './coordinator.ts'
import { PartitionQueue, type Pending } from './partition-queue.ts'
import type { ProduceOutcome } from './produce.ts'
import {
  breaksTransaction,
  mayBeWritten,
  notWritable,
  pauseAfter,
  produceFailed,
  produceReason,
  produceVerdict,
} from './produce-errors.ts'
import type { ProducerEvents, ProducerSettings } from './producer-events.ts'
import { Schedule } from './schedule.ts'
import { requestsOf, sendRound } from './send-round.ts'
import { TargetTopics } from './target-topics.ts'
import type { Transactions } from './transactions.ts'
import { Waiters } from './waiters.ts'

/** Requests under way at one broker, each with batches of other partitions. */
const mostRequests = 5

/** Kafka's UNKNOWN_TOPIC_OR_PARTITION: the topic is looked up again. */
const unknownTopic = 3

/** Bytes by which the last record of a batch may exceed its size without another piece of memory. */
const slack = 16 * 1024

export class Producer {
  readonly #access: ClusterAccess
  readonly #settings: ProducerSettings
  readonly #events: ProducerEvents
  readonly #transactions: Transactions | null
  readonly #brokers: Brokers
  readonly #topics: TargetTopics
  readonly #waiters = new Waiters()
  readonly #schedule = new Schedule(() => this.#pump())
  readonly #active = new Set<PartitionQueue>()
  #bytes = 0
  #failures = 0
  #closed = false

  /** @param transactions that what it sends is part of; somebody else begins and commits them */
  constructor(
    access: ClusterAccess,
    settings: ProducerSettings,
    events: ProducerEvents,
    transactions: Transactions | null = null,
  ) {
    this.#access = access
    this.#settings = settings
    this.#events = events
    this.#transactions = transactions
    this.#brokers = new Brokers(access)
    const shelf = new BufferShelf(settings.batchSize + slack, settings.buffer)
    this.#topics = new TargetTopics(access, this.#brokers, shelf, (queue) => this.#move(queue))
  }

  get hasRoom(): boolean {
    return this.#bytes < this.#settings.buffer
  }

  get idle(): boolean {
    return this.#active.size === 0
  }

  /** When there is room for more and `also` holds, or the producer is closed. */
  untilRoom(also: () => boolean): Promise<void> {
    return this.#waiters.until(() => this.#bytes < this.#settings.buffer / 2 && also())
  }

  /** When everything that was appended is written or refused, or the producer is closed. */
  untilIdle(): Promise<void> {
    return this.#waiters.until(() => this.idle)
  }

  knows(topic: string): boolean {
    return this.#topics.knows(topic)
  }

  /** Looks the topic up. Where it cannot be written to, that comes as an event. @throws MillraceError kafka-unreachable, ... */
  async learn(topic: string): Promise<void> {
    const error = await this.#topics.learn(topic)
    if (error) this.#topicRefused(topic, error)
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
    this.#bytes += bytes
    this.#active.add(queue)
    this.#schedule.soon()
  }

  /** What is not written yet is given up. */
  async close(): Promise<void> {
    this.#closed = true
    this.#schedule.end()
    this.#brokers.close()
    this.#waiters.end()
    await this.#topics.close()
  }

  /** Sends what is ready, as far as the brokers have room. */
  #pump(): void {
    const now = performance.now()
    const { linger, retry, metadataInterval } = this.#settings
    const options = { maySend: this.#events.maySend(), linger, pause: retry.min }
    const { ready, leaderless, next } = sendRound(this.#active, options, now)
    for (const queue of leaderless) {
      if (this.#outOfPatience(queue, 'it has no leader')) continue
      this.#lookUpAgain(queue.topic)
    }
    for (const [leader, queues] of ready) {
      for (const { topic } of queues) {
        if (this.#topics.isOld(topic, metadataInterval, now)) this.#lookUpAgain(topic)
      }
      const link = this.#brokers.linkTo(leader)
      for (const together of requestsOf(queues, mostRequests - link.inFlight)) void this.#send(link, together)
    }
    if (next < Infinity) this.#schedule.at(next, now)
  }

  /** Never throws. */
  async #send(link: BrokerLink, queues: PartitionQueue[]): Promise<void> {
    const pending = new Map(queues.map((queue) => [placeOf(queue), { queue, taken: queue.take() }]))
    try {
      const identity = await (this.#transactions?.include(queues) ?? this.#identityFor(queues, link))
      const batches = await Promise.all(
        [...pending.values()].map(async ({ queue, taken }) => {
          const bytes = await taken.batch.encode(queue.number(taken, identity), this.#settings.compression)
          return { topic: queue.topic, partition: queue.partition, bytes }
        }),
      )
      if (!this.#events.maySend()) throw new MillraceError('lease-expired')
      const outcomes = await link.produce(batches, this.#transactions?.id ?? null)
      if (this.#closed) return
      for (const outcome of outcomes) {
        const place = placeOf(outcome)
        const one = pending.get(place)
        if (one && !one.queue.abandoned) this.#settle(one.queue, one.taken, outcome)
        pending.delete(place)
      }
      if (pending.size > 0) throw new Error('the broker did not answer for every partition')
    } catch (error) {
      if (this.#closed) return
      this.#fail(
        error,
        [...pending.values()].flatMap(({ queue }) => (queue.abandoned ? [] : [queue])),
      )
    }
    this.#waiters.wake()
    this.#schedule.soon()
  }

  async #identityFor(queues: PartitionQueue[], link: BrokerLink): Promise<Identity> {
    for (;;) {
      const identity = await this.#brokers.identityFrom(link)
      if (!queues.some((queue) => queue.hasSpent(identity))) return identity
      await this.#brokers.renewIdentity(identity.producerId)
    }
  }

  /** What came of it is not known, or it was not sent at all. */
  #fail(error: unknown, queues: PartitionQueue[]): void {
    if (error instanceof RefusedTopics) {
      for (const queue of queues) {
        if (error.codes.get(queue.topic) === unknownTopic) this.#again(queue, false)
        else queue.again(0, false)
      }
      for (const [topic, code] of error.codes) {
        if (code !== unknownTopic) this.#topicRefused(topic, notWritable(topic, this.#access.name))
      }
      return
    }
    const known = kafkaError(error, this.#access)
    if (known.code === 'transaction-lost') {
      this.#events.broken(known)
      return
    }
    this.#failures++
    if (known.code !== 'lease-expired') this.#events.trouble(known)
    for (const queue of queues) this.#again(queue, known.code !== 'lease-expired')
  }

  #settle(queue: PartitionQueue, pending: Pending, { errorCode, message }: ProduceOutcome): void {
    const { batch } = pending
    const verdict = produceVerdict(errorCode)
    if (this.#transactions && breaksTransaction(verdict, pending.uncertain)) {
      const facts = { cluster: this.#access.name, reason: produceReason(errorCode, message) }
      this.#events.broken(new MillraceError('transaction-lost', facts))
      return
    }
    switch (verdict) {
      case 'written':
        queue.done()
        this.#leave(queue, batch.size)
        this.#failures = 0
        this.#events.trouble(null)
        this.#events.acknowledged(batch.tickets, batch.size)
        batch.release()
        return
      case 'message':
        this.#leave(queue, queue.split())
        if (batch.count === 1) {
          this.#refuse(queue, batch.record(0), batch.tickets[0] as number, errorCode, message)
        }
        return
      case 'topic':
        queue.takeBack()
        this.#topicRefused(queue.topic, notWritable(queue.topic, this.#access.name))
        return
      case 'sender':
        // others from here on; those of other partitions still count
        queue.forgetNumbers()
        this.#again(queue, false)
        return
      case 'retry':
        this.#failures++
        this.#again(queue, mayBeWritten(errorCode))
        if (this.#outOfPatience(queue, produceReason(errorCode, message))) return
        this.#events.trouble(produceFailed(queue, this.#access.name, errorCode, message))
    }
  }

  /** A partition that takes nothing for long holds up its topic, and nothing else. */
  #outOfPatience(queue: PartitionQueue, reason: string): boolean {
    const now = performance.now()
    queue.failingSince ??= now
    const patience = this.#settings.partitionPatience
    if (now - queue.failingSince < (queue.givenUp ? patience / 10 : patience)) return false
    queue.failingSince = null
    queue.givenUp = true
    // a repetition of what may be written is better than that nothing flows
    if (!this.#transactions) queue.forgetNumbers()
    this.#events.trouble(null)
    this.#topicRefused(queue.topic, new MillraceError('partition-unavailable', this.#factsOf(queue, reason)))
    return true
  }

  #factsOf({ topic, partition }: PartitionQueue, reason: string) {
    return { topic, partition, cluster: this.#access.name, reason }
  }

  /** The partition is not there any more: what it holds goes where it would go now. */
  #move(queue: PartitionQueue): void {
    if (this.#transactions && queue.uncertain) {
      this.#events.broken(
        new MillraceError('transaction-lost', this.#factsOf(queue, 'the partition is gone')),
      )
      return
    }
    this.#active.delete(queue)
    for (const batch of queue.abandon()) {
      this.#bytes -= batch.size
      for (const [i, ticket] of batch.tickets.entries()) {
        const chosen = this.#events.choseItsPartition(ticket) ? queue.partition : null
        this.append(queue.topic, chosen, batch.record(i), ticket)
      }
    }
  }

  /** After a pause that grows, to whoever leads the partition then. */
  #again(queue: PartitionQueue, written: boolean): void {
    queue.again(performance.now() + pauseAfter(this.#failures, this.#settings.retry), written)
    this.#lookUpAgain(queue.topic)
  }

  #lookUpAgain(topic: string): void {
    this.learn(topic).then(
      () => this.#schedule.soon(),
      (error) => {
        if (!this.#closed) this.#events.trouble(kafkaError(error, this.#access))
      },
    )
  }

  #refuse(
    queue: PartitionQueue,
    record: OutgoingRecord,
    ticket: number,
    code: number,
    message: string | null,
  ): void {
    const facts = { topic: queue.topic, partition: queue.partition, reason: produceReason(code, message) }
    this.#events.refused(queue, record, ticket, new MillraceError('message-refused', facts))
    this.#sift(queue)
  }

  #topicRefused(topic: string, error: MillraceError): void {
    const queues = this.#topics.giveUp(topic)
    if (this.#transactions && queues.some(({ uncertain }) => uncertain)) {
      const facts = { cluster: this.#access.name, reason: error.message, cause: error }
      this.#events.broken(new MillraceError('transaction-lost', facts))
      return
    }
    this.#events.topicRefused(topic, error)
    // the numbers go on: what was sent may have been written, and a topic that is created again takes any
    for (const queue of queues) this.#sift(queue)
    this.#waiters.wake()
  }

  #sift(queue: PartitionQueue): void {
    const { bytes, tickets } = queue.sift((record, ticket) => this.#events.mustWait(queue, record, ticket))
    if (tickets.length > 0) this.#events.withheld(queue.topic, tickets)
    this.#leave(queue, bytes)
  }

  #leave(queue: PartitionQueue, bytes: number): void {
    this.#bytes -= bytes
    if (queue.empty) this.#active.delete(queue)
  }
}

function placeOf({ topic, partition }: { topic: string; partition: number }): string {
  return `${topic}/${partition}`
}
