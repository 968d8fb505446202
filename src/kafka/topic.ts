// A topic as the brokers describe it. The id tells it from another one of the same name that is created later
// (KIP-516), so a broker that gives none cannot be read from exactly.

import { MillraceError } from '../errors.ts'
import { findCause, hasProtocolError } from './access.ts'
import type { ClusterMetadata } from './library.ts'

export interface Topic {
  name: string
  /** The id that a topic of the same name created later would not have. */
  id: string
  clusterId: string
  /** The leader is a broker's id, or -1 while there is none. */
  partitions: { leader: number; leaderEpoch: number; replicas: number; inSync: number }[]
  brokers: Map<number, { host: string; port: number }>
}

/** What brokers before Kafka 2.8 have in place of an id, and those that still speak to each other as if they were. */
const noId = '00000000-0000-0000-0000-000000000000'

/** @throws MillraceError topic-id-missing */
export function topicOf(name: string, metadata: ClusterMetadata): Topic | null {
  const topic = metadata.topics.get(name)
  if (!topic || topic.partitionsCount === 0) return null
  return {
    name,
    id: checkedId(topic.id, name),
    clusterId: metadata.id,
    partitions: topic.partitions.map(({ leader, leaderEpoch, replicas, isr }) => {
      return { leader, leaderEpoch, replicas: replicas.length, inSync: isr.length }
    }),
    brokers: metadata.brokers,
  }
}

/** The answer to a question about metadata, as far as it is read here. */
interface MetadataResponse {
  clusterId: string
  brokers: { nodeId: number; host: string; port: number }[]
  topics: {
    errorCode: number
    name: string
    topicId: string
    partitions: {
      partitionIndex: number
      leaderId: number
      leaderEpoch: number
      replicaNodes: number[]
      isrNodes: number[]
    }[]
  }[]
}

/**
 * The library takes a topic with one partition that has no leader for an error. The answer is in it.
 * @returns null when it is another error  @throws MillraceError topic-id-missing
 */
export function topicWithin(error: unknown, name: string): Topic | null {
  const failed = findCause(error, ({ response }) => (response as MetadataResponse)?.topics !== undefined)
  const { clusterId, brokers, topics } = (failed?.response ?? { topics: [] }) as MetadataResponse
  const topic = topics.find((one) => one.name === name && one.errorCode === 0)
  if (!topic?.partitions) return null
  return {
    name,
    id: checkedId(topic.topicId, name),
    clusterId,
    partitions: topic.partitions
      .toSorted((a, b) => a.partitionIndex - b.partitionIndex)
      .map(({ leaderId, leaderEpoch, replicaNodes, isrNodes }) => {
        return { leader: leaderId, leaderEpoch, replicas: replicaNodes.length, inSync: isrNodes.length }
      }),
    brokers: new Map(brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }])),
  }
}

function checkedId(id: string | undefined, topic: string): string {
  if (!id || id === noId) throw new MillraceError('topic-id-missing', { topic })
  return id
}

/** The library answers an unknown topic with its UserError, whose text is all that tells it from others. */
export function isUnknownTopic(error: unknown): boolean {
  return (
    (error instanceof Error && /^Unknown topic /.test(error.message)) ||
    hasProtocolError(error, 'UNKNOWN_TOPIC_OR_PARTITION')
  )
}
