// What becomes of a batch. It is written; or sent again, for as long as that may help; or halved until the one message
// that the broker does not take stands alone; or it waits with its whole topic. Who is behind a message that waits is
// asked for each of them, so nothing overtakes. In a transaction, what may have been written cannot be taken back: where
// that would be needed the transaction is broken.

import { MillraceError } from '../errors.ts'
import { type ClusterAccess, kafkaError } from './access.ts'
import type { Backlog } from './backlog.ts'
import type { BatchWriter } from './batch-writer.ts'
import { RefusedTopics } from './coordinator.ts'
import type { PartitionQueue, Pending } from './partition-queue.ts'
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
import type { TargetTopics } from './target-topics.ts'

export interface SettlementParts {
  access: ClusterAccess
  settings: ProducerSettings
  events: ProducerEvents
  /** Whether what is sent is part of transactions. */
  transactional: boolean
  topics: TargetTopics
  backlog: Backlog
  /** Looks a topic up without being waited for. */
  lookUp: (topic: string) => void
}

/** Kafka's UNKNOWN_TOPIC_OR_PARTITION: the topic is looked up again. */
const unknownTopic = 3

export class Settlement {
  readonly #parts: SettlementParts
  readonly #cluster: string
  /** Partitions that something is wrong with which may pass: others that are well do not end that. */
  readonly #failing = new Set<PartitionQueue>()

  constructor(parts: SettlementParts) {
    this.#parts = parts
    this.#cluster = parts.access.name
  }

  /** The broker has answered for the batch under way. */
  settle(queue: PartitionQueue, pending: Pending, { errorCode, message, appended }: ProduceOutcome): void {
    const { transactional, events, backlog } = this.#parts
    const { batch } = pending
    const verdict = produceVerdict(errorCode)
    if (transactional && breaksTransaction(verdict, pending.uncertain)) {
      this.#break({ reason: produceReason(errorCode, message) })
      return
    }
    switch (verdict) {
      case 'written':
        queue.done()
        backlog.leave(queue, batch.memory)
        this.#fails(queue, false)
        if (this.#failing.size === 0) events.trouble(null)
        events.acknowledged(batch.tickets, batch.size)
        batch.release()
        return
      case 'message':
        this.#fails(queue, false)
        backlog.leave(queue, queue.split())
        if (batch.count === 1) this.#refuse(queue, batch, produceReason(errorCode, message))
        batch.release()
        return
      case 'topic':
        queue.takeBack()
        this.refuseTopic(queue.topic, notWritable(queue.topic, this.#cluster))
        return
      case 'sender':
        // others from here on; those of other partitions still count
        queue.forgetNumbers()
        this.#again(queue, false)
        return
      case 'retry':
        this.#again(queue, mayBeWritten(errorCode, appended), this.#shortPause)
        if (this.givesUp(queue, produceReason(errorCode, message))) return
        // of what was given up before it is known that it waits
        if (queue.givenUp) return
        this.#fails(queue, true)
        events.trouble(produceFailed(queue, this.#cluster, errorCode, message))
    }
  }

  /** What came of the batches under way is not known, or they were not sent at all. */
  fail(error: unknown, queues: PartitionQueue[]): void {
    if (error instanceof RefusedTopics) {
      this.#notIncluded(error.codes, queues)
      return
    }
    const { access, events } = this.#parts
    const known = kafkaError(error, access)
    if (known.code === 'transaction-lost') {
      events.broken(known)
      return
    }
    const expired = known.code === 'lease-expired'
    for (const queue of queues) {
      this.#again(queue, !expired)
      if (!expired) this.#fails(queue, true)
    }
    if (!expired) events.trouble(known)
  }

  /** A partition that takes nothing for long holds up its topic, and nothing else. @returns whether it does now */
  givesUp(queue: PartitionQueue, reason: string): boolean {
    const { settings, transactional } = this.#parts
    const now = performance.now()
    queue.failingSince ??= now
    const patience = settings.partitionPatience
    if (now - queue.failingSince < (queue.givenUp ? patience / 10 : patience)) {
      // whose leader is not known: the one that it had may be gone for good
      if (queue.leader < 0) queue.notBefore = now + pauseAfter(++queue.failures, this.#shortPause)
      return false
    }
    queue.failingSince = null
    queue.givenUp = true
    // a repetition of what may be written is better than that nothing flows
    if (!transactional) queue.forgetNumbers()
    const { topic, partition } = queue
    const facts = { topic, partition, cluster: this.#cluster, reason }
    this.refuseTopic(topic, new MillraceError('partition-unavailable', facts))
    return true
  }

  /** No message of the topic can be written now. */
  refuseTopic(topic: string, error: MillraceError): void {
    const { topics, transactional, events, backlog } = this.#parts
    const queues = topics.giveUp(topic)
    for (const queue of queues) this.#fails(queue, false)
    if (transactional && queues.some(({ uncertain }) => uncertain)) {
      // whoever begins anew would meet it again, and break the next one
      if (error.code === 'partition-unavailable') events.topicRefused(topic, error)
      this.#break({ reason: error.message, cause: error })
      return
    }
    events.topicRefused(topic, error)
    // the numbers go on: what was sent may have been written, and a topic that is created again takes any
    for (const queue of queues) this.#sift(queue)
    backlog.wake()
  }

  /** The partition is not there any more. @returns its batches */
  abandon(queue: PartitionQueue): BatchWriter[] {
    const { topic, partition, uncertain } = queue
    this.#fails(queue, false)
    if (this.#parts.transactional && uncertain) {
      this.#break({ topic, partition, reason: 'the partition is gone' })
      return []
    }
    const batches = queue.abandon()
    for (const { memory } of batches) this.#parts.backlog.leave(queue, memory)
    return batches
  }

  /** The transaction goes on without these topics, by Kafka's error code. */
  #notIncluded(codes: Map<string, number>, queues: PartitionQueue[]): void {
    for (const queue of queues) {
      if (codes.get(queue.topic) === unknownTopic) this.#again(queue, false)
      else queue.again(0, false)
    }
    for (const [topic, code] of codes) {
      if (code !== unknownTopic) this.refuseTopic(topic, notWritable(topic, this.#cluster))
    }
  }

  /** After a pause that grows, to whoever leads the partition then. @param written whether it may have been */
  #again(queue: PartitionQueue, written: boolean, pauses = this.#parts.settings.retry): void {
    queue.failures++
    queue.again(performance.now() + pauseAfter(queue.failures, pauses), written)
    this.#parts.lookUp(queue.topic)
  }

  /** For a partition whose patience is counted: nobody knows that it is over before the pause is. */
  get #shortPause(): { min: number; max: number } {
    const { retry, partitionPatience } = this.#parts.settings
    return { min: retry.min, max: Math.max(retry.min, Math.min(retry.max, partitionPatience / 10)) }
  }

  /** What was wrong has passed when it has for each partition. */
  #fails(queue: PartitionQueue, fails: boolean): void {
    if (fails) this.#failing.add(queue)
    else if (this.#failing.delete(queue) && this.#failing.size === 0) this.#parts.events.trouble(null)
  }

  /** @param batch of a single message */
  #refuse(queue: PartitionQueue, batch: BatchWriter, reason: string): void {
    const facts = { topic: queue.topic, partition: queue.partition, reason }
    const error = new MillraceError('message-refused', facts)
    for (const [record, ticket] of batch.entries()) this.#parts.events.refused(queue, record, ticket, error)
    this.#sift(queue)
  }

  #sift(queue: PartitionQueue): void {
    const { events, backlog } = this.#parts
    const { bytes, tickets } = queue.sift((record, ticket) => events.mustWait(queue, record, ticket))
    if (tickets.length > 0) events.withheld(queue.topic, tickets)
    backlog.leave(queue, bytes)
  }

  #break(facts: { reason: string } & Record<string, unknown>): void {
    this.#parts.events.broken(new MillraceError('transaction-lost', { cluster: this.#cluster, ...facts }))
  }
}
