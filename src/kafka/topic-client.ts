// One consumer's dealings with its topic, apart from the messages: what the topic is, where it begins and
// ends, which partitions the consumer group gives to this daemon, and the group's committed offsets, which
// are a mirror for Kafka's own tools: the positions that count are in PostgreSQL.

import { EventEmitter } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import { MillraceError } from '../errors.ts'
import { type ClusterAccess, connectionOptions, hasProtocolError, kafkaError, reasonOf } from './access.ts'
import { assignPartitions, instanceOf } from './assignor.ts'
import { Consumer, FetchIsolationLevels, ListOffsetTimestamps } from './library.ts'
import { isUnknownTopic, type Topic, topicOf, topicWithin } from './topic.ts'

export type { Topic } from './topic.ts'

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
  /** Members of the group load into another database than this one. Only the group's leader sees that. */
  strangers: []
  /** The membership ended; join again. */
  lost: [error: MillraceError]
}

export class TopicClient extends EventEmitter<Events> {
  readonly #access: ClusterAccess
  readonly #topic: string
  readonly #groupId: string
  readonly #times: GroupTimes
  readonly #consumer: Consumer
  #lastAlive = 0
  #joined = false

  /** @param instance of the database that is loaded; what does not join a group needs none */
  constructor(access: ClusterAccess, topic: string, groupId: string, times: GroupTimes, instance = '') {
    super()
    this.#access = access
    this.#topic = topic
    this.#groupId = groupId
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
      // in every JoinGroup, where the leader reads it
      protocolsMetadata: () => Buffer.from(instance),
      partitionAssigner: (leader, members, topics, metadata) => {
        if ([...members.values()].some((member) => instanceOf(member) !== instance)) this.emit('strangers')
        return assignPartitions(leader, members, topics, metadata)
      },
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
      return topicOf(this.#topic, metadata)
    } catch (error) {
      if (isUnknownTopic(error)) return null
      // one partition without a leader is no reason to stop the others
      const topic = topicWithin(error, this.#topic)
      if (topic) return topic
      throw this.#failure(error)
    }
  }

  /**
   * Where each partition's log begins (`start`), ends (`high`: the high watermark), or ends for a read_committed
   * reader (`end`: the last stable offset). The array's index is the partition.
   */
  async offsets(which: 'start' | 'end' | 'high'): Promise<bigint[]> {
    const timestamp = which === 'start' ? ListOffsetTimestamps.EARLIEST : ListOffsetTimestamps.LATEST
    return this.#listOffsets(timestamp, which === 'high' ? 'READ_UNCOMMITTED' : 'READ_COMMITTED')
  }

  /**
   * The first offset of each partition whose message is not older than a moment, or the end where there is none.
   * @param timestamp milliseconds since 1970
   */
  async offsetsAt(timestamp: number): Promise<bigint[]> {
    const found = await this.#listOffsets(BigInt(timestamp), 'READ_COMMITTED')
    if (!found.includes(none)) return found
    const end = await this.offsets('end')
    return found.map((offset, partition) => (offset === none ? (end[partition] ?? 0n) : offset))
  }

  async #listOffsets(timestamp: bigint, isolation: keyof typeof FetchIsolationLevels): Promise<bigint[]> {
    try {
      const isolationLevel = FetchIsolationLevels[isolation]
      const found = await this.#consumer.listOffsets({ topics: [this.#topic], timestamp, isolationLevel })
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
    if (hasProtocolError(error, ...groupRefusals)) {
      return new MillraceError('group-refused', {
        group: this.#groupId,
        reason: reasonOf(error),
        cause: error,
      })
    }
    return kafkaError(error, this.#access)
  }
}

/** The broker's answer for a timestamp that is later than every message. */
const none = -1n

/** The group has members that another program brought, which share partitions in another way; or it takes no more. */
const groupRefusals = [
  'INCONSISTENT_GROUP_PROTOCOL',
  'INVALID_SESSION_TIMEOUT',
  'GROUP_MAX_SIZE_REACHED',
  'GROUP_SUBSCRIBED_TO_TOPIC',
]

/** Milliseconds that members have to join again when the group changes. */
const shortestRebalance = 15_000

/** Milliseconds; a coordinator that is away must not hold up a shutdown. */
const leavePatience = 2000

function leave(consumer: Consumer): Promise<void> {
  return new Promise((resolve) => consumer.leaveGroup(true, () => resolve()))
}
