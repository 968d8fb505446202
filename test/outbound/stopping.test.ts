// A daemon that has much to send ends when it is asked to, also where Kafka is away or silent: no wait for a broker outlasts
// the end. What was on its way is sent by the next daemon.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Cleanup } from '../support/cleanup.ts'
import { databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { deliver, valuesOnce } from '../support/exact.ts'
import { addBroker, promptDaemon } from '../support/flow.ts'
import { distinct, outboxStatus, promptRelay, untilCount, untilSent, valuesOf } from '../support/sent.ts'
import { kafkaFor } from '../support/servers.ts'
import { topicFor } from '../support/topic.ts'

const rows = 150_000
const patient = { deadline: 120_000 }

/** The time that a broker has to answer is longer than the end may take. */
const trusting = {
  ...promptRelay,
  MILLRACE_KAFKA_REQUEST_TIMEOUT: '60s',
  MILLRACE_KAFKA_CONNECT_TIMEOUT: '60s',
  MILLRACE_DAEMON_SHUTDOWN_TIMEOUT: '20s',
}

/** So is the pause after anything that fails. */
const slow = { ...trusting, MILLRACE_RETRY_MIN: '60s', MILLRACE_RETRY_MAX: '60s' }

const stopped = { code: 0, signal: null }

async function setUp(t: Cleanup, delivery: 'at_least_once' | 'exactly_once') {
  const kafka = await kafkaFor(t)
  const { brokers } = kafka
  const db = await databaseFor(t)
  await addBroker(db, brokers)
  await deliver(db, delivery)
  const topic = await topicFor(t, { partitions: 2, brokers })
  const produce = (from: number, to: number) =>
    db.query(
      `SELECT count(millrace.produce($1, i || repeat('x', 500), (i % 100)::text)) FROM generate_series($2::int, $3::int) AS i`,
      [topic, from, to],
    )
  const numbers = async () => {
    const values =
      delivery === 'exactly_once'
        ? await valuesOnce(t, topic, brokers)
        : valuesOf((await distinct(t, topic, brokers)).records)
    return values.map((value) => Number.parseInt(value!, 10)).toSorted((a, b) => a - b)
  }
  return { kafka, db, topic, brokers, produce, numbers }
}

for (const delivery of ['at_least_once', 'exactly_once'] as const) {
  test(`F20 a daemon ends in the middle of much to send, ${delivery}: the broker falls silent, is killed, is away`, async (t) => {
    const { kafka, db, topic, brokers, produce, numbers } = await setUp(t, delivery)
    await produce(1, rows)

    const silenced = await promptDaemon(t, db, { env: trusting })
    await untilCount(topic, 1, { brokers, ...patient })
    process.kill(kafka.pid(), 'SIGSTOP')
    assert.deepEqual(await silenced.stop(), stopped)
    assert.notEqual((await outboxStatus(db)).backlog, '0', 'it was in the middle of it')

    const silent = await promptDaemon(t, db, { env: trusting })
    await silent.waitForLog('this daemon sends the outbox')
    assert.deepEqual(await silent.stop(), stopped)
    process.kill(kafka.pid(), 'SIGCONT')

    const { backlog } = await outboxStatus(db)
    const killed = await promptDaemon(t, db, { env: trusting })
    const sends = async () => Number((await outboxStatus(db)).backlog) < Number(backlog)
    await eventually('it sends', sends, patient)
    await kafka.kill()
    await killed.waitForLog('kafka-unreachable')
    assert.deepEqual(await killed.stop(), stopped)

    const away = await promptDaemon(t, db, { env: slow })
    await away.waitForLog('kafka-unreachable')
    assert.deepEqual(await away.stop(), stopped)

    await kafka.start()
    const last = await promptDaemon(t, db, { env: promptRelay })
    await produce(rows + 1, rows + 10)
    await untilSent(db, patient)
    assert.deepEqual(await last.stop(), stopped)
    assert.deepEqual(
      await numbers(),
      Array.from({ length: rows + 10 }, (_, i) => i + 1),
    )
  })
}
