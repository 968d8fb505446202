// Sends what is ready, in rounds: each broker gets the batches of its partitions together, as far as it has room for
// requests. A batch is not sent before it is known that anything may be, and what comes of it is settled elsewhere.

import { MillraceError } from '../errors.ts'
import type { Backlog } from './backlog.ts'
import type { BrokerLink } from './broker-link.ts'
import type { Brokers, Identity } from './brokers.ts'
import type { PartitionQueue } from './partition-queue.ts'
import type { ProducerEvents, ProducerSettings } from './producer-events.ts'
import { Schedule } from './schedule.ts'
import { requestsOf, sendRound } from './send-round.ts'
import type { Settlement } from './settlement.ts'
import type { TargetTopics } from './target-topics.ts'
import { nameOf } from './topic-partition.ts'
import type { Transactions } from './transactions.ts'

export interface DispatchParts {
  settings: ProducerSettings
  events: ProducerEvents
  /** That what it sends is part of. */
  transactions: Transactions | null
  brokers: Brokers
  topics: TargetTopics
  backlog: Backlog
  settlement: Settlement
  /** Looks a topic up without being waited for. */
  lookUp: (topic: string) => void
}

/** Requests under way at one broker, each with batches of other partitions. */
const mostRequests = 5

export class Dispatch {
  readonly #parts: DispatchParts
  readonly #schedule = new Schedule(() => this.#round())
  #closed = false

  constructor(parts: DispatchParts) {
    this.#parts = parts
  }

  /** Something may be ready. */
  soon(): void {
    this.#schedule.soon()
  }

  /** Nothing is sent from here on, and what is under way has no outcome. */
  close(): void {
    this.#closed = true
    this.#schedule.end()
  }

  #round(): void {
    const { settings, events, brokers, topics, backlog, settlement, lookUp } = this.#parts
    const now = performance.now()
    const options = { maySend: events.maySend(), linger: settings.linger, pause: settings.retry.min }
    const { ready, leaderless, next } = sendRound(backlog.queues, options, now)
    for (const queue of leaderless) {
      if (!settlement.givesUp(queue, 'it has no leader')) lookUp(queue.topic)
    }
    for (const [leader, queues] of ready) {
      for (const { topic } of queues) {
        if (topics.isOld(topic, settings.metadataInterval, now)) lookUp(topic)
      }
      const link = brokers.linkTo(leader)
      for (const together of requestsOf(queues, mostRequests - link.inFlight)) void this.#send(link, together)
    }
    if (next < Infinity) this.#schedule.at(next, now)
  }

  /** Never throws. */
  async #send(link: BrokerLink, queues: PartitionQueue[]): Promise<void> {
    const { settings, events, transactions, backlog, settlement } = this.#parts
    const pending = new Map(queues.map((queue) => [nameOf(queue), { queue, taken: queue.take() }]))
    try {
      const identity = await (transactions?.include(queues) ?? this.#identityFor(queues, link))
      const batches = await Promise.all(
        [...pending.values()].map(async ({ queue, taken }) => {
          const bytes = await taken.batch.encode(queue.number(taken, identity), settings.compression)
          return { topic: queue.topic, partition: queue.partition, bytes }
        }),
      )
      if (!events.maySend()) throw new MillraceError('lease-expired')
      // what a partition held that is gone by now is elsewhere
      const there = batches.filter((batch) => !pending.get(nameOf(batch))?.queue.abandoned)
      for (const [name, { queue }] of pending) if (queue.abandoned) pending.delete(name)
      const outcomes = there.length > 0 ? await link.produce(there, transactions?.id ?? null) : []
      if (this.#closed) return
      for (const outcome of outcomes) {
        const name = nameOf(outcome)
        const one = pending.get(name)
        if (one && !one.queue.abandoned) settlement.settle(one.queue, one.taken, outcome)
        pending.delete(name)
      }
      if (pending.size > 0) throw new Error('the broker did not answer for every partition')
    } catch (error) {
      if (this.#closed) return
      const unsettled = [...pending.values()].flatMap(({ queue }) => (queue.abandoned ? [] : [queue]))
      settlement.fail(error, unsettled)
    }
    backlog.wake()
    this.#schedule.soon()
  }

  async #identityFor(queues: PartitionQueue[], link: BrokerLink): Promise<Identity> {
    const { brokers } = this.#parts
    for (;;) {
      const identity = await brokers.identityFrom(link)
      if (!queues.some((queue) => queue.hasSpent(identity))) return identity
      await brokers.renewIdentity(identity.producerId)
    }
  }
}
