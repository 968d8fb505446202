// Topics with messages in them, as fast as a producer writes.

import { Admin, Producer, stringSerializers } from '../../src/kafka/library.ts'

export function newProducer(brokers: string) {
  return new Producer({ clientId: 'bench', bootstrapBrokers: [brokers], serializers: stringSerializers })
}

export async function createTopics(brokers: string, topics: string[], partitions: number): Promise<void> {
  const admin = new Admin({ clientId: 'bench', bootstrapBrokers: [brokers] })
  for (let i = 0; i < topics.length; i += 100) {
    await admin.createTopics({ topics: topics.slice(i, i + 100), partitions, replicas: 1 })
  }
  await admin.close()
}

/**
 * Makes a topic of four partitions with so many messages, which go to one partition after the other.
 * @param together how many go in one request, as one record batch: no more than the broker takes
 */
export async function fillTopic(
  brokers: string,
  topic: string,
  count: number,
  value: (i: number) => string,
  together = 5000,
): Promise<void> {
  await createTopics(brokers, [topic], topicPartitions)
  const producer = newProducer(brokers)
  for (let i = 0; i < count; ) {
    const partition = Math.floor(i / together) % topicPartitions
    const messages: { topic: string; partition: number; value: string }[] = []
    for (const end = Math.min(i + together, count); i < end; i++)
      messages.push({ topic, partition, value: value(i) })
    await producer.send({ messages, acks: -1 })
  }
  await producer.close()
}

export const topicPartitions = 4
