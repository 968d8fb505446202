// Exactly once under another transactional id than before: whoever sent under the former one is shut out, whoever comes later
// knows of the latter one, and a position that somebody wrote who should not have is noticed.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Coordinator } from '../../src/kafka/coordinator.ts'
import { Transactions } from '../../src/kafka/transactions.ts'
import { positionKey, transactionalIdOf } from '../../src/outbound/kafka-position.ts'
import { afterwards, type Cleanup } from '../support/cleanup.ts'
import type { Database } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { exactDatabase, positionTopicOf, valuesOnce } from '../support/exact.ts'
import { promptDaemon } from '../support/flow.ts'
import { readWithJava } from '../support/java-client.ts'
import { untilStopped } from '../support/process.ts'
import { outboxStatus, promptRelay, untilSent } from '../support/sent.ts'
import { kafkaFor, sharedServers } from '../support/servers.ts'
import { produce as produceToKafka, topicFor } from '../support/topic.ts'

const patient = { deadline: 60_000 }

async function produce(db: Database, topic: string, from: number, to: number): Promise<void> {
  await db.query(
    "SELECT count(millrace.produce($1, i::text, 'key')) FROM generate_series($2::int, $3::int) AS i",
    [topic, from, to],
  )
}

const numbers = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, i) => String(from + i))

async function send(t: Cleanup, db: Database): Promise<void> {
  const daemon = await promptDaemon(t, db, { env: promptRelay })
  await untilSent(db, patient)
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
}

interface Lines {
  line: number
  fenced: number
  kafkas: number | null
}

async function lines(db: Database): Promise<Lines> {
  const { rows } = await db.query<Lines>(
    'SELECT transaction_line AS line, fenced_line AS fenced, kafka_line AS kafkas FROM millrace.outbox_progress',
  )
  return rows[0]!
}

/** As if a transaction of the former line could not end. */
async function leaveBehind(db: Database, line: number): Promise<void> {
  await db.query(
    `INSERT INTO millrace.outbox_progress (cluster, epoch, transaction_line) VALUES ('default', 0, $1)
     ON CONFLICT (cluster) DO UPDATE SET transaction_line = excluded.transaction_line`,
    [line],
  )
}

/** The positions in Kafka, whoever wrote them. */
async function positions(t: Cleanup, db: Database): Promise<{ number: string; id: string; line: number }[]> {
  const records = await readWithJava(t, await positionTopicOf(db))
  return records.map(({ value }) => JSON.parse(value!))
}

/** Somebody who sends under this line. */
async function senderUnder(t: Cleanup, db: Database, line: number): Promise<Transactions> {
  const { rows } = await db.query('SELECT id FROM millrace.installation')
  const access = {
    name: 'default',
    brokers: sharedServers().brokers.split(','),
    clientId: 'zombie',
    connectTimeout: 5000,
    requestTimeout: 5000,
  }
  const events = { maySend: () => true, answered: () => {}, trouble: () => {} }
  const sender = new Transactions('default', [], new Coordinator(access, { min: 20, max: 100 }, events))
  afterwards(t, () => sender.close())
  assert.equal(await sender.begin(transactionalIdOf(rows[0].id, 'default', line), 0), null)
  return sender
}

test('F04 who sent under a former transactional id can begin no other transaction there, nor end one', async (t) => {
  const db = await exactDatabase(t)
  const topic = await topicFor(t, { partitions: 1 })
  await produce(db, topic, 1, 10)
  await send(t, db)
  const idle = await senderUnder(t, db, 1)
  const busy = await senderUnder(t, db, 2)
  await busy.include([{ topic, partition: 0 }])
  await leaveBehind(db, 3)
  const daemon = await promptDaemon(t, db, { env: promptRelay })
  await eventually('the former ones are fenced', async () => (await lines(db)).fenced === 2, patient)
  await assert.rejects(idle.include([{ topic, partition: 0 }]), { code: 'transaction-lost' })
  await assert.rejects(busy.commit(), { code: 'transaction-lost' })
  await produce(db, topic, 11, 20)
  await untilSent(db, patient)
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
  assert.deepEqual(await valuesOnce(t, topic), numbers(1, 20))
  assert.equal((await lines(db)).line, 3)
})

test('former transactional ids, however many, hold up neither sending nor the end at a silent broker', async (t) => {
  const kafka = await kafkaFor(t)
  const db = await exactDatabase(t, { brokers: kafka.brokers })
  const topic = await topicFor(t, { partitions: 1, brokers: kafka.brokers })
  await leaveBehind(db, 5000)
  const daemon = await promptDaemon(t, db, { env: promptRelay })
  await produce(db, topic, 1, 10)
  await untilSent(db, patient)
  assert.deepEqual(await valuesOnce(t, topic, kafka.brokers), numbers(1, 10))
  assert.ok((await lines(db)).fenced < 4999, 'it is not done with them')
  process.kill(kafka.pid(), 'SIGSTOP')
  afterwards(t, () => process.kill(kafka.pid(), 'SIGCONT'))
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
})

for (const sent of [false, true]) {
  test(`F15 a database that has forgotten the transactional id learns it from Kafka, ${sent ? 'also' : 'before'} anything was sent under it`, async (t) => {
    const db = await exactDatabase(t)
    const topic = await topicFor(t, { partitions: 1 })
    if (sent) {
      await produce(db, topic, 1, 10)
      await send(t, db)
    }
    await leaveBehind(db, 2)
    const first = await promptDaemon(t, db, { env: promptRelay })
    await eventually('Kafka knows', async () => (await lines(db)).kafkas === 2, patient)
    first.kill('SIGKILL')
    await first.exited
    assert.equal((await positions(t, db)).at(-1)!.line, 2)
    await db.query(
      'UPDATE millrace.outbox_progress SET transaction_line = 1, kafka_line = NULL, fenced_line = 0',
    )
    const second = await promptDaemon(t, db, { env: promptRelay })
    await eventually('it goes on under that one', async () => (await lines(db)).fenced === 1, patient)
    assert.equal((await lines(db)).line, 2)
    await produce(db, topic, 11, 20)
    await untilSent(db, patient)
    assert.deepEqual(await second.stop(), { code: 0, signal: null })
    assert.deepEqual(await valuesOnce(t, topic), [...(sent ? numbers(1, 10) : []), ...numbers(11, 20)])
  })
}

test('F15 somebody sends under a later transactional id, which only shows when the former one is taken', async (t) => {
  const db = await exactDatabase(t)
  const topic = await topicFor(t, { partitions: 1 })
  await produce(db, topic, 1, 10)
  await send(t, db)
  const late = await promptDaemon(t, db, {
    env: { ...promptRelay, MILLRACE_FAILPOINTS: 'outbound.after-fencing=stop' },
  })
  await untilStopped(late.pid)
  const other = await senderUnder(t, db, 2)
  const name = await positionTopicOf(db)
  const last = (await positions(t, db)).at(-1)!
  await produceToKafka(name, [{ key: positionKey, value: JSON.stringify({ ...last, line: 2 }) }])
  late.kill('SIGCONT')
  await produce(db, topic, 11, 20)
  await untilSent(db, patient)
  assert.equal((await lines(db)).line, 2)
  await assert.rejects(other.include([{ topic, partition: 0 }]), { code: 'transaction-lost' })
  assert.deepEqual(await valuesOnce(t, topic), numbers(1, 20))
  assert.deepEqual(await late.stop(), { code: 0, signal: null })
})

test('F15 a position of a former transactional id behind one of a later one stops the sending', async (t) => {
  const db = await exactDatabase(t)
  const topic = await topicFor(t, { partitions: 1 })
  await produce(db, topic, 1, 10)
  await send(t, db)
  const former = (await positions(t, db)).at(-1)!
  assert.equal(former.line, 1)
  await leaveBehind(db, 2)
  const first = await promptDaemon(t, db, { env: promptRelay })
  await eventually('Kafka knows', async () => (await lines(db)).kafkas === 2, patient)
  assert.deepEqual(await first.stop(), { code: 0, signal: null })
  const name = await positionTopicOf(db)
  // it is no less than the database knows, and yet not what was sent since
  await produceToKafka(name, [{ key: positionKey, value: JSON.stringify(former) }])
  await produce(db, topic, 11, 20)
  const daemon = await promptDaemon(t, db, { env: promptRelay })
  const stopped = async () => (await outboxStatus(db)).error_code === 'outbox-position-missing'
  await eventually('it stops', stopped, patient)
  assert.deepEqual(await valuesOnce(t, topic), numbers(1, 10))
  await db.query("SELECT millrace.resume_outbox('default', unsent := 'send')")
  await untilSent(db, patient)
  assert.deepEqual(await valuesOnce(t, topic), numbers(1, 20))
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
})

for (const failpoint of [
  'outbound.after-fencing',
  'outbound.after-resuming',
  'outbound.before-commit',
  'outbound.after-commit',
]) {
  test(`F18 kill -9 at ${failpoint} under the next transactional id: sent exactly once`, async (t) => {
    const db = await exactDatabase(t)
    const topic = await topicFor(t, { partitions: 1 })
    await produce(db, topic, 1, 10)
    await send(t, db)
    await leaveBehind(db, 2)
    await produce(db, topic, 11, 20)
    const victim = await promptDaemon(t, db, {
      env: { ...promptRelay, MILLRACE_FAILPOINTS: `${failpoint}=crash` },
    })
    assert.equal((await victim.exited).signal, 'SIGKILL')
    await send(t, db)
    assert.deepEqual(await valuesOnce(t, topic), numbers(1, 20))
    assert.equal((await positions(t, db)).at(-1)!.line, 2)
  })
}
