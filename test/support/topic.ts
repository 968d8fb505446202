// Topics and messages are made by a real producer, through the plaintext listener, whatever the daemon uses.
import { randomUUID } from 'node:crypto'
import { after } from 'node:test'
import {
  Admin,
  type CompressionAlgorithmValue,
  type MessageToProduce,
  Producer,
} from '../../src/kafka/library.ts'
import { afterwards, type Cleanup } from './cleanup.ts'
import { eventually } from './eventually.ts'
import { sharedServers } from './servers.ts'

export interface TopicOptions {
  /** Default 4. */
  partitions?: number
  /** Default: one that no other test has. */
  name?: string
  /** Such as { 'cleanup.policy': 'compact' }. */
  config?: Record<string, string>
  /** Default: the shared Kafka. */
  brokers?: string
  /** For each partition, the ids of the brokers that hold it; the first one leads. Default: one broker each. */
  assignments?: number[][]
}

/** Creates a topic, whose partitions then have a leader, and returns its name; it is deleted after the test. */
export async function topicFor(t: Cleanup, options: TopicOptions = {}): Promise<string> {
  const name = options.name ?? `topic-${randomUUID().slice(0, 13)}`
  const admin = adminOf(options.brokers)
  await admin.createTopics({
    topics: [name],
    ...(options.assignments
      ? {
          partitions: -1,
          replicas: -1,
          assignments: options.assignments.map((brokers, partition) => ({ partition, brokers })),
        }
      : { partitions: options.partitions ?? 4, replicas: 1 }),
    // some messages of tests are older than any retention
    configs: Object.entries({ 'retention.ms': '-1', ...options.config }).map(([key, value]) => ({
      name: key,
      value,
    })),
  })
  await eventually(`leaders of ${name}`, async () => {
    const metadata = await admin.metadata({ topics: [name], forceUpdate: true })
    const partitions = metadata.topics.get(name)?.partitions ?? []
    return partitions.length > 0 && partitions.every((partition) => partition.leader >= 0)
  })
  afterwards(t, async () => {
    // A test of its own Kafka may have killed it; nothing is left there to delete.
    await admin.deleteTopics({ topics: [name] }).catch(() => {})
  })
  return name
}

export interface Message {
  key?: string | Buffer | null
  /** null: a tombstone. */
  value: string | Buffer | null
  partition?: number
  headers?: Record<string, string | Buffer>
  /** ms since 1970. */
  timestamp?: number | bigint
}

export interface ProduceOptions {
  /** Default: the shared Kafka. */
  brokers?: string
  compression?: CompressionAlgorithmValue
  /** In a transaction that ends this way. */
  transaction?: 'commit' | 'abort'
  /** By a producer of its own: the one of the file goes on believing in the number of partitions it once saw. */
  fresh?: boolean
}

/** Messages without key and partition go round the partitions in turn. */
export async function produce(
  topic: string,
  messages: Message[],
  options: ProduceOptions = {},
): Promise<void> {
  const records = messages.map((message) => toRecord(topic, message))
  const sending = { compression: options.compression ?? 'none', acks: -1 } as const
  if (!options.transaction && !options.fresh) {
    const producer = await producerFor(topic, options.brokers)
    for (const chunk of chunksOf(records, 10_000)) await producer.send({ messages: chunk, ...sending })
    return
  }
  const producer = newProducer(options.brokers, options.transaction && `test-${randomUUID()}`)
  try {
    if (!options.transaction) {
      for (const chunk of chunksOf(records, 10_000)) await producer.send({ messages: chunk, ...sending })
      return
    }
    const transaction = await producer.beginTransaction()
    for (const chunk of chunksOf(records, 10_000)) await transaction.send({ messages: chunk, ...sending })
    await transaction[options.transaction]()
  } finally {
    await producer.close()
  }
}

type Record_ = MessageToProduce<Buffer, Buffer, Buffer, Buffer>

function toRecord(topic: string, message: Message): Record_ {
  const record: Record_ = { topic }
  if (message.key != null) record.key = Buffer.from(message.key as string)
  if (message.value !== null) record.value = Buffer.from(message.value as string)
  if (message.partition !== undefined) record.partition = message.partition
  if (message.timestamp !== undefined) record.timestamp = BigInt(message.timestamp)
  if (message.headers) {
    const headers = Object.entries(message.headers)
    record.headers = new Map(headers.map(([key, value]) => [Buffer.from(key), Buffer.from(value as string)]))
  }
  return record
}

function* chunksOf<T>(items: T[], size: number): Generator<T[]> {
  for (let start = 0; start < items.length; start += size) yield items.slice(start, start + size)
}

const admins = new Map<string, Admin>()
const producers = new Map<string, { producer: Producer; topicIds: Map<string, string> }>()
const opened: Producer[] = []

/** One admin client per Kafka and test file; closed at the end of the file. */
export function adminOf(brokers = sharedServers().brokers): Admin {
  const present = admins.get(brokers)
  if (present) return present
  const admin = new Admin({ clientId: 'millrace-test', bootstrapBrokers: brokers.split(','), retries: 5 })
  admins.set(brokers, admin)
  return admin
}

/** Another one after a topic was created again: the numbers that make sending idempotent belong to the old one. */
async function producerFor(topic: string, brokers = sharedServers().brokers): Promise<Producer> {
  const { topics } = await adminOf(brokers).metadata({
    topics: [topic],
    forceUpdate: true,
    autocreateTopics: true,
  })
  const id = topics.get(topic)!.id
  const present = producers.get(brokers)
  if (present && (present.topicIds.get(topic) ?? id) === id) {
    present.topicIds.set(topic, id)
    return present.producer
  }
  // The former one may still be sending for somebody else; it is closed at the end of the file, too.
  const producer = newProducer(brokers)
  opened.push(producer)
  producers.set(brokers, { producer, topicIds: new Map([[topic, id]]) })
  return producer
}

function newProducer(brokers = sharedServers().brokers, transactionalId?: string): Producer {
  // Idempotent: what the client repeats after an error of one partition must not be there twice in the others.
  // Without -1 a producer with a transactional id claims the producer id 0 for its own.
  const identity = { idempotent: true, producerId: -1n, producerEpoch: -1 }
  return new Producer({
    clientId: 'millrace-test',
    bootstrapBrokers: brokers.split(','),
    retries: 5,
    ...identity,
    ...(transactionalId && { transactionalId, retryDelay: 50 }),
  })
}

after(async () => {
  for (const client of [...admins.values(), ...opened]) await client.close()
})
