// What piles up while a consumer does not read is seen all the same: a lag that stands still at 0 would be a lie.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { databaseFor } from '../support/database.ts'
import { addBroker, begin, end, promptDaemon, untilPassed, untilRows, untilState } from '../support/flow.ts'
import { millrace } from '../support/millrace.ts'
import { produce, topicFor } from '../support/topic.ts'

const values = (...texts: string[]) => texts.map((value) => ({ value, partition: 0 }))

test('the lag of consumers that are stopped, failed or hindered goes on', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  await db.query('CREATE TABLE stopped (n int); CREATE TABLE failed (n int); CREATE TABLE hindered (n int)')
  await promptDaemon(t, db, { env: { MILLRACE_KAFKA_METADATA_INTERVAL: '1s' } })
  const tables = ['stopped', 'failed', 'hindered']
  const topics: string[] = []
  for (const table of tables) {
    const topic = await topicFor(t, { partitions: 1 })
    topics.push(topic)
    await produce(topic, values('1', '2'))
    await begin(db, topic, table, { start_offset: -2 })
    await untilPassed(db, topic, 2)
  }
  const [stopped, failed, hindered] = topics as [string, string, string]
  await end(db, stopped, 'stopped')
  await produce(failed, values('x'))
  await untilState(db, failed, 'failed')
  const client = await db.client()
  await client.query('BEGIN; LOCK TABLE hindered')
  await produce(hindered, values('3'))
  await untilState(db, hindered, 'retrying')

  for (const topic of topics) await produce(topic, values('4', '5', '6'))
  const lag = (view: string) =>
    `SELECT l.lag::int FROM ${view} AS l JOIN millrace.consumer AS c ON c.id = l.consumer_id ORDER BY c.id`
  await untilRows(db, lag('pipeline_kafka.consumer_lag'), [[3], [4], [4]])
  await untilRows(db, 'SELECT lag::int FROM millrace.consumers ORDER BY id', [[3], [4], [4]])
  const { rows } = await db.query(
    `SELECT bool_and(age < '30 seconds') AS fresh FROM pipeline_kafka.consumer_lag`,
  )
  assert.equal(rows[0].fresh, true)
  const { stdout } = await millrace(['status', '--database', db.url], { expect: 1 })
  assert.match(stdout, /^default .* stopped +- +0 +2 +5 +3 +\d+s ago$/m)
  await client.query('COMMIT')
})
