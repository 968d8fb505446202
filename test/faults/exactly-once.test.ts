// Sending exactly once when things die: what a reader with read_committed sees is what was committed in PostgreSQL, each
// message once, and the keys in their order.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Coordinator } from '../../src/kafka/coordinator.ts'
import { Transactions } from '../../src/kafka/transactions.ts'
import { transactionalIdOf } from '../../src/outbound/kafka-position.ts'
import { eventually } from '../support/eventually.ts'
import { deliver, exactDatabase, valuesOnce } from '../support/exact.ts'
import { promptDaemon } from '../support/flow.ts'
import { KeyWriters } from '../support/key-writer.ts'
import { isStopped } from '../support/process.ts'
import { outboxStatus, promptRelay, untilSent } from '../support/sent.ts'
import { kafkaFor, postgresFor, sharedServers } from '../support/servers.ts'
import { adminOf, topicFor } from '../support/topic.ts'

/** Nothing here is about time. */
const patient = { deadline: 60_000 }

async function allowLarge(topic: string): Promise<void> {
  await adminOf().incrementalAlterConfigs({
    resources: [
      {
        resourceType: 2,
        resourceName: topic,
        configs: [{ name: 'max.message.bytes', configOperation: 0, value: '1000000' }],
      },
    ],
  })
}

/** Another program that sends in transactions. */
function intruderAt(brokers: string): Transactions {
  const access = {
    name: 'default',
    brokers: brokers.split(','),
    clientId: 'intruder',
    connectTimeout: 5000,
    requestTimeout: 5000,
  }
  const events = { maySend: () => true, answered: () => {}, trouble: () => {} }
  return new Transactions('default', [], new Coordinator(access, { min: 20, max: 100 }, events))
}

const sends = 'this daemon sends the outbox'

const failpoints = [
  'outbound.after-fencing',
  'outbound.after-resuming',
  'outbound.after-batch',
  'outbound.before-send',
  'outbound.after-acknowledged',
  'outbound.before-commit',
  'outbound.after-commit',
  'outbound.before-record',
  'outbound.after-record',
]

test('F18 kill -9 at each step, one after the other: sent exactly once', async (t) => {
  const db = await exactDatabase(t)
  const topic = await topicFor(t)
  const writers = await KeyWriters.open(db, topic)
  for (const failpoint of failpoints) {
    const atBeginning = failpoint === 'outbound.after-fencing' || failpoint === 'outbound.after-resuming'
    for (const passage of atBeginning ? [1, 1] : [1, 4]) await writers.writeUntilKilled(t, failpoint, passage)
  }
  const survivor = await promptDaemon(t, db, { env: promptRelay })
  await untilSent(db, patient)
  assert.deepEqual(await survivor.stop(), { code: 0, signal: null })
  const { repeated } = await writers.check(t)
  assert.equal(repeated, 0)
})

for (const failpoint of [
  'outbound.before-send@2',
  'outbound.after-acknowledged@2',
  'outbound.before-commit',
]) {
  const [name, passage = '1'] = failpoint.split('@')
  test(`a daemon that is stopped at ${name} and wakes after its successor has sent is fenced off`, async (t) => {
    const db = await exactDatabase(t)
    const topic = await topicFor(t)
    const writers = await KeyWriters.open(db, topic)
    await writers.write(400)
    const zombie = await promptDaemon(t, db, {
      env: {
        ...promptRelay,
        MILLRACE_FAILPOINTS: `${name}=stop@${passage}`,
        MILLRACE_OUTBOUND_BATCH_SIZE: '1kB',
      },
    })
    // a later passage takes more batches
    await eventually('it is stopped', async () => {
      await writers.write(20)
      return isStopped(zombie.pid)
    })
    const successor = await promptDaemon(t, db, { env: promptRelay })
    await successor.waitForLog(sends, patient)
    await writers.write(200)
    await untilSent(db, patient)
    const asleep = zombie.output().length
    zombie.kill('SIGCONT')
    await writers.write(200)
    await eventually('it says something about it', () => zombie.output().length > asleep)
    await writers.write(200)
    await untilSent(db, patient)
    for (const daemon of [zombie, successor]) assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
    assert.deepEqual(await writers.check(t), { repeated: 0 })
  })
}

test('another program that takes the transactional id for a moment: the relay begins anew, and repeats nothing', async (t) => {
  const db = await exactDatabase(t)
  const topic = await topicFor(t)
  const writers = await KeyWriters.open(db, topic)
  const daemon = await promptDaemon(t, db, { env: promptRelay })
  await writers.write(200)
  await untilSent(db, patient)
  const { rows } = await db.query('SELECT id FROM millrace.installation')
  const id = transactionalIdOf(rows[0].id, 'default', 1)
  for (let round = 1; round <= 2; round++) {
    const intruder = intruderAt(sharedServers().brokers)
    await intruder.begin(id, 0)
    intruder.close()
    await writers.write(200)
    await eventually('it begins anew', () => daemon.output().split('was given up').length > round, patient)
    await untilSent(db, patient)
  }
  await writers.write(200)
  await untilSent(db, patient)
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
  assert.deepEqual(await writers.check(t), { repeated: 0 })
})

test('what was wrong is over in the status, too, when the sender had to begin anew after it', async (t) => {
  const kafka = await kafkaFor(t)
  const db = await exactDatabase(t, { brokers: kafka.brokers })
  const topic = await topicFor(t, { brokers: kafka.brokers })
  const writers = await KeyWriters.open(db, topic)
  const daemon = await promptDaemon(t, db, { env: promptRelay })
  await writers.write(20)
  await untilSent(db, patient)
  const { rows } = await db.query('SELECT id FROM millrace.installation')
  const intruder = intruderAt(kafka.brokers)
  await intruder.begin(transactionalIdOf(rows[0].id, 'default', 1), 0)
  intruder.close()
  await kafka.kill()
  await writers.write(20)
  await eventually('the outage shows', async () => (await outboxStatus(db)).error_code !== null)
  await kafka.start()
  await daemon.waitForLog('was given up', patient)
  await untilSent(db, patient)
  await eventually('it is over', async () => (await outboxStatus(db)).error_code === null)
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
  assert.deepEqual(await writers.check(t, kafka.brokers), { repeated: 0 })
})

test('the broker is killed again and again: sent exactly once', async (t) => {
  const kafka = await kafkaFor(t)
  const db = await exactDatabase(t, { brokers: kafka.brokers })
  const topic = await topicFor(t, { brokers: kafka.brokers })
  const writers = await KeyWriters.open(db, topic)
  const daemon = await promptDaemon(t, db, { env: { ...promptRelay, MILLRACE_OUTBOUND_BATCH_SIZE: '1kB' } })
  await writers.write(400)
  await untilSent(db, patient)
  writers.start(2)
  for (let round = 0; round < 2; round++) {
    const before = await writers.count()
    await eventually('more is written', async () => (await writers.count()) > before + 500)
    await kafka.kill()
    await eventually('the outage shows', async () => (await outboxStatus(db)).error_code !== null)
    await kafka.start()
    await eventually('it is over', async () => (await outboxStatus(db)).error_code === null, patient)
  }
  await writers.stop()
  await untilSent(db, patient)
  assert.deepEqual(await writers.check(t, kafka.brokers), { repeated: 0 })
  // with nobody there any more, a daemon still ends, whether it sends or is about to begin
  const second = await promptDaemon(t, db, { env: promptRelay })
  await kafka.kill()
  await writers.write(20)
  await eventually('the outage shows', async () => (await outboxStatus(db)).error_code !== null)
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
  await second.waitForLog('Kafka is away')
  assert.deepEqual(await second.stop(), { code: 0, signal: null })
})

test('PostgreSQL is killed again and again: sent exactly once', async (t) => {
  const server = await postgresFor(t, { settings: { fsync: 'on', wal_writer_delay: '5s' } })
  const db = await exactDatabase(t, { server })
  const topic = await topicFor(t)
  const writers = await KeyWriters.open(db, topic)
  const daemon = await promptDaemon(t, db, { env: { ...promptRelay, MILLRACE_OUTBOUND_BATCH_SIZE: '1kB' } })
  writers.start(3, 'SET synchronous_commit = off')
  for (let round = 0; round < 3; round++) {
    const before = await writers.count()
    await eventually('more is written', async () => (await writers.count()) > before + 800)
    await server.kill()
    await server.start()
    await eventually('they write again', () => writers.count())
  }
  await writers.stop()
  await untilSent(db, patient)
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
  assert.deepEqual(await writers.check(t), { repeated: 0 })
})

for (const failpoint of ['outbound.before-commit', 'outbound.after-commit']) {
  test(`F19 kill -9 at ${failpoint}: what Kafka refuses waits, and is sent once when it is taken`, async (t) => {
    const db = await exactDatabase(t)
    const topic = await topicFor(t, { partitions: 1, config: { 'max.message.bytes': '20000' } })
    const later = `${topic}-later`
    await db.query(
      `SELECT millrace.produce($1, 'a 0', 'a'), millrace.produce($1, repeat('x', 50000), 'a'), millrace.produce($1, 'a 2', 'a'),
         millrace.produce($1, repeat('y', 50000)), millrace.produce($2, 'b 0', 'b'), millrace.produce($1, 'c 0', 'c')`,
      [topic, later],
    )
    const crash = { ...promptRelay, MILLRACE_FAILPOINTS: `${failpoint}=crash` }
    const first = await promptDaemon(t, db, { env: crash })
    assert.equal((await first.exited).signal, 'SIGKILL')
    // while it begins anew, and while what waits is tried again
    const second = await promptDaemon(t, db, { env: promptRelay })
    await untilSent(db, patient)
    assert.equal((await outboxStatus(db)).waiting, '4')
    await second.stop()
    assert.deepEqual((await valuesOnce(t, topic)).sort(), ['a 0', 'c 0'])
    await topicFor(t, { name: later, partitions: 2 })
    await allowLarge(topic)
    const third = await promptDaemon(t, db, { env: crash })
    assert.equal((await third.exited).signal, 'SIGKILL')
    await promptDaemon(t, db, { env: promptRelay })
    await eventually('nothing waits', async () => (await outboxStatus(db)).waiting === '0', patient)
    const values = (await valuesOnce(t, topic)).map((value) => value!.slice(0, 3))
    assert.deepEqual(values.toSorted(), ['a 0', 'a 2', 'c 0', 'xxx', 'yyy'])
    assert.deepEqual(
      values.filter((value) => /^[ax]/.test(value)),
      ['a 0', 'xxx', 'a 2'],
    )
    assert.deepEqual(await valuesOnce(t, later), ['b 0'])
  })
}

test('a dead letter of a transaction that was not committed is met again', async (t) => {
  const db = await exactDatabase(t)
  await db.query("SELECT millrace.alter_cluster('default', on_refused := 'dead_letter')")
  const topic = await topicFor(t, { partitions: 1, config: { 'max.message.bytes': '20000' } })
  await db.query(
    `SELECT millrace.produce($1, 'a 0', 'a'), millrace.produce($1, repeat('x', 50000), 'a'), millrace.produce($1, 'a 2', 'a')`,
    [topic],
  )
  const letters = async () =>
    (await db.query('SELECT count(*)::int AS count FROM millrace.outbox_dead_letters')).rows[0].count
  const victim = await promptDaemon(t, db, {
    env: { ...promptRelay, MILLRACE_FAILPOINTS: 'outbound.before-commit=crash' },
  })
  assert.equal((await victim.exited).signal, 'SIGKILL')
  assert.equal(await letters(), 1)
  await allowLarge(topic)
  await promptDaemon(t, db, { env: promptRelay })
  await untilSent(db, patient)
  const values = (await valuesOnce(t, topic)).map((value) => value!.slice(0, 3))
  assert.deepEqual(values, ['a 0', 'xxx', 'a 2'])
  assert.equal(await letters(), 0, 'it is no dead letter: it was sent')
})

test('the delivery is changed while messages come, and when the daemon is killed in between', async (t) => {
  const db = await exactDatabase(t)
  const topic = await topicFor(t)
  const writers = await KeyWriters.open(db, topic)
  const daemon = await promptDaemon(t, db, { env: promptRelay })
  writers.start(2)
  for (const delivery of ['at_least_once', 'exactly_once', 'at_least_once', 'exactly_once'] as const) {
    const before = await writers.count()
    await eventually('more is written', async () => (await writers.count()) > before + 300)
    await deliver(db, delivery)
  }
  await writers.stop()
  await untilSent(db, patient)
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
  assert.deepEqual(await writers.check(t), { repeated: 0 })
  // Kafka has committed what PostgreSQL does not know of yet
  await writers.write(200)
  const victim = await promptDaemon(t, db, {
    env: { ...promptRelay, MILLRACE_FAILPOINTS: 'outbound.after-commit=crash' },
  })
  assert.equal((await victim.exited).signal, 'SIGKILL')
  await deliver(db, 'at_least_once')
  const last = await promptDaemon(t, db, { env: promptRelay })
  await untilSent(db, patient)
  assert.deepEqual(await last.stop(), { code: 0, signal: null })
  assert.deepEqual(await writers.check(t), { repeated: 0 })
})
