// A broker ends connections that nobody used for some time (connections.max.idle.ms), which says nothing about Kafka: who
// sends seldom is not told each time that Kafka was away, and nothing counts as perhaps written that was never sent.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Brokers } from '../../src/kafka/brokers.ts'
import { Coordinator } from '../../src/kafka/coordinator.ts'
import { TopicDirectory } from '../../src/kafka/topic-directory.ts'
import { Transactions } from '../../src/kafka/transactions.ts'
import { afterwards } from '../support/cleanup.ts'
import { eventually } from '../support/eventually.ts'
import { access } from '../support/log.ts'
import { kafkaFor } from '../support/servers.ts'
import { topicFor } from '../support/topic.ts'

test('a connection that the broker ended while nothing was sent is opened again, and nobody hears of it', async (t) => {
  const { brokers: address } = await kafkaFor(t, { settings: { 'connections.max.idle.ms': '1000' } })
  const topic = await topicFor(t, { brokers: address, partitions: 1 })
  const directory = new TopicDirectory(access(address))
  const brokers = new Brokers(access(address))
  afterwards(t, () => brokers.close())
  const found = await directory.lookUp(topic)
  await directory.close()
  brokers.note(found)
  const link = brokers.linkTo(found.partitions[0]!.leader)

  const troubles: string[] = []
  const events = {
    ...{ maySend: () => true, answered: () => {} },
    trouble: (error: unknown) => error && troubles.push(String(error)),
  }
  const coordinator = new Coordinator(access(address), { min: 5, max: 100 }, events)
  afterwards(t, () => coordinator.close())
  const transactions = new Transactions('default', [], coordinator)

  for (let round = 0; round < 2; round++) {
    await link.newProducer()
    await transactions.begin(topic, 0)
    await eventually('the broker has ended both', () => !link.isConnected && !coordinator.isConnected)
  }
  await link.newProducer()
  await transactions.begin(topic, 0)
  assert.deepEqual(troubles, [])
})
