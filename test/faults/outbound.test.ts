// Sending when things die: nothing that committed is missing, nothing is there that did not, a repetition has the id of
// the first one, and no key is out of its order.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { addBroker, promptDaemon } from '../support/flow.ts'
import { readWithJava } from '../support/java-client.ts'
import { KeyWriters } from '../support/key-writer.ts'
import { distinct, outboxStatus, promptRelay, untilCount, untilSent, valuesOf } from '../support/sent.ts'
import { kafkaFor, postgresFor } from '../support/servers.ts'
import { adminOf, topicFor } from '../support/topic.ts'

for (const failpoint of [
  'outbound.after-batch',
  'outbound.before-send',
  'outbound.after-acknowledged',
  'outbound.before-record',
  'outbound.after-record',
]) {
  test(`F18 kill -9 at ${failpoint}: sent at least once, with the same id`, async (t) => {
    const db = await databaseFor(t)
    await addBroker(db)
    const topic = await topicFor(t)
    const writers = await KeyWriters.open(db, topic)
    const repeats = failpoint === 'outbound.after-acknowledged' || failpoint === 'outbound.before-record'
    for (const passage of [1, 5]) await writers.writeUntilKilled(t, failpoint, passage)
    const survivor = await promptDaemon(t, db, { env: promptRelay })
    await untilSent(db)
    assert.deepEqual(await survivor.stop(), { code: 0, signal: null })
    const { repeated } = await writers.check(t)
    if (repeats) assert.ok(repeated > 0, 'something was sent again')
    if (failpoint === 'outbound.after-record') assert.equal(repeated, 0)
  })
}

test('SIGTERM under load: what is in hand is finished, and the next daemon repeats nothing', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const topic = await topicFor(t)
  const writers = await KeyWriters.open(db, topic)
  writers.start(4)
  for (let round = 0; round < 3; round++) {
    const before = await writers.count()
    const daemon = await promptDaemon(t, db, { env: promptRelay })
    await daemon.waitForLog('this daemon sends the outbox')
    await eventually('more is written', async () => (await writers.count()) > before + 300)
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
  }
  await writers.stop()
  const last = await promptDaemon(t, db, { env: promptRelay })
  await untilSent(db)
  await last.stop()
  assert.deepEqual(await writers.check(t), { repeated: 0 })
})

test('two daemons: one sends; the other takes over from one that is killed, stopped, or stops in order', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const topic = await topicFor(t)
  const writers = await KeyWriters.open(db, topic)
  writers.start(2)
  const sends = 'this daemon sends the outbox'
  const first = await promptDaemon(t, db, { env: promptRelay })
  await first.waitForLog(sends)
  const second = await promptDaemon(t, db, { env: promptRelay })
  await second.waitForLog('connected to PostgreSQL')
  await writers.write(200)
  assert.ok(!second.output().includes(sends), 'one at a time')
  first.kill('SIGKILL')
  await second.waitForLog(sends)
  const third = await promptDaemon(t, db, { env: promptRelay })
  await third.waitForLog('connected to PostgreSQL')
  second.kill('SIGSTOP')
  await third.waitForLog(sends)
  await writers.write(200)
  second.kill('SIGCONT')
  await writers.write(200)
  assert.deepEqual(await third.stop(), { code: 0, signal: null })
  await eventually('the second one sends again', () => second.output().split(sends).length === 3)
  await writers.stop()
  await untilSent(db)
  await second.stop()
  await writers.check(t)
})

test('F19 a message that is too large and a topic that is missing hold up their own keys only', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const topic = await topicFor(t, { partitions: 1, config: { 'max.message.bytes': '20000' } })
  const later = `${topic}-later`
  await promptDaemon(t, db, { env: { ...promptRelay, MILLRACE_OUTBOUND_BATCH_SIZE: '16MB' } })
  const { rows } = await db.query(
    `SELECT millrace.produce($1, 'a 0', 'a') AS first, millrace.produce($1, repeat('x', 50000), 'a') AS large,
       millrace.produce($1, 'a 2', 'a'), millrace.produce($2, 'b 0', 'b'), millrace.produce($1, 'c 0', 'c')`,
    [topic, later],
  )
  for (let i = 1; i <= 200; i++)
    await db.query(
      "SELECT millrace.produce($1, 'c ' || $3::int, 'c'), millrace.produce($2, 'b ' || $3::int, 'b')",
      [topic, later, i],
    )
  await db.query("SELECT millrace.produce($1, 'a 3', 'a')", [topic])
  await untilCount(topic, 202)
  await untilSent(db)
  const status = await outboxStatus(db)
  assert.deepEqual(
    [status.waiting_id, status.waiting_code, status.waiting],
    [rows[0].large, 'message-refused', '204'],
  )
  assert.match(status.waiting_message!, /max\.message\.bytes/)
  assert.deepEqual(
    valuesOf(await readWithJava(t, topic)).sort(),
    ['a 0', ...Array.from({ length: 201 }, (_, i) => `c ${i}`)].sort(),
  )
  await topicFor(t, { name: later, partitions: 2 })
  await untilCount(later, 201, { deadline: 40_000 })
  await adminOf().incrementalAlterConfigs({
    resources: [
      {
        resourceType: 2,
        resourceName: topic,
        configs: [{ name: 'max.message.bytes', configOperation: 0, value: '1000000' }],
      },
    ],
  })
  await untilCount(topic, 205, { deadline: 40_000 })
  await eventually('nothing waits', async () => (await outboxStatus(db)).waiting === '0')
  await db.query("SELECT millrace.produce($1, 'a 4', 'a'), millrace.produce($2, 'b 201', 'b')", [
    topic,
    later,
  ])
  await untilCount(topic, 206)
  await untilCount(later, 202)
  const ofA = (await distinct(t, topic)).records.filter(({ key }) => key === 'a')
  assert.deepEqual(
    valuesOf(ofA).map((value) => value!.slice(0, 3)),
    ['a 0', 'xxx', 'a 2', 'a 3', 'a 4'],
  )
  const ofB = (await distinct(t, later)).records
  assert.deepEqual(
    valuesOf(ofB),
    Array.from({ length: 202 }, (_, i) => `b ${i}`),
  )
})

test('F20 Kafka is away for a minute: writers go on, the backlog shows, and it is drained in order', async (t) => {
  const kafka = await kafkaFor(t)
  const db = await databaseFor(t)
  await addBroker(db, kafka.brokers)
  const topic = await topicFor(t, { brokers: kafka.brokers })
  const writers = await KeyWriters.open(db, topic)
  const daemon = await promptDaemon(t, db, { env: promptRelay })
  await writers.write(400)
  await untilSent(db)
  writers.start(4)
  await kafka.kill()
  await eventually(
    'the outage shows',
    async () => (await outboxStatus(db)).error_code === 'kafka-unreachable',
  )
  const before = await writers.count()
  await eventually('writers go on', async () => (await writers.count()) > before + 3000)
  assert.ok(Number((await outboxStatus(db)).backlog) > 1000, 'the backlog is visible')
  await writers.stop()
  const away = "SELECT clock_timestamp() - error_at > '1 minute' AS long FROM millrace.outbox_status"
  await eventually('a minute is over', async () => (await db.query(away)).rows[0].long, { deadline: 120_000 })
  await writers.write(20)
  assert.equal((await outboxStatus(db)).waiting, '0', 'nothing is put aside for that')
  await kafka.start()
  await untilSent(db, { deadline: 60_000 })
  await eventually('it is over', async () => (await outboxStatus(db)).error_code === null)
  const said = daemon
    .output()
    .split('\n')
    .filter((line) => line.includes('Kafka is away'))
  assert.equal(said.length, 1, said.join('\n'))
  await writers.check(t, kafka.brokers)
  // and with nobody there any more, the daemon still ends
  await kafka.kill()
  await writers.write(20)
  await eventually(
    'the outage shows',
    async () => (await outboxStatus(db)).error_code === 'kafka-unreachable',
  )
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
  await kafka.start()
})

test('F23 kill -9 of PostgreSQL under writers that do not wait for the disk: no message without its row', async (t) => {
  const server = await postgresFor(t, { settings: { fsync: 'on', wal_writer_delay: '5s' } })
  const db = await databaseFor(t, { server })
  await addBroker(db)
  const topic = await topicFor(t)
  const writers = await KeyWriters.open(db, topic)
  const daemon = await promptDaemon(t, db, { env: promptRelay })
  writers.start(4, 'SET synchronous_commit = off')
  for (let round = 0; round < 3; round++) {
    const before = await writers.count()
    await eventually('more is written', async () => (await writers.count()) > before + 1500)
    await server.kill()
    await server.start()
    await eventually('they write again', () => writers.count())
  }
  await writers.stop()
  await untilSent(db, { deadline: 60_000 })
  await daemon.waitForLog('PostgreSQL is away')
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
  await writers.check(t)
})
