// One consumer's dealings with its topic, apart from the messages: what the topic is, where it begins and
// ends, which partitions the consumer group gives to this daemon, and the group's committed offsets, which
// are a mirror for Kafka's own tools: the positions that count are in PostgreSQL.

import { EventEmitter } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import { Consumer, FetchIsolationLevels, ListOffsetTimestamps } from '@platformatic/kafka'
import { MillraceError } from '../errors.ts'
import { type ClusterAccess, connectionOptions, hasProtocolError, kafkaError } from './access.ts'
import { assignPartitions } from './assignor.ts'

export interface Topic {
  name: string
  /** The id that a topic of the same name created later would not have (KIP-516). */
  id: string
  clusterId: string
  partitions: { leader: number; leaderEpoch: number }[]
  brokers: Map<number, { host: string; port: number }>
}

export interface GroupTimes {
  /** Milliseconds, all of them. */
  session: number
  heartbeat: number
}

export interface CommittedOffset {
  partition: number
  offset: bigint
  leaderEpoch: number
}

interface Events {
  /** The group gave these partitions to this member. */
  assigned: [partitions: number[]]
  /** The coordinator confirmed the membership. */
  alive: []
  /** The membership ended; join again. */
  lost: [error: MillraceError]
}

export class TopicClient extends EventEmitter<Events> {
  readonly #access: ClusterAccess
  readonly #topic: string
  readonly #times: GroupTimes
  readonly #consumer: Consumer
  #lastAlive = 0
  #joined = false

  constructor(access: ClusterAccess, topic: string, groupId: string, times: GroupTimes) {
    super()
    this.#access = access
    this.#topic = topic
    this.#times = times
    this.#consumer = new Consumer({
      ...connectionOptions(access),
      clientId: access.clientId,
      groupId,
      bootstrapBrokers: access.brokers,
      autocreateTopics: false,
      retries: 5,
      retryDelay: 200,
      metadataMaxAge: 1000,
      partitionAssigner: assignPartitions,
      // also what the library itself joins with, when a commit meets a rebalance
      sessionTimeout: times.session,
      rebalanceTimeout: Math.max(times.session, shortestRebalance),
      heartbeatInterval: times.heartbeat,
    })
    this.#listen()
  }

  /**
   * The topic as the brokers describe it now, or null when there is none.
   * @throws MillraceError kafka-unreachable, broker-authentication
   */
  async describe(): Promise<Topic | null> {
    try {
      const metadata = await this.#consumer.metadata({ topics: [this.#topic], forceUpdate: true })
      const topic = metadata.topics.get(this.#topic)
      if (!topic || topic.partitionsCount === 0) return null
      return {
        name: this.#topic,
        id: topic.id,
        clusterId: metadata.id,
        partitions: topic.partitions.map(({ leader, leaderEpoch }) => ({ leader, leaderEpoch })),
        brokers: metadata.brokers,
      }
    } catch (error) {
      if (isUnknownTopic(error)) return null
      throw this.#failure(error)
    }
  }

  /**
   * Where each partition's log begins (`start`) or where a read_committed reader finds its end, the last
   * stable offset (`end`). The array's index is the partition.
   */
  async offsets(which: 'start' | 'end'): Promise<bigint[]> {
    try {
      const found = await this.#consumer.listOffsets({
        topics: [this.#topic],
        timestamp: which === 'start' ? ListOffsetTimestamps.EARLIEST : ListOffsetTimestamps.LATEST,
        isolationLevel: FetchIsolationLevels.READ_COMMITTED,
      })
      return found.get(this.#topic) ?? []
    } catch (error) {
      throw this.#failure(error)
    }
  }

  /** Joins the group; the partitions come with the event `assigned`, now and after each rebalance. */
  async join(): Promise<void> {
    this.#joined = true
    this.#lastAlive = Date.now()
    this.#consumer.topics.track(this.#topic)
    try {
      await this.#consumer.joinGroup({})
    } catch (error) {
      this.#joined = false
      throw this.#failure(error)
    }
  }

  async commit(offsets: CommittedOffset[]): Promise<void> {
    if (!this.#joined || !this.#consumer.memberId || offsets.length === 0) return
    try {
      await this.#consumer.commit({ offsets: offsets.map((offset) => ({ topic: this.#topic, ...offset })) })
    } catch (error) {
      throw this.#failure(error)
    }
  }

  /** Leaves the group, so that its partitions go on elsewhere at once, and closes the connections. */
  async close(): Promise<void> {
    this.removeAllListeners()
    const leaving = this.#joined ? leave(this.#consumer) : Promise.resolve()
    this.#joined = false
    await Promise.race([leaving, setTimeout(leavePatience, undefined, { ref: false })])
    await this.#consumer.close(true).catch(() => {})
  }

  #listen(): void {
    const consumer = this.#consumer
    consumer.on('consumer:group:join', ({ assignments }) => {
      this.#lastAlive = Date.now()
      const mine = assignments?.find((assignment) => assignment.topic === this.#topic)
      this.emit('assigned', mine?.partitions.toSorted((a, b) => a - b) ?? [])
    })
    consumer.on('consumer:heartbeat:end', () => {
      this.#lastAlive = Date.now()
      this.emit('alive')
    })
    consumer.on('consumer:heartbeat:error', ({ error }) => {
      if (Date.now() - this.#lastAlive > this.#times.session) this.#lose(error)
    })
    consumer.on('error', (error) => this.#lose(error))
  }

  #lose(error: unknown): void {
    if (!this.#joined) return
    this.#joined = false
    this.emit('lost', this.#failure(error))
  }

  #failure(error: unknown): MillraceError {
    if (hasProtocolError(error, 'TOPIC_AUTHORIZATION_FAILED', 'GROUP_AUTHORIZATION_FAILED')) {
      return new MillraceError('broker-authorization', {
        topic: this.#topic,
        cluster: this.#access.name,
        cause: error,
      })
    }
    return kafkaError(error, this.#access)
  }
}

/** Milliseconds that members have to join again when the group changes. */
const shortestRebalance = 15_000

/** Milliseconds; a coordinator that is away must not hold up a shutdown. */
const leavePatience = 2000

function leave(consumer: Consumer): Promise<void> {
  return new Promise((resolve) => consumer.leaveGroup(true, () => resolve()))
}

/** The library answers an unknown topic with its UserError, whose text is all that tells it from others. */
function isUnknownTopic(error: unknown): boolean {
  return (
    (error instanceof Error && /^Unknown topic /.test(error.message)) ||
    hasProtocolError(error, 'UNKNOWN_TOPIC_OR_PARTITION')
  )
}
