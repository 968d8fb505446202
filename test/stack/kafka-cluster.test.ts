import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { test } from 'node:test'
import { startKafkaCluster } from '../../stack/kafka-cluster.ts'
import { afterwards } from '../support/cleanup.ts'
import { eventually } from '../support/eventually.ts'
import { adminOf, produce, topicFor } from '../support/topic.ts'

test('three brokers share a topic; one is killed, another leads, and it comes back', async (t) => {
  const cluster = await startKafkaCluster()
  afterwards(t, () => cluster.remove())
  const { brokers } = cluster
  const topic = await topicFor(t, { brokers, assignments: [[1, 2, 3]] })
  await produce(topic, [{ value: 'one' }], { brokers })
  const admin = adminOf(brokers)
  const leader = async () => {
    const metadata = await admin.metadata({ topics: [topic], forceUpdate: true })
    return metadata.topics.get(topic)!.partitions[0]!.leader
  }
  assert.equal(await leader(), 1)
  await cluster.node(1).kill()
  assert.equal(await eventually('another leader', async () => (await leader()) === 2), true)
  await produce(topic, [{ value: 'two' }], { brokers, fresh: true })
  await cluster.node(1).start()
  await cluster.remove()
  assert.ok(!existsSync(cluster.node(1).folder))
})
