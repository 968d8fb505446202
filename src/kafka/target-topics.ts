// The topics that are written to. A record goes to the partition that was asked for, else to the one that its key
// belongs to, else to the partition whose batch is being filled (KIP-480). Who writes to a topic looks it up first.

import type { MillraceError } from '../errors.ts'
import { type ClusterAccess, kafkaError } from './access.ts'
import type { Brokers } from './brokers.ts'
import type { BufferShelf } from './buffer-shelf.ts'
import { partitionOf } from './murmur2.ts'
import { PartitionQueue } from './partition-queue.ts'
import type { Topic } from './topic.ts'
import { TopicDirectory } from './topic-directory.ts'

interface KnownTopic {
  queues: PartitionQueue[]
  /** Where records without key and partition go, until that partition's batch is full. */
  sticky: number
  lookedUpAt: number
  /** It is not there, or not to be written to. */
  gone: boolean
  health: { inSync: number; complete: boolean }
}

export class TargetTopics {
  readonly #access: ClusterAccess
  readonly #brokers: Brokers
  readonly #shelf: BufferShelf
  readonly #onLost: (queue: PartitionQueue) => void
  readonly #directory: TopicDirectory
  readonly #topics = new Map<string, KnownTopic>()

  /** @param onLost is called for a partition that is not there any more: the topic was created again with fewer */
  constructor(
    access: ClusterAccess,
    brokers: Brokers,
    shelf: BufferShelf,
    onLost: (queue: PartitionQueue) => void,
  ) {
    this.#access = access
    this.#brokers = brokers
    this.#shelf = shelf
    this.#onLost = onLost
    this.#directory = new TopicDirectory(access)
  }

  knows(topic: string): boolean {
    return this.#topics.get(topic)?.gone === false
  }

  /** @returns why it cannot be written to; null: it can  @throws MillraceError kafka-unreachable, ... */
  async learn(topic: string): Promise<MillraceError | null> {
    try {
      this.#note(await this.#directory.lookUp(topic))
      return null
    } catch (error) {
      const known = kafkaError(error, this.#access)
      if (topicCodes.includes(known.code)) return known
      throw known
    }
  }

  /**
   * Where a record of a topic that is known goes.
   * @param partition null: the key decides, as with the Java client  @returns null: there is no such partition
   */
  queueFor(topic: string, partition: number | null, key: Uint8Array | null): PartitionQueue | null {
    const { queues, sticky } = this.#topics.get(topic) as KnownTopic
    const count = queues.length
    return queues[partition ?? (key ? partitionOf(key, count) : sticky % count)] ?? null
  }

  /** How many partitions a topic that is known has. */
  countOf(topic: string): number {
    return (this.#topics.get(topic) as KnownTopic).queues.length
  }

  /** How the replicas of a topic that is known were when it was looked up. */
  healthOf(topic: string): KnownTopic['health'] {
    return (this.#topics.get(topic) as KnownTopic).health
  }

  /** The batch of records without key and partition is full: the next ones go to another partition. */
  turn(topic: string): void {
    const known = this.#topics.get(topic) as KnownTopic
    known.sticky = Math.floor(Math.random() * known.queues.length)
  }

  /** It cannot be written to until it was looked up again. @returns its partitions */
  giveUp(topic: string): PartitionQueue[] {
    const known = this.#topics.get(topic)
    if (known) known.gone = true
    return known?.queues ?? []
  }

  /** Whether it should be looked up again, for partitions that were added. @param interval ms  @param now performance.now() */
  isOld(topic: string, interval: number, now: number): boolean {
    const known = this.#topics.get(topic)
    if (!known || now - known.lookedUpAt < interval) return false
    known.lookedUpAt = now
    return true
  }

  close(): void {
    void this.#directory.close()
  }

  #note(topic: Topic): void {
    const health = healthIn(topic)
    const known = this.#topics.get(topic.name) ?? {
      queues: [],
      sticky: 0,
      lookedUpAt: 0,
      gone: false,
      health,
    }
    for (const [partition, { leader }] of topic.partitions.entries()) {
      known.queues[partition] ??= new PartitionQueue(topic.name, partition, this.#shelf)
      const queue = known.queues[partition]
      // a leader at last: what its partition waited for
      if (queue.leader < 0 && leader >= 0) queue.notBefore = 0
      queue.leader = leader
    }
    known.health = health
    const lost = known.queues.splice(topic.partitions.length)
    known.lookedUpAt = performance.now()
    known.gone = false
    this.#topics.set(topic.name, known)
    this.#brokers.note(topic)
    for (const queue of lost) this.#onLost(queue)
  }
}

function healthIn({ partitions }: Topic): KnownTopic['health'] {
  return {
    inSync: partitions.reduce((sum, { inSync }) => sum + inSync, 0),
    complete: partitions.every(({ leader, inSync, replicas }) => leader >= 0 && inSync === replicas),
  }
}

/** No message of the topic can be written until somebody changes something. */
const topicCodes: readonly string[] = ['topic-missing', 'topic-not-writable', 'topic-id-missing']
