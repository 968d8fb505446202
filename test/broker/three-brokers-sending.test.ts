// Sending to three brokers: leaders that die and move, replicas that are missing, a partition without a leader.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type KafkaCluster, startKafkaCluster } from '../../stack/kafka-cluster.ts'
import { afterwards } from '../support/cleanup.ts'
import { type Database, databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { addBroker, promptDaemon } from '../support/flow.ts'
import { KeyWriters } from '../support/key-writer.ts'
import { outboxStatus, promptRelay, untilCount, untilSent } from '../support/sent.ts'
import { adminOf, topicFor } from '../support/topic.ts'

let cluster: KafkaCluster
before(async () => {
  cluster = await startKafkaCluster()
})
after(() => cluster?.remove())

const ids = [1, 2, 3]

async function setUp(t: Parameters<typeof databaseFor>[0]): Promise<Database> {
  const db = await databaseFor(t)
  await addBroker(db, cluster.brokers)
  afterwards(t, () => Promise.all(ids.map((id) => cluster.node(id).start())))
  return db
}

async function partitionsOf(topic: string) {
  const metadata = await adminOf(cluster.brokers).metadata({ topics: [topic], forceUpdate: true })
  return metadata.topics.get(topic)!.partitions
}

const late = { deadline: 120_000 }

function untilInSync(topic: string): Promise<unknown> {
  const all = async () => (await partitionsOf(topic)).every(({ isr }) => isr.length === 3)
  return eventually(`all replicas of ${topic} are in sync`, all, late)
}

test('a leader that dies under load and one that stops in order: every row is a message, keys are in order', async (t) => {
  const db = await setUp(t)
  const { brokers } = cluster
  const config = { 'min.insync.replicas': '2' }
  const topic = await topicFor(t, { brokers, assignments: [ids, [2, 3, 1], [3, 1, 2]], config })
  const daemon = await promptDaemon(t, db, { env: promptRelay })
  const writers = await KeyWriters.open(db, topic)
  let writing = true
  // a load that goes on, and does not fill what the reader has to hold in the end
  const load = (async () => {
    const client = await db.client()
    while (writing) await client.query('SELECT pg_sleep(0.05)').then(() => writers.write(20))
  })()
  for (const id of [1, 2]) {
    await untilCount(topic, (await writers.count()) + 100, { brokers, ...late })
    const node = cluster.node(id)
    await (id === 2 ? node.stop() : node.kill())
    await eventually(
      'others lead',
      async () => (await partitionsOf(topic)).every(({ leader }) => leader !== id && leader >= 0),
      late,
    )
    const written = await writers.count()
    // also what that one had led is sent, while it is away
    await untilCount(topic, written, { brokers, ...late })
    await node.start()
    await untilInSync(topic)
  }
  writing = false
  await load
  await untilSent(db, late)
  await eventually('it is over', async () => (await outboxStatus(db)).error_code === null)
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
  await writers.check(t, brokers)
})

test('too few replicas: those messages wait, no dead letters in any case, others are sent; then all of it is', async (t) => {
  const db = await setUp(t)
  const { brokers } = cluster
  const config = { 'min.insync.replicas': '2' }
  const topic = await topicFor(t, { brokers, assignments: [[1, 2]], config })
  const other = await topicFor(t, { brokers, assignments: [[1, 3]], config })
  await db.query("SELECT millrace.alter_cluster('default', on_refused := 'dead_letter')")
  const env = { ...promptRelay, MILLRACE_OUTBOUND_PARTITION_PATIENCE: '3s' }
  const daemon = await promptDaemon(t, db, { env })
  const writers = await KeyWriters.open(db, topic)
  await writers.write(40)
  await untilCount(topic, 40, { brokers, ...late })
  await cluster.node(2).kill()
  await eventually('one replica is left', async () => (await partitionsOf(topic))[0]!.isr.length === 1, late)
  await writers.write(400)
  for (let i = 0; i < 20; i++) await db.query("SELECT millrace.produce($1, $2, 'k')", [other, String(i)])
  await untilCount(other, 20, { brokers, ...late })
  const status = await eventually(
    'what waits shows',
    async () => {
      const found = await outboxStatus(db)
      return found.waiting === '400' && found
    },
    late,
  )
  assert.equal(status.waiting_code, 'partition-unavailable')
  assert.match(status.waiting_message!, /min\.insync\.replicas/)
  assert.deepEqual((await db.query('SELECT id FROM millrace.outbox_dead_letters')).rows, [])
  // what is well beside it does not end the trouble, nor does a retry begin another one
  const lines = daemon.output().split('\n')
  const said = lines.filter((line) => /"level":"warn".*"code":"produce-failed"/.test(line))
  assert.equal(said.length, 1, said.join('\n'))
  await cluster.node(2).start()
  await eventually('nothing waits', async () => (await outboxStatus(db)).waiting === '0', late)
  await untilSent(db, late)
  await writers.check(t, brokers)
})
