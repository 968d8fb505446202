import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { Admin } from '../../src/kafka/library.ts'
import type { SecureListener } from '../../stack/kafka-security.ts'
import { eventually } from '../support/eventually.ts'
import { kafkaFor, sharedServers } from '../support/servers.ts'
import { adminOf, produce, topicFor } from '../support/topic.ts'

async function messagesIn(topic: string, brokers?: string): Promise<number[]> {
  const admin = adminOf(brokers)
  const metadata = await admin.metadata({ topics: [topic] })
  const count = metadata.topics.get(topic)!.partitionsCount
  const partitions = Array.from({ length: count }, (_, partitionIndex) => ({
    partitionIndex,
    timestamp: -1n,
  }))
  const [listed] = await admin.listOffsets({ topics: [{ name: topic, partitions }] })
  return listed!.partitions
    .sort((a, b) => a.partitionIndex - b.partitionIndex)
    .map((partition) => Number(partition.offset))
}

test('Kafka comes back with its messages after kill -9, on the same port', async (t) => {
  const server = await kafkaFor(t)
  const firstPid = server.pid()
  const topic = await topicFor(t, { partitions: 2, brokers: server.brokers })
  const messages = Array.from({ length: 500 }, (_, n) => ({ value: `message ${n}`, partition: n % 2 }))
  await produce(topic, messages, { brokers: server.brokers })

  await server.kill()
  assert.throws(() => server.pid(), /down/)
  await server.start()
  assert.notEqual(server.pid(), firstPid)
  const counts = await eventually('partitions have a leader again', () => messagesIn(topic, server.brokers))
  assert.deepEqual(counts, [250, 250])
  await server.remove()
  assert.equal(existsSync(server.folder), false)
})

test('a topic is created on first use, with 4 partitions', async () => {
  const topic = `first-use-${process.pid}`
  const admin = adminOf()
  const metadata = await eventually('the topic', () =>
    admin.metadata({ topics: [topic], autocreateTopics: true, forceUpdate: true }),
  )
  assert.equal(metadata.topics.get(topic)?.partitionsCount, 4)
})

test('messages of an aborted transaction take offsets, tombstones and empty messages are messages', async (t) => {
  const topic = await topicFor(t, { partitions: 1 })
  await produce(topic, [{ value: 'one' }, { key: 'k', value: null }, { value: '' }])
  assert.deepEqual(await messagesIn(topic), [3])
  await produce(topic, [{ value: 'two' }], { transaction: 'abort' })
  await produce(topic, [{ value: 'three' }], { transaction: 'commit' })
  // Each transaction ends with a control record, which the broker writes in its own time.
  await eventually('both control records', async () => (await messagesIn(topic))[0] === 7)
})

for (const variant of [
  'sasl_plain',
  'sasl_scram256',
  'sasl_scram512',
  'tls',
  'tls_sasl_plain',
  'tls_sasl_scram256',
  'tls_sasl_scram512',
] as const) {
  test(`the ${variant} listener answers who has what it asks for, and nobody else`, async () => {
    const listener = sharedServers().secure[variant]
    assert.ok(await reach(listener))
    if (listener.password) await assert.rejects(reach({ ...listener, password: 'not this one' }))
    const { caFile, ...withoutCa } = listener
    if (caFile) await assert.rejects(reach({ ...withoutCa, brokers: listener.brokers }, true))
  })
}

async function reach(listener: SecureListener, systemCa = false): Promise<boolean> {
  const { mechanism, username, password, caFile } = listener
  const tls = caFile ? { ca: readFileSync(caFile) } : systemCa ? {} : undefined
  const admin = new Admin({
    clientId: 'millrace-test',
    bootstrapBrokers: [listener.brokers],
    retries: 0,
    connectTimeout: 3_000,
    ...(tls && { tls }),
    ...(mechanism && { sasl: { mechanism, username: username!, password: password! } }),
  })
  try {
    return (await admin.metadata({ topics: [] })).brokers.size === 1
  } finally {
    await admin.close()
  }
}
