// PostgreSQL and Kafka die, at any moment, under load, or are not there yet. The daemon says so, waits and goes on;
// nothing is lost and nothing is twice.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Producer } from '../../src/kafka/library.ts'
import { type KafkaServer, startKafka } from '../../stack/kafka.ts'
import { databaseFor } from '../support/database.ts'
import { addBroker, begin, promptDaemon, untilPassed, untilRows, untilState } from '../support/flow.ts'
import { Ledger } from '../support/ledger.ts'
import { postgresFor } from '../support/servers.ts'
import { produce, topicFor } from '../support/topic.ts'

// it takes seconds to start, so those who kill it share it
let ownKafka: KafkaServer
before(async () => {
  ownKafka = await startKafka({ brief: true })
})
after(() => ownKafka?.remove())

for (const synchronousCommit of ['off', 'on']) {
  test(`kill -9 of PostgreSQL under load, synchronous_commit ${synchronousCommit}`, async (t) => {
    const server = await postgresFor(t, { settings: { fsync: 'on', wal_writer_delay: '1s' } })
    const db = await databaseFor(t, { server })
    await addBroker(db)
    const env = { MILLRACE_DATABASE_SYNCHRONOUS_COMMIT: synchronousCommit }
    const daemon = await promptDaemon(t, db, { env })
    const ledger = await Ledger.open(t, db)
    await ledger.begin({ maxbytes: 20_000, parallelism: 2 })
    const load = ledger.keepProducing()
    for (let round = 0; round < 3; round++) {
      await ledger.untilLoaded(ledger.total)
      await server.kill()
      await server.start()
      await ledger.check()
    }
    await load.stop()
    await ledger.untilWhole()
    await untilState(db, ledger.topic, 'running')
    await daemon.waitForLog('PostgreSQL is away')
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
  })
}

test('kill -9 of the broker under load', async (t) => {
  const kafka = ownKafka
  const { brokers } = kafka
  const db = await databaseFor(t)
  await addBroker(db, brokers)
  const daemon = await promptDaemon(t, db)
  const ledger = await Ledger.open(t, db, { brokers })
  await ledger.produce(20_000)
  await ledger.begin({ maxbytes: 20_000, parallelism: 2 })
  await ledger.untilLoaded(2_000)
  await kafka.kill()
  const retrying = await untilState(db, ledger.topic, 'retrying')
  assert.equal(retrying.error_code, 'kafka-unreachable')
  await kafka.start()
  await ledger.untilWhole()
  await untilState(db, ledger.topic, 'running')
  // a second time, when there is nothing to read
  await kafka.kill()
  await untilState(db, ledger.topic, 'retrying')
  await kafka.start()
  await ledger.produce(2_000)
  await ledger.untilWhole()
  // and with nobody there any more, the daemon still ends
  await kafka.kill()
  await untilState(db, ledger.topic, 'retrying')
  const asked = performance.now()
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
  assert.ok(performance.now() - asked < 10_000, 'within ten seconds')
  await kafka.start()
})

test('KIP-320 a transaction whose marker comes after a new election is no cut log', async (t) => {
  const kafka = ownKafka
  const { brokers } = kafka
  const db = await databaseFor(t)
  await addBroker(db, brokers)
  await db.query('CREATE TABLE target (n int)')
  const topic = await topicFor(t, { partitions: 1, brokers })
  const producer = new Producer({
    clientId: 'millrace-test',
    bootstrapBrokers: [brokers],
    transactionalId: topic,
    idempotent: true,
    producerId: -1n,
    producerEpoch: -1,
    retries: 30,
    retryDelay: 200,
  })
  const transaction = await producer.beginTransaction()
  await transaction.send({ messages: [{ topic, value: Buffer.from('1'), partition: 0 }] })
  await kafka.kill()
  await kafka.start()
  await transaction.commit()
  await producer.close()
  const daemon = await promptDaemon(t, db)
  await begin(db, topic, 'target', { start_offset: -2 })
  await untilPassed(db, topic, 2)
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
  await promptDaemon(t, db)
  await produce(topic, [{ value: '2', partition: 0 }], { brokers })
  await untilRows(db, 'SELECT n FROM target ORDER BY n', [[1], [2]])
})

test('PostgreSQL is not there yet', async (t) => {
  const server = await postgresFor(t, { settings: { fsync: 'off' } })
  const db = await databaseFor(t, { server })
  await addBroker(db)
  const ledger = await Ledger.open(t, db)
  await ledger.begin()
  await ledger.produce(1_000)
  await server.stop()
  const daemon = await promptDaemon(t, db)
  await daemon.waitForLog('PostgreSQL is away')
  await server.start()
  await ledger.untilWhole()
  const said = daemon.output().split('PostgreSQL is away').length - 1
  assert.equal(said, 1, 'it says so once')
  // gone for good: the daemon can still be ended
  await server.stop()
  const asked = performance.now()
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
  assert.ok(performance.now() - asked < 10_000, 'within ten seconds')
})

test('Kafka is not there yet, and another broker is added', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db, '127.0.0.1:1')
  const daemon = await promptDaemon(t, db)
  const ledger = await Ledger.open(t, db)
  await ledger.produce(1_000)
  await ledger.begin()
  const retrying = await untilState(db, ledger.topic, 'retrying')
  assert.equal(retrying.error_code, 'kafka-unreachable')
  await addBroker(db)
  await ledger.untilWhole()
  await untilState(db, ledger.topic, 'running')
  // the same by the name that 0.8 had for it
  await db.query(`SELECT pipeline_kafka.remove_broker('127.0.0.1:1')`)
  await ledger.produce(1_000)
  await ledger.untilWhole()
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
})
