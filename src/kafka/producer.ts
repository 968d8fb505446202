// Sends records so that none is lost and none overtakes another of its partition: every in-sync replica has to have a
// batch before it counts as written, one batch of a partition is under way at a time, and it is sent again until the
// broker has either written or refused it. Partitions do not wait for each other.

import { MillraceError } from '../errors.ts'
import { type ClusterAccess, kafkaError } from './access.ts'
import type { Compression, OutgoingRecord } from './batch-writer.ts'
import type { BrokerLink } from './broker-link.ts'
import { Brokers } from './brokers.ts'
import { BufferShelf } from './buffer-shelf.ts'
import { partitionOf } from './murmur2.ts'
import { PartitionQueue, type Pending } from './partition-queue.ts'
import type { ProduceOutcome } from './produce.ts'
import { produceReason, produceVerdict } from './produce-errors.ts'
import type { Topic } from './topic.ts'
import { TopicDirectory } from './topic-directory.ts'

export interface ProducerSettings {
  compression: Compression
  /** ms that a batch which is not full waits for more. */
  linger: number
  /** Bytes, before compression; a record that is larger is a batch of its own. */
  batchSize: number
  /** Bytes that may wait or be under way, over all partitions. */
  buffer: number
  /** Milliseconds. */
  retry: { min: number; max: number }
  /** ms after which topics are looked up again, for new partitions. */
  metadataInterval: number
}

export interface ProducerEvents {
  /** Whether anything may be sent now. */
  maySend(): boolean
  acknowledged(tickets: number[]): void
  /** The broker does not take this record. */
  refused(queue: PartitionQueue, record: OutgoingRecord, ticket: number, error: MillraceError): void
  /** No record of the topic can be written now. */
  topicRefused(topic: string, error: MillraceError): void
  /** Asked after either: whether a record has to wait with what was refused. Those are not sent. */
  mustWait(queue: PartitionQueue, record: OutgoingRecord, ticket: number): boolean
  withheld(topic: string, tickets: number[]): void
  /** Something is wrong that may pass. null: it has passed. */
  trouble(error: MillraceError | null): void
}

interface KnownTopic {
  queues: PartitionQueue[]
  /** Where records without key and partition go, until that partition's batch is full (KIP-480). */
  sticky: number
  lookedUpAt: number
  /** It is not there, or not to be written to. */
  gone: boolean
}

/** Requests under way at one broker, each with batches of other partitions. */
const mostRequests = 5

/** Bytes by which the last record of a batch may exceed its size without another piece of memory. */
const slack = 16 * 1024

/** Bytes of batches in one request, unless a single one is larger. */
const requestSize = 4 * 1024 * 1024

/** Bytes that no broker takes in one request: it would close the connection without a word (socket.request.max.bytes). */
const largestRecord = 95 * 1024 * 1024

export class Producer {
  readonly #access: ClusterAccess
  readonly #settings: ProducerSettings
  readonly #events: ProducerEvents
  readonly #directory: TopicDirectory
  readonly #topics = new Map<string, KnownTopic>()
  readonly #brokers: Brokers
  readonly #shelf: BufferShelf
  readonly #active = new Set<PartitionQueue>()
  #bytes = 0
  #failures = 0
  #scheduled = false
  #timer: NodeJS.Timeout | null = null
  #waiters: { done: () => boolean; resolve: () => void }[] = []
  #closed = false

  constructor(access: ClusterAccess, settings: ProducerSettings, events: ProducerEvents) {
    this.#access = access
    this.#settings = settings
    this.#events = events
    this.#directory = new TopicDirectory(access)
    this.#brokers = new Brokers(access)
    this.#shelf = new BufferShelf(settings.batchSize + slack, settings.buffer)
  }

  get hasRoom(): boolean {
    return this.#bytes < this.#settings.buffer
  }

  get idle(): boolean {
    return this.#active.size === 0
  }

  /** When there is room for more and `also` holds, or the producer is closed. */
  untilRoom(also: () => boolean): Promise<void> {
    return this.#until(() => this.#bytes < this.#settings.buffer / 2 && also())
  }

  /** When everything that was appended is written or refused, or the producer is closed. */
  untilIdle(): Promise<void> {
    return this.#until(() => this.idle)
  }

  knows(topic: string): boolean {
    return this.#topics.get(topic)?.gone === false
  }

  /** Looks the topic up. Where it cannot be written to, that comes as an event. @throws MillraceError kafka-unreachable, ... */
  async learn(topic: string): Promise<void> {
    try {
      this.#note(await this.#directory.lookUp(topic))
    } catch (error) {
      const known = kafkaError(error, this.#access)
      if (!topicCodes.includes(known.code)) throw known
      this.#topicRefused(topic, known)
    }
  }

  /** @param topic that is known  @param partition null: the key decides, as with the Java client */
  append(topic: string, partition: number | null, record: OutgoingRecord, ticket: number): void {
    const known = this.#topics.get(topic) as KnownTopic
    const count = known.queues.length
    const chosen = partition ?? (record.key ? partitionOf(record.key, count) : known.sticky % count)
    const queue = known.queues[chosen]
    if (!queue) {
      const nowhere = new PartitionQueue(topic, chosen)
      const facts = { topic, partition: chosen, count, cluster: this.#access.name }
      this.#events.refused(nowhere, record, ticket, new MillraceError('target-partition-missing', facts))
      return
    }
    if ((record.value?.length ?? 0) + (record.key?.length ?? 0) > largestRecord) {
      this.#refuse(queue, record, ticket, 10, null)
      return
    }
    const { bytes, full } = queue.append(record, ticket, this.#settings.batchSize, performance.now())
    if (full && partition === null && !record.key) known.sticky = Math.floor(Math.random() * count)
    this.#bytes += bytes
    this.#active.add(queue)
    this.#schedule()
  }

  /** What is not written yet is given up. */
  async close(): Promise<void> {
    this.#closed = true
    if (this.#timer) clearTimeout(this.#timer)
    this.#brokers.close()
    this.#wake()
    await this.#directory.close()
  }

  #note(topic: Topic): void {
    const known = this.#topics.get(topic.name) ?? { queues: [], sticky: 0, lookedUpAt: 0, gone: false }
    for (const [partition, { leader }] of topic.partitions.entries()) {
      known.queues[partition] ??= new PartitionQueue(topic.name, partition, this.#shelf)
      known.queues[partition].leader = leader
    }
    known.lookedUpAt = performance.now()
    known.gone = false
    this.#topics.set(topic.name, known)
    this.#brokers.note(topic)
  }

  #schedule(): void {
    if (this.#scheduled || this.#closed) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#pump()
    })
  }

  #wakeAt(moment: number, now: number): void {
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#pump(), Math.max(1, moment - now))
  }

  /** Sends what is ready, as far as the brokers have room. */
  #pump(): void {
    if (this.#closed) return
    const now = performance.now()
    let next = Infinity
    const ready = new Map<number, PartitionQueue[]>()
    const maySend = this.#events.maySend()
    for (const queue of this.#active) {
      const at = queue.readyAt(this.#settings.linger)
      if (at === null) continue
      if (at > now) next = Math.min(next, at)
      else if (!maySend || queue.leader < 0) {
        queue.notBefore = now + this.#settings.retry.min
        next = Math.min(next, queue.notBefore)
        if (maySend) this.#lookUpAgain(queue.topic)
      } else {
        const others = ready.get(queue.leader)
        if (others) others.push(queue)
        else ready.set(queue.leader, [queue])
        this.#refresh(queue.topic, now)
      }
    }
    for (const [leader, queues] of ready) this.#sendTo(leader, queues)
    if (next < Infinity) this.#wakeAt(next, now)
  }

  #sendTo(leader: number, queues: PartitionQueue[]): void {
    const link = this.#brokers.linkTo(leader)
    let at = 0
    for (let requests = link.inFlight; requests < mostRequests && at < queues.length; requests++) {
      const together: PartitionQueue[] = []
      for (let size = 0; at < queues.length; at++) {
        const queue = queues[at] as PartitionQueue
        size += queue.nextSize
        if (together.length > 0 && size > requestSize) break
        together.push(queue)
      }
      void this.#send(link, together)
    }
  }

  /** Never throws. */
  async #send(link: BrokerLink, queues: PartitionQueue[]): Promise<void> {
    const pending = new Map(queues.map((queue) => [placeOf(queue), { queue, taken: queue.take() }]))
    try {
      const identity = await this.#brokers.identityFrom(link)
      const batches = await Promise.all(
        [...pending.values()].map(async ({ queue, taken }) => {
          const bytes = await taken.batch.encode(queue.number(taken, identity), this.#settings.compression)
          return { topic: queue.topic, partition: queue.partition, bytes }
        }),
      )
      if (!this.#events.maySend()) throw new MillraceError('lease-expired')
      const outcomes = await link.produce(batches)
      if (this.#closed) return
      for (const outcome of outcomes) {
        const place = placeOf(outcome)
        const one = pending.get(place)
        if (one) this.#settle(one.queue, one.taken, outcome)
        pending.delete(place)
      }
      if (pending.size > 0) throw new Error('the broker did not answer for every partition')
    } catch (error) {
      if (this.#closed) return
      const known = kafkaError(error, this.#access)
      this.#failures++
      if (known.code !== 'lease-expired') this.#events.trouble(known)
      for (const { queue } of pending.values()) this.#again(queue)
    }
    this.#wake()
    this.#schedule()
  }

  #settle(queue: PartitionQueue, pending: Pending, { errorCode, message }: ProduceOutcome): void {
    const { batch } = pending
    switch (produceVerdict(errorCode)) {
      case 'written':
        queue.done()
        this.#leave(queue, batch.size)
        this.#failures = 0
        this.#events.trouble(null)
        this.#events.acknowledged(batch.tickets)
        batch.release()
        return
      case 'message':
        queue.split()
        if (batch.count === 1) {
          this.#leave(queue, batch.size)
          this.#refuse(queue, batch.record(0), batch.tickets[0] as number, errorCode, message)
        }
        return
      case 'topic': {
        const facts = { topic: queue.topic, cluster: this.#access.name }
        queue.forgetNumbers()
        queue.again(0)
        this.#topicRefused(queue.topic, new MillraceError('topic-not-writable', facts))
        return
      }
      case 'sender':
        // others from here on; those of other partitions still count
        if (pending.sender) void this.#brokers.renewIdentity(pending.sender.producerId)
        queue.forgetNumbers()
        this.#again(queue)
        return
      case 'retry':
        this.#failures++
        this.#events.trouble(
          new MillraceError('produce-failed', {
            topic: queue.topic,
            partition: queue.partition,
            cluster: this.#access.name,
            reason: produceReason(errorCode, message),
          }),
        )
        this.#again(queue)
    }
  }

  /** After a pause that grows, to whoever leads the partition then. */
  #again(queue: PartitionQueue): void {
    const { min, max } = this.#settings.retry
    const pause = Math.min(max, min * 2 ** Math.min(20, Math.max(0, this.#failures - 1)))
    queue.again(performance.now() + pause / 2 + (Math.random() * pause) / 2)
    this.#lookUpAgain(queue.topic)
  }

  /** Partitions may have been added. */
  #refresh(topic: string, now: number): void {
    const known = this.#topics.get(topic)
    if (!known || now - known.lookedUpAt < this.#settings.metadataInterval) return
    known.lookedUpAt = now
    this.#lookUpAgain(topic)
  }

  #lookUpAgain(topic: string): void {
    this.learn(topic).then(
      () => this.#schedule(),
      (error) => this.#events.trouble(kafkaError(error, this.#access)),
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
    const known = this.#topics.get(topic)
    if (known) known.gone = true
    this.#events.topicRefused(topic, error)
    for (const queue of known?.queues ?? []) {
      queue.forgetNumbers()
      this.#sift(queue)
    }
    this.#wake()
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

  #until(done: () => boolean): Promise<void> {
    if (done() || this.#closed) return Promise.resolve()
    return new Promise((resolve) => this.#waiters.push({ done, resolve }))
  }

  #wake(): void {
    const over = this.#waiters.filter(({ done }) => done() || this.#closed)
    this.#waiters = this.#waiters.filter((waiter) => !over.includes(waiter))
    for (const { resolve } of over) resolve()
  }
}

/** No message of the topic can be written until somebody changes something. */
const topicCodes: readonly string[] = ['topic-missing', 'topic-not-writable', 'topic-id-missing']

function placeOf({ topic, partition }: { topic: string; partition: number }): string {
  return `${topic}/${partition}`
}
