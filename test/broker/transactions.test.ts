// What producers do in transactions, as a reader that comes along in small steps sees it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Producer } from '../../src/kafka/library.ts'
import { afterwards, type Cleanup } from '../support/cleanup.ts'
import { databaseFor } from '../support/database.ts'
import {
  addBroker,
  begin,
  consumerOf,
  positionsOf,
  promptDaemon,
  untilPassed,
  untilRows,
} from '../support/flow.ts'
import { sharedServers } from '../support/servers.ts'
import { produce, topicFor } from '../support/topic.ts'

const all = 'SELECT array_agg(value ORDER BY value) FROM received'

async function setUp(t: Cleanup) {
  const db = await databaseFor(t)
  await addBroker(db)
  await db.query('CREATE TABLE received (value text)')
  await promptDaemon(t, db)
  return { db, topic: await topicFor(t, { partitions: 1 }) }
}

function transactional(t: Cleanup, id: string): Producer {
  const producer = new Producer({
    clientId: 'millrace-test',
    bootstrapBrokers: sharedServers().brokers.split(','),
    transactionalId: id,
    idempotent: true,
    producerId: -1n,
    producerEpoch: -1,
    retries: 20,
    retryDelay: 50,
  })
  afterwards(t, () => producer.close())
  return producer
}

const padded = (text: string) => text.padEnd(5000, '.')

test('F10 an aborted and a committed transaction that lie across many Fetches, one inside the other', async (t) => {
  const { db, topic } = await setUp(t)
  const [lost, kept] = [transactional(t, `${topic}-lost`), transactional(t, `${topic}-kept`)]
  const [losing, keeping] = [await lost.beginTransaction(), await kept.beginTransaction()]
  const expected: string[] = []
  const message = (value: string) => ({ topic, value: Buffer.from(value), partition: 0 })
  for (let round = 10; round < 40; round++) {
    await losing.send({ messages: [message(padded(`lost ${round}`))] })
    await keeping.send({ messages: [message(padded(`kept ${round}`))] })
    await produce(topic, [{ value: padded(`plain ${round}`) }])
    expected.push(padded(`kept ${round}`), padded(`plain ${round}`))
  }
  await losing.abort()
  await produce(topic, [{ value: 'between the markers' }])
  await keeping.commit()
  expected.push('between the markers')
  // a Fetch asks for no more than a batch may have: here, for about two messages
  await begin(db, topic, 'received', { start_offset: -2, maxbytes: 10_000, batchsize: 1 })
  await untilPassed(db, topic, 30 * 3 + 1 + 2)
  await untilRows(db, all, [[expected.toSorted()]])
  const { rows } = await db.query('SELECT count(DISTINCT xmin::text)::int AS commits FROM received')
  assert.ok(rows[0].commits > 5, `${rows[0].commits} transactions`)
})

test('F10 a position inside a transaction that was aborted', async (t) => {
  const { db, topic } = await setUp(t)
  const values = (kind: string, count: number) =>
    Array.from({ length: count }, (_, n) => ({ value: `${kind} ${n}` }))
  await produce(topic, values('aborted', 10), { transaction: 'abort' })
  await produce(topic, values('plain', 2))
  await begin(db, topic, 'received', { start_offset: 5 })
  await untilPassed(db, topic, 13)
  await untilRows(db, all, [[['plain 0', 'plain 1']]])
})

test('F10 a transaction that stays open and is then aborted: what is behind it arrives, it does not', async (t) => {
  const { db, topic } = await setUp(t)
  const producer = transactional(t, topic)
  await begin(db, topic, 'received', { start_offset: -2 })
  await produce(topic, [{ value: 'before' }])
  const transaction = await producer.beginTransaction()
  await transaction.send({ messages: [{ topic, value: Buffer.from('inside'), partition: 0 }] })
  await produce(topic, [{ value: 'behind' }])
  await untilRows(db, all, [[['before']]])
  // the daemon sees that there is more, and that it cannot be read yet
  await untilRows(db, 'SELECT high::int, last_stable::int FROM millrace.watermark', [[3, 1]])
  assert.deepEqual(await positionsOf(db, topic), { 0: 1 })
  assert.equal((await consumerOf(db, topic)).lag, '2')
  await transaction.abort()
  await untilPassed(db, topic, 4)
  await untilRows(db, all, [[['before', 'behind']]])
})

test('F10 a partition that holds nothing but aborted messages', async (t) => {
  const { db, topic } = await setUp(t)
  await produce(topic, [{ value: 'a' }, { value: 'b' }], { transaction: 'abort' })
  await begin(db, topic, 'received', { start_offset: -2 })
  await untilPassed(db, topic, 3)
  assert.equal((await consumerOf(db, topic)).messages, '0')
  await produce(topic, [{ value: 'c' }])
  await untilRows(db, all, [[['c']]])
})
