// A daemon ends when it is asked to, whatever it is waiting for: a broker that takes connections and answers nothing, or a
// lock of somebody else's. What it had begun for others is given back.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { afterwards } from '../support/cleanup.ts'
import { databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { addBroker, promptDaemon, untilRows } from '../support/flow.ts'
import { kafkaFor } from '../support/servers.ts'
import { produce, topicFor } from '../support/topic.ts'

const patient = { deadline: 60_000 }

const stopped = { code: 0, signal: null }

/** The time that a broker has to answer is longer than the end may take. */
const trusting = {
  MILLRACE_KAFKA_REQUEST_TIMEOUT: '60s',
  MILLRACE_KAFKA_CONNECT_TIMEOUT: '60s',
  MILLRACE_DAEMON_SHUTDOWN_TIMEOUT: '8s',
}

test('a broker is silent that is asked for topics, for messages to try and by a consumer', async (t) => {
  const kafka = await kafkaFor(t)
  const { brokers } = kafka
  const db = await databaseFor(t)
  await addBroker(db, brokers)
  const topic = await topicFor(t, { partitions: 1, brokers })
  await produce(topic, [{ value: '{"n": 1}' }], { brokers })
  await db.query('CREATE TABLE target (n int); CREATE TABLE loaded (n int)')
  await db.query('SELECT millrace.consume(topic_pattern := $1, "into" := \'target\')', [topic])
  await db.query("SELECT millrace.consume($1, 'loaded', start_offset := -2)", [topic])
  process.kill(kafka.pid(), 'SIGSTOP')
  afterwards(t, () => process.kill(kafka.pid(), 'SIGCONT'))
  const tried = db.query("CALL millrace.try($1, 'target')", [topic])
  tried.catch(() => {}) // it may take longer than who called waits
  const state = 'SELECT state FROM millrace.request'
  await untilRows(db, state, [['pending']])
  const daemon = await promptDaemon(t, db, { env: trusting })
  // the patterns have been looked at just before
  await daemon.waitForLog('working on a request')
  assert.deepEqual(await daemon.stop(), stopped)
  await untilRows(db, state, [['pending']])

  process.kill(kafka.pid(), 'SIGCONT')
  await promptDaemon(t, db)
  await untilRows(db, 'SELECT state, done_count::int FROM millrace.request', [['done', 1]], patient)
  await Promise.allSettled([tried])
  await untilRows(db, 'SELECT state FROM millrace.consumers WHERE topic IS NULL', [['watching']], patient)
  await untilRows(db, 'SELECT n FROM loaded', [[1]], patient)
})

test('housekeeping waits for a lock', async (t) => {
  const db = await databaseFor(t)
  const other = await db.client()
  await other.query('BEGIN; LOCK TABLE millrace.batch IN ACCESS EXCLUSIVE MODE')
  const daemon = await promptDaemon(t, db, { env: { MILLRACE_DAEMON_SHUTDOWN_TIMEOUT: '5s' } })
  await eventually('it waits', async () => {
    const { rows } = await db.query(
      `SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'millrace pump' AND wait_event_type = 'Lock'`,
    )
    return rows.length > 0
  })
  assert.deepEqual(await daemon.stop(), stopped)
  await other.query('COMMIT')
})
