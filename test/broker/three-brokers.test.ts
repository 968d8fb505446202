// What one broker cannot show: leaders that move, one that dies and takes messages with it, a partition without a
// leader beside others that have one.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type KafkaCluster, startKafkaCluster } from '../../stack/kafka-cluster.ts'
import { afterwards } from '../support/cleanup.ts'
import { type Database, databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import {
  addBroker,
  begin,
  consumerOf,
  positionsOf,
  promptDaemon,
  untilPassed,
  untilRows,
  untilState,
} from '../support/flow.ts'
import { produceWithJava } from '../support/java-client.ts'
import { Ledger } from '../support/ledger.ts'
import { adminOf, produce, topicFor } from '../support/topic.ts'

// they take many seconds to start, so all tests share them and leave all three running
let cluster: KafkaCluster
before(async () => {
  cluster = await startKafkaCluster()
})
after(() => cluster?.remove())

const numbers = 'SELECT array_agg(n ORDER BY n) FROM numbers'
const ids = [1, 2, 3]
const values = (...numbers: number[]) => numbers.map((n) => ({ value: String(n), partition: 0 }))

async function setUp(t: Parameters<typeof databaseFor>[0]): Promise<Database> {
  const db = await databaseFor(t)
  await addBroker(db, cluster.brokers)
  await db.query('CREATE TABLE numbers (n int)')
  afterwards(t, () => Promise.all(ids.map((id) => cluster.node(id).start())))
  return db
}

interface Described {
  leader: number
  isr: number[]
}

async function describe(topic: string, partition = 0): Promise<Described> {
  const metadata = await adminOf(cluster.brokers).metadata({ topics: [topic], forceUpdate: true })
  const { leader, isr } = metadata.topics.get(topic)!.partitions[partition]!
  return { leader, isr }
}

function untilDescribed(what: string, topic: string, is: (found: Described) => boolean): Promise<unknown> {
  return eventually(what, async () => is(await describe(topic)), { deadline: 60_000 })
}

test('leaders that die under load, one after the other, each time with another one to go on', async (t) => {
  const db = await setUp(t)
  const { brokers } = cluster
  const daemon = await promptDaemon(t, db)
  const assignments = [
    [1, 2, 3],
    [2, 3, 1],
    [3, 1, 2],
    [1, 3, 2],
  ]
  const ledger = await Ledger.open(t, db, { brokers, assignments })
  await ledger.produce(24_000)
  await ledger.begin({ maxbytes: 15_000, parallelism: 2 })
  await ledger.untilLoaded(2_000)
  for (const id of [1, 2]) {
    await cluster.node(id).kill()
    // those that it led have another leader, and what they hold arrives
    await untilDescribed(`partition ${id - 1} has a new leader`, ledger.topic, ({ leader }) => leader !== id)
    await ledger.untilLoaded(2_000 * (id + 1), { deadline: 120_000 })
    await cluster.node(id).start()
    await untilDescribed('all replicas are in sync', ledger.topic, ({ isr }) => isr.length === 3)
  }
  await ledger.untilWhole({ deadline: 120_000 })
  await untilState(db, ledger.topic, 'running')
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
})

test('a rolling restart: each broker stops in order and comes back', async (t) => {
  const db = await setUp(t)
  const { brokers } = cluster
  await promptDaemon(t, db)
  const ledger = await Ledger.open(t, db, { brokers, assignments: [ids, [2, 3, 1], [3, 1, 2]] })
  await ledger.begin({ maxbytes: 15_000 })
  for (const id of ids) {
    await ledger.produce(3_000, 400, { fresh: true })
    await cluster.node(id).stop()
    await untilDescribed('another one leads', ledger.topic, ({ leader }) => leader !== id)
    await ledger.produce(1_000, 400, { fresh: true })
    await ledger.untilWhole({ deadline: 120_000 })
    await cluster.node(id).start()
    await untilDescribed('all replicas are in sync', ledger.topic, ({ isr }) => isr.length === 3)
  }
  await ledger.untilWhole({ deadline: 120_000 })
  await untilState(db, ledger.topic, 'running')
})

test('a partition without a leader waits, visibly; the others flow', async (t) => {
  const db = await setUp(t)
  const { brokers } = cluster
  await db.query('CREATE TABLE received (value text)')
  await promptDaemon(t, db)
  // one replica each
  const topic = await topicFor(t, { brokers, assignments: [[1], [2], [3]] })
  await produce(
    topic,
    [0, 1, 2].map((partition) => ({ value: 'early', partition })),
    { brokers },
  )
  await begin(db, topic, 'received', { start_offset: -2 })
  await untilPassed(db, topic, 3)
  await cluster.node(2).kill()
  const retrying = await untilState(db, topic, 'retrying', { deadline: 60_000 })
  assert.match(retrying.error_code ?? '', /^(leader-missing|kafka-unreachable)$/)
  const late = await produceWithJava(t, topic, 10, { partition: 2, codecs: ['none'], brokers })
  await untilRows(
    db,
    `SELECT array_agg(value ORDER BY value) FROM received WHERE value <> 'early'`,
    [[late]],
    {
      deadline: 60_000,
    },
  )
  await eventually('it says which partition waits', async () => {
    const { error_code: code, error_message: message } = await consumerOf(db, topic)
    return code === 'leader-missing' && message?.includes('partition 1')
  })
  await cluster.node(2).start()
  await untilState(db, topic, 'running', { deadline: 60_000 })
  await produce(topic, [{ value: 'after', partition: 1 }], { brokers, fresh: true })
  await untilRows(db, `SELECT count(*)::int FROM received`, [[14]])
})

/**
 * A topic of brokers 1 and 2 whose last messages only broker 1 has; then broker 1 dies and broker 2, which never saw
 * them, becomes the leader.
 */
async function uncleanTopic(t: Parameters<typeof databaseFor>[0]) {
  const { brokers } = cluster
  const config = { 'unclean.leader.election.enable': 'true', 'min.insync.replicas': '1' }
  const topic = await topicFor(t, { brokers, assignments: [[1, 2]], config })
  await produce(topic, values(1, 2, 3), { brokers })
  await untilDescribed('both are in sync', topic, ({ isr }) => isr.length === 2)
  await cluster.node(2).kill()
  await untilDescribed('broker 1 is alone', topic, ({ isr }) => isr.length === 1)
  await produce(topic, values(4, 5), { brokers, fresh: true })
  const elect = async () => {
    await cluster.node(1).kill()
    await cluster.node(2).start()
    await untilDescribed('broker 2 leads', topic, ({ leader }) => leader === 2)
  }
  return { topic, brokers, elect }
}

test('F08 KIP-320 an unclean election while the consumer runs stops it; what others wrote there is not mixed in', async (t) => {
  const db = await setUp(t)
  const daemon = await promptDaemon(t, db)
  const { topic, brokers, elect } = await uncleanTopic(t)
  await begin(db, topic, 'numbers', { start_offset: -2 })
  await untilRows(db, numbers, [[[1, 2, 3, 4, 5]]])
  await elect()
  // their offsets are 3, 4 and 5: the position is among them again
  await produce(topic, values(74, 75, 76), { brokers, fresh: true })
  const failed = await untilState(db, topic, 'failed', { deadline: 60_000 })
  assert.equal(failed.error_code, 'log-truncated')
  assert.equal(failed.error_partition, 0)
  await daemon.waitForLog('log-truncated')
  assert.deepEqual(await positionsOf(db, topic), { 0: 5 })
  await untilRows(db, numbers, [[[1, 2, 3, 4, 5]]])
  // somebody has compared and says where to go on
  await begin(db, topic, 'numbers', { start_offset: 3 })
  await untilRows(db, numbers, [[[1, 2, 3, 4, 5, 74, 75, 76]]])
})

test('F08 KIP-320 an unclean election while no daemon runs stops the consumer when one comes', async (t) => {
  const db = await setUp(t)
  const daemon = await promptDaemon(t, db)
  const { topic, brokers, elect } = await uncleanTopic(t)
  await begin(db, topic, 'numbers', { start_offset: -2 })
  await untilRows(db, numbers, [[[1, 2, 3, 4, 5]]])
  await db.query(`UPDATE millrace.consumer SET on_offset_gap = 'earliest'`)
  await untilState(db, topic, 'running')
  await daemon.stop()
  await elect()
  await produce(topic, values(74, 75, 76), { brokers, fresh: true })
  await promptDaemon(t, db)
  assert.equal((await untilState(db, topic, 'failed', { deadline: 60_000 })).error_code, 'log-truncated')
  await untilRows(db, numbers, [[[1, 2, 3, 4, 5]]])
})
