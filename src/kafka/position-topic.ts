// A compacted topic with one partition and one key, whose last record is a position (as KIP-618 keeps them for Connect).
// It is written in the transactions that it is the position of, and read before the first of them.

import { setTimeout } from 'node:timers/promises'
import { isMillraceError, MillraceError } from '../errors.ts'
import { type ClusterAccess, connectionOptions, hasProtocolError, kafkaError } from './access.ts'
import { committedBatches } from './committed.ts'
import { decompress } from './compression.ts'
import { openFetchConnection } from './connect.ts'
import { fetch } from './fetch.ts'
import { Admin, FetchIsolationLevels, ListOffsetTimestamps } from './library.ts'
import { readRecordBatches } from './record-batch.ts'
import { ResponsePool } from './response-pool.ts'
import type { Topic } from './topic.ts'
import { TopicDirectory } from './topic-directory.ts'
import { missingRights, type TopicOperation } from './topic-rights.ts'
import { WalkedRecord } from './walked-record.ts'

/** Offsets before the end among which the last record is looked for first; then further back. */
const nearEnd = 64n

/** Kafka's TOPIC_AUTHORIZATION_FAILED. */
const notAllowed = 29

/** Bytes. */
const fetchSize = 1024 * 1024
const largestResponse = 128 * 1024 * 1024

export class PositionTopic {
  readonly name: string
  readonly #access: ClusterAccess

  constructor(access: ClusterAccess, name: string) {
    this.#access = access
    this.name = name
  }

  /**
   * The value of the last record that is committed. null: there is none, or no topic.
   * @param settled whether no transaction may be open there
   * @throws MillraceError kafka-unreachable, broker-authentication, position-topic-denied; transaction-held where one is open
   */
  async last(settled: boolean): Promise<Buffer | null> {
    const topic = await this.#described()
    if (!topic) return null
    const { start, end, high } = await this.#bounds().catch((error) => {
      throw this.#known(error, 'DESCRIBE')
    })
    if (settled && end < high)
      throw new MillraceError('transaction-held', { cluster: this.#access.name, places: `${this.name} 0` })
    for (let step = nearEnd; start < end; step *= 4n) {
      const from = end - step > start ? end - step : start
      const value = await this.#lastWithin(topic, from, end)
      if (value !== null || from === start) return value
    }
    return null
  }

  /**
   * Makes sure that there is the topic, and that it can be read and written to.
   * @throws MillraceError topic-missing, position-topic-denied, kafka-unreachable, ...
   */
  async prepare(): Promise<void> {
    let topic = await this.#find()
    if (!topic) {
      await this.#create()
      // brokers hear of it one after the other
      for (let attempt = 0; attempt < 20 && !topic; attempt++) {
        await setTimeout(attempt * 10)
        topic = await this.#find()
      }
    }
    if (!topic) throw new MillraceError('topic-missing', { topic: this.name, cluster: this.#access.name })
    const broker = topic.brokers.get(topic.partitions[0]?.leader ?? -1)
    if (!broker) return
    const missing = await missingRights(this.#access, broker, this.name, ['READ', 'WRITE', 'DESCRIBE']).catch(
      (error) => {
        throw kafkaError(error, this.#access)
      },
    )
    if (missing.length > 0) throw this.#denied(missing)
  }

  async #create(): Promise<void> {
    await this.#administer(async (admin) => {
      try {
        await admin.createTopics({
          topics: [this.name],
          partitions: 1,
          configs: [
            { name: 'cleanup.policy', value: 'compact' },
            { name: 'segment.bytes', value: String(16 * 1024 * 1024) },
          ],
        })
      } catch (error) {
        if (!hasProtocolError(error, 'TOPIC_ALREADY_EXISTS')) throw this.#known(error, 'CREATE')
      }
    })
  }

  /** null: there is none, or it has no leader. */
  async #find(): Promise<Topic | null> {
    const topic = await this.#described()
    return topic?.partitions.every(({ leader }) => leader >= 0) ? topic : null
  }

  /** null: there is none. */
  async #described(): Promise<Topic | null> {
    const directory = new TopicDirectory(this.#access)
    try {
      return await directory.lookUp(this.name)
    } catch (error) {
      if (isMillraceError(error, 'topic-missing')) return null
      throw this.#known(error, 'DESCRIBE')
    } finally {
      await directory.close()
    }
  }

  /** Of its log; the last stable offset, and, asked for before that one, the high watermark. */
  async #bounds(): Promise<{ start: bigint; end: bigint; high: bigint }> {
    return this.#administer(async (admin) => {
      const offset = async (timestamp: bigint, isolation: keyof typeof FetchIsolationLevels) => {
        const [listed] = await admin.listOffsets({
          topics: [{ name: this.name, partitions: [{ partitionIndex: 0, timestamp }] }],
          isolationLevel: FetchIsolationLevels[isolation],
        })
        return listed?.partitions[0]?.offset ?? 0n
      }
      const high = await offset(ListOffsetTimestamps.LATEST, 'READ_UNCOMMITTED')
      return {
        start: await offset(ListOffsetTimestamps.EARLIEST, 'READ_COMMITTED'),
        end: await offset(ListOffsetTimestamps.LATEST, 'READ_COMMITTED'),
        high,
      }
    })
  }

  async #lastWithin(topic: Topic, from: bigint, end: bigint): Promise<Buffer | null> {
    const leader = topic.partitions[0]?.leader ?? -1
    const address = topic.brokers.get(leader)
    if (!address) throw kafkaError(new Error(`topic ${this.name} has no leader`), this.#access)
    const { wire, version } = await openFetchConnection(
      this.#access,
      new ResponsePool(0, largestResponse),
      address,
    )
    try {
      let value: Buffer | null = null
      for (let next = from; next < end; ) {
        const { errorCode, partitions } = await fetch(wire, version, {
          topic: this.name,
          topicId: topic.id,
          partitions: [
            {
              partition: 0,
              offset: next,
              currentLeaderEpoch: -1,
              lastFetchedEpoch: -1,
              maxBytes: fetchSize,
            },
          ],
          maxWait: 100,
          minBytes: 1,
          maxBytes: fetchSize,
        })
        const part = partitions[0]
        if (part?.errorCode === notAllowed) throw this.#denied(['READ'])
        if (errorCode !== 0 || !part || part.errorCode !== 0)
          throw new Error(`Kafka's error ${errorCode || part?.errorCode} when reading ${this.name}`)
        // not of whoever said where the end is: what came last would seem not to be there
        if (part.lastStableOffset < end) throw new Error(`${this.name} is led by another broker now`)
        const batches = readRecordBatches(part.records)
        // compacted away up to the end
        if (batches.length === 0) break
        for (const batch of committedBatches(batches, part.aborted)) {
          const where = { partition: 0, offset: batch.baseOffset }
          const records = await decompress(batch.codec, batch.payload, fetchSize, where)
          const record = new WalkedRecord(this.name, 0, batch)
          for (let at = 0; at >= 0 && at < records.length; ) {
            at = record.read(records, at)
            if (at >= 0) value = record.value()
          }
        }
        next = (batches.at(-1)?.lastOffset ?? next) + 1n
      }
      return value && Buffer.from(value)
    } catch (error) {
      throw kafkaError(error, this.#access)
    } finally {
      wire.close()
    }
  }

  #known(error: unknown, operation: TopicOperation | 'CREATE'): unknown {
    const denied =
      isMillraceError(error, 'topic-not-writable') ||
      hasProtocolError(error, 'TOPIC_AUTHORIZATION_FAILED', 'CLUSTER_AUTHORIZATION_FAILED')
    return denied ? this.#denied([operation], error) : error
  }

  #denied(missing: (TopicOperation | 'CREATE')[], cause?: unknown): MillraceError {
    const facts = { operation: missing.join(' and '), topic: this.name, cluster: this.#access.name }
    return new MillraceError('position-topic-denied', cause === undefined ? facts : { ...facts, cause })
  }

  async #administer<T>(work: (admin: Admin) => Promise<T>): Promise<T> {
    const admin = new Admin({
      ...connectionOptions(this.#access),
      clientId: this.#access.clientId,
      bootstrapBrokers: this.#access.brokers,
      autocreateTopics: false,
      retries: 3,
      retryDelay: 100,
    })
    try {
      return await work(admin)
    } catch (error) {
      throw kafkaError(error, this.#access)
    } finally {
      await admin.close().catch(() => {})
    }
  }
}
