// Sending exactly once to three brokers, where a partition of a transaction takes nothing for long: not even that the
// transaction is over. Its topic waits, others are sent in other transactions, and each message is there once in the end.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { FetchIsolationLevels, ListOffsetTimestamps } from '../../src/kafka/library.ts'
import { type KafkaCluster, startKafkaCluster } from '../../stack/kafka-cluster.ts'
import { afterwards } from '../support/cleanup.ts'
import { type Database, databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { deliver, positionTopicOf, valuesOnce } from '../support/exact.ts'
import { addBroker, promptDaemon } from '../support/flow.ts'
import { KeyWriters } from '../support/key-writer.ts'
import { outboxStatus, promptRelay, untilSent } from '../support/sent.ts'
import { adminOf, topicFor } from '../support/topic.ts'

let cluster: KafkaCluster
before(async () => {
  cluster = await startKafkaCluster()
})
after(() => cluster?.remove())

const late = { deadline: 120_000 }

const impatient = {
  ...promptRelay,
  MILLRACE_KAFKA_REQUEST_TIMEOUT: '2s',
  MILLRACE_KAFKA_CONNECT_TIMEOUT: '1s',
  MILLRACE_OUTBOUND_PARTITION_PATIENCE: '3s',
}

/** A topic that needs all of these replicas, and one that broker 2 has nothing to do with. */
async function setUp(t: Parameters<typeof databaseFor>[0], replicas: number[]) {
  const { brokers } = cluster
  const db = await databaseFor(t)
  // of those that a client asks first, none is to be silent
  await addBroker(db, [1, 3].map((id) => cluster.node(id).brokers).join(','))
  await deliver(db, 'exactly_once')
  const config = { 'min.insync.replicas': String(replicas.length) }
  const topic = await topicFor(t, { brokers, assignments: [replicas], config })
  const other = await topicFor(t, { brokers, assignments: [[1, 3]] })
  const compact = { 'cleanup.policy': 'compact' }
  await topicFor(t, { brokers, name: await positionTopicOf(db), assignments: [[1, 3]], config: compact })
  const admin = adminOf(cluster.node(1).brokers)
  const committed = async () => {
    const [listed] = await admin.listOffsets({
      topics: [{ name: other, partitions: [{ partitionIndex: 0, timestamp: ListOffsetTimestamps.LATEST }] }],
      isolationLevel: FetchIsolationLevels.READ_COMMITTED,
    })
    return Number(listed!.partitions[0]!.offset)
  }
  let count = 0
  return {
    db,
    topic,
    other,
    inSync: async () => {
      const metadata = await admin.metadata({ topics: [topic], forceUpdate: true })
      return metadata.topics.get(topic)!.partitions[0]!.isr.length
    },
    /** Messages for the other topic, each in a transaction, which are committed there. */
    sendOthers: async () => {
      const start = await committed()
      for (let i = 0; i < 20; i++) {
        await db.query("SELECT millrace.produce($1, $2, 'k')", [other, String(++count)])
      }
      // each of Kafka's transactions adds its end
      await eventually('they are committed', async () => (await committed()) > start + 20, late)
    },
    values: () => Array.from({ length: count }, (_, i) => String(i + 1)),
  }
}

async function lines(db: Pick<Database, 'query'>): Promise<{ line: number; unfenced: number }> {
  const { rows } = await db.query<{ line: number; unfenced: number }>(
    'SELECT transaction_line AS line, transaction_line - 1 - fenced_line AS unfenced FROM millrace.outbox_progress',
  )
  return rows[0]!
}

const ways = {
  'it has too few replicas': {
    replicas: [1, 2],
    // it is part of a transaction from the first attempt on; without a leader there is none, once that is known
    held: true,
    away: () => cluster.node(2).kill(),
    first: async (inSync: () => Promise<number>) => {
      await eventually('one replica is left', async () => (await inSync()) === 1, late)
    },
    back: () => cluster.node(2).start(),
  },
  'it has no leader': {
    replicas: [2],
    held: false,
    away: () => cluster.node(2).kill(),
    first: async () => {},
    back: () => cluster.node(2).start(),
  },
  'its follower does not answer': {
    replicas: [1, 2],
    held: false,
    away: async () => void process.kill(cluster.node(2).pid(), 'SIGSTOP'),
    first: async () => {},
    back: async () => void process.kill(cluster.node(2).pid(), 'SIGCONT'),
  },
}

for (const [name, { replicas, held, away, first, back }] of Object.entries(ways)) {
  test(`F19 a partition takes nothing for long, ${name}: its topic waits, others go on, exactly once`, async (t) => {
    const { db, topic, other, inSync, sendOthers, values } = await setUp(t, replicas)
    const daemon = await promptDaemon(t, db, { env: impatient })
    const writers = await KeyWriters.open(db, topic)
    await writers.write(40)
    await sendOthers()
    await untilSent(db, late)
    let isAway = true
    afterwards(t, async () => {
      if (isAway) await back()
    })
    await away()
    await first(inSync)
    await writers.write(400)
    await sendOthers()
    const status = await eventually(
      'what waits shows',
      async () => {
        const found = await outboxStatus(db)
        return found.waiting === '400' && found
      },
      late,
    )
    assert.equal(status.waiting_code, 'partition-unavailable')
    assert.equal(status.waiting_topic, topic)
    for (let round = 0; round < 3; round++) await sendOthers()
    if (held) {
      assert.ok((await lines(db)).line > 1, 'its first transactional id is held')
      assert.match(daemon.output(), /"code":"transaction-held"/)
    }
    // whoever comes next knows only what the database and Kafka say
    daemon.kill('SIGKILL')
    await daemon.exited
    await promptDaemon(t, db, { env: impatient })
    await sendOthers()
    isAway = false
    await back()
    await eventually('nothing waits', async () => (await outboxStatus(db)).waiting === '0', late)
    await untilSent(db, late)
    await eventually('nobody can send under a former id', async () => (await lines(db)).unfenced === 0, late)
    const { repeated } = await writers.check(t, cluster.brokers)
    assert.equal(repeated, 0)
    assert.deepEqual(await valuesOnce(t, other, cluster.brokers), values())
  })
}
