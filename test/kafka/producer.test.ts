// A producer against a real broker, where what it meets can be arranged exactly: what has no place any more is refused and
// waited for by nobody, and no message is taken for the repetition of another one.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { Brokers, type Identity } from '../../src/kafka/brokers.ts'
import { Coordinator, type CoordinatorEvents } from '../../src/kafka/coordinator.ts'
import { PartitionQueue } from '../../src/kafka/partition-queue.ts'
import { mayBeWritten } from '../../src/kafka/produce-errors.ts'
import { Producer } from '../../src/kafka/producer.ts'
import type { ProducerEvents, ProducerSettings } from '../../src/kafka/producer-events.ts'
import { TopicDirectory } from '../../src/kafka/topic-directory.ts'
import type { TopicPartition } from '../../src/kafka/topic-partition.ts'
import { Transactions } from '../../src/kafka/transactions.ts'
import { afterwards, type Cleanup } from '../support/cleanup.ts'
import { eventually } from '../support/eventually.ts'
import { access } from '../support/log.ts'
import { countOf } from '../support/sent.ts'
import { adminOf, topicFor } from '../support/topic.ts'

const settings: ProducerSettings = {
  ...{ compression: 'none', linger: 0, batchSize: 16_384, buffer: 1_000_000 },
  ...{ retry: { min: 5, max: 100 }, metadataInterval: 60_000, partitionPatience: 60_000 },
}

const message = (text: string) => ({ key: null, value: Buffer.from(text), headers: [], timestamp: 0 })

test('messages for a partition that is not there any more are refused, and nobody waits for them without end', async (t) => {
  const topic = await topicFor(t, { partitions: 2 })
  const refused: [number, string][] = []
  const events: ProducerEvents = {
    ...{ maySend: () => false, acknowledged: () => {}, topicRefused: () => {}, mustWait: () => false },
    ...{ withheld: () => {}, choseItsPartition: () => true, trouble: () => {}, broken: () => {} },
    refused: (_queue, _record, ticket, { code }) => refused.push([ticket, code]),
  }
  const producer = new Producer(access(), settings, events)
  afterwards(t, () => producer.close())
  await producer.learn(topic)
  producer.append(topic, 1, message('one'), 1)
  producer.append(topic, 1, message('two'), 2)
  const idle = producer.untilIdle().then(() => 'idle')
  await adminOf().deleteTopics({ topics: [topic] })
  await eventually('the topic is there again', () =>
    adminOf().createTopics({ topics: [topic], partitions: 1, replicas: 1 }),
  )
  await eventually('it is known how many partitions there are', async () => {
    await producer.learn(topic)
    return refused.length > 0
  })
  assert.deepEqual(refused, [
    [1, 'target-partition-missing'],
    [2, 'target-partition-missing'],
  ])
  assert.ok(producer.idle)
  const deadline = setTimeout(10_000, 'still waiting', { ref: false })
  assert.equal(await Promise.race([idle, deadline]), 'idle')
})

/** Transactions that go on only when they are let. */
class Gate extends Transactions {
  readonly #reached = Promise.withResolvers<void>()
  readonly #open = Promise.withResolvers<void>()

  override async include(places: TopicPartition[]): Promise<Identity> {
    const identity = await super.include(places)
    this.#reached.resolve()
    await this.#open.promise
    return identity
  }

  get reached(): Promise<void> {
    return this.#reached.promise
  }

  open(): void {
    this.#open.resolve()
  }
}

test('nothing is sent to a partition that goes away while its batch is made ready, nor to another one of its number', async (t) => {
  const topic = await topicFor(t, { partitions: 2 })
  const written: number[] = []
  const refused: [number, string][] = []
  const events: ProducerEvents & CoordinatorEvents = {
    ...{ maySend: () => true, topicRefused: () => {}, mustWait: () => false, answered: () => {} },
    ...{ withheld: () => {}, choseItsPartition: () => true, trouble: () => {}, broken: assert.fail },
    acknowledged: (tickets) => void written.push(...tickets),
    refused: (_queue, _record, ticket, { code }) => refused.push([ticket, code]),
  }
  const coordinator = new Coordinator(access(), settings.retry, events)
  const transactions = new Gate('default', [], coordinator)
  const producer = new Producer(access(), settings, events, transactions)
  afterwards(t, () => coordinator.close())
  afterwards(t, () => producer.close())
  assert.equal(await transactions.begin(topic, 0), null)
  await producer.learn(topic)
  producer.append(topic, 0, message('stays'), 1)
  producer.append(topic, 1, message('goes'), 2)
  await transactions.reached
  await adminOf().deleteTopics({ topics: [topic] })
  await eventually('the topic is there again', () =>
    adminOf().createTopics({ topics: [topic], partitions: 1, replicas: 1 }),
  )
  await eventually('it is known that the partition is gone', async () => {
    await producer.learn(topic)
    return refused.length > 0
  })
  await adminOf().createPartitions({ topics: [{ name: topic, count: 2 }] })
  await eventually('there is another one of its number', async () => {
    const metadata = await adminOf().metadata({ topics: [topic], forceUpdate: true })
    return (
      metadata.topics.get(topic)?.partitions[1]?.leader === metadata.topics.get(topic)?.partitions[0]?.leader
    )
  })
  transactions.open()
  await producer.untilIdle()
  assert.deepEqual([written, refused], [[1], [[2, 'target-partition-missing']]])
  assert.equal(await countOf(topic), 1)
})

/** A queue whose batches go to the broker by hand, and how one is sent. */
async function queueTo(t: Cleanup, topic: string) {
  const brokers = new Brokers(access())
  const directory = new TopicDirectory(access())
  afterwards(t, () => directory.close())
  afterwards(t, () => brokers.close())
  const found = await directory.lookUp(topic)
  brokers.note(found)
  const link = brokers.linkTo(found.partitions[0]!.leader)
  const queue = new PartitionQueue(topic, 0)
  const send = async () => {
    const taken = queue.take()
    let identity = await brokers.identityFrom(link)
    if (queue.hasSpent(identity)) {
      await brokers.renewIdentity(identity.producerId)
      identity = await brokers.identityFrom(link)
    }
    const bytes = await taken.batch.encode(queue.number(taken, identity), 'none')
    const [outcome] = await link.produce([{ topic, partition: 0, bytes }], null)
    assert.equal(outcome?.errorCode, 0)
    return outcome!
  }
  return { queue, send }
}

test('after a batch that was written unheard and then refused, the next message is written, not taken for it', async (t) => {
  const topic = await topicFor(t, { partitions: 1 })
  const { queue, send } = await queueTo(t, topic)
  queue.append(message('one'), 1, 1, 0)
  await send()
  // the answer was lost on its way; the repetition is refused, as for a timestamp that is too old by now
  queue.again(0, true)
  queue.take()
  queue.split()
  queue.append(message('two'), 2, 1, 0)
  await send()
  assert.equal(await countOf(topic), 2)
})

test('a leader that is replaced may have written what it refuses: no other message takes the number of that batch', async (t) => {
  const topic = await topicFor(t, { partitions: 1 })
  const { queue, send } = await queueTo(t, topic)
  queue.append(message('one'), 1, 1, 0)
  const { appended } = await send()
  // NOT_LEADER_OR_FOLLOWER, when the followers had it already; then the topic has to wait for another reason
  queue.again(0, mayBeWritten(6, appended))
  assert.deepEqual(queue.sift(() => true).tickets, [])
  queue.append(message('two'), 2, 1, 0)
  while (!queue.empty) {
    await send()
    queue.done()
  }
  assert.equal(await countOf(topic), 2)
})
