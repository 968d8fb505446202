// A pattern of topics: each topic that matches has a consumer of its own, which follows the one with the pattern.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { addBroker, promptDaemon, untilRows, untilState } from '../support/flow.ts'
import { millrace } from '../support/millrace.ts'
import { plainRoles } from '../support/plain-roles.ts'
import { adminOf, produce, topicFor } from '../support/topic.ts'

const numbers = 'SELECT array_agg(n ORDER BY n) FROM numbers'
const children = `SELECT topic, state FROM millrace.consumers WHERE parent_id IS NOT NULL ORDER BY topic`
const consume = `SELECT millrace.consume(topic_pattern := $1, "into" := 'numbers', format := 'text', start_offset := -2)`

const values = (...numbers: number[]) => numbers.map((n) => ({ value: String(n), partition: 0 }))

test('topics that match are loaded, also those that come later; what follows the parent and what does not', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  await db.query('CREATE TABLE numbers (n int)')
  const daemon = await promptDaemon(t, db)
  const prefix = `sales.${randomUUID().slice(0, 8)}`
  const topic = (name: string) => topicFor(t, { name: `${prefix}.${name}`, partitions: 1 })
  const one = await topic('one')
  const other = await topicFor(t, { name: `not-${prefix}.one`, partitions: 1 })
  await produce(one, values(1, 2))
  await produce(other, values(100))
  // the names of Kafka's own topics would match, too
  const { rows } = await db.query(consume, [`(${prefix}\\..*|__.*)`])
  const parent = Object.values(rows[0]!)[0]
  await untilRows(db, numbers, [[[1, 2]]])
  await untilRows(db, children, [[one, 'running']])
  await untilRows(db, `SELECT state, error_code FROM millrace.consumers WHERE id = ${parent}`, [
    ['watching', null],
  ])

  const two = await topic('two')
  await produce(two, values(21))
  await untilRows(db, numbers, [[[1, 2, 21]]])
  await untilRows(db, children, [
    [one, 'running'],
    [two, 'running'],
  ])

  const { stdout } = await millrace(['status', '--database', db.url])
  assert.match(stdout, /sales.* watching/)

  // stopping and going on, all of them
  await db.query('SELECT millrace.pause($1)', [parent])
  await untilRows(db, children, [
    [one, 'stopped'],
    [two, 'stopped'],
  ])
  const three = await topic('three')
  await produce(three, values(31))
  await produce(one, values(3))
  await db.query('SELECT millrace.resume($1)', [parent])
  await untilRows(db, numbers, [[[1, 2, 3, 21, 31]]])

  // a topic that goes is waited for, visibly
  await adminOf().deleteTopics({ topics: [two] })
  await untilState(db, two, 'waiting-for-topic')
  await produce(one, values(4))
  await untilRows(db, numbers, [[[1, 2, 3, 4, 21, 31]]])

  await db.query('SELECT millrace.drop_consumer($1)', [parent])
  await untilRows(db, 'SELECT count(*)::int FROM millrace.consumer', [[0]])
  await eventually('nothing is reported of them any more', async () => {
    const { rows } = await db.query('SELECT count(*)::int AS reports FROM millrace.report')
    return rows[0].reports === 0
  })
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
})

test('F37 a pattern gets its owner only topics that are granted, also those granted later', async (t) => {
  const { db, owner, daemon, urlOf } = await plainRoles(t)
  await db.query('DELETE FROM millrace.topic_grant')
  const asOwner = await db.client({ connectionString: urlOf(owner) })
  await promptDaemon(t, { url: urlOf(daemon) })
  await asOwner.query('CREATE TABLE numbers (n int)')
  const prefix = `mine-${randomUUID().slice(0, 8)}`
  const [open, secret] = [
    await topicFor(t, { name: `${prefix}-open`, partitions: 1 }),
    await topicFor(t, { name: `${prefix}-secret`, partitions: 1 }),
  ]
  await produce(open, values(1))
  await produce(secret, values(7))
  await db.query('SELECT millrace.grant_topic($1, $2)', [open, owner])
  await asOwner.query(consume, [`${prefix}-.*`])
  await untilRows(db, numbers, [[[1]]])
  await eventually('the parent says what it may not', async () => {
    const { rows } = await db.query('SELECT warning FROM millrace.consumers WHERE topic IS NULL')
    return /^topic-not-granted: .*secret/.test(rows[0].warning)
  })
  await untilRows(db, `SELECT topic, owner::text FROM millrace.consumer WHERE parent_id IS NOT NULL`, [
    [open, owner],
  ])
  await db.query('SELECT millrace.grant_topic($1, $2)', [secret, owner])
  await untilRows(db, numbers, [[[1, 7]]])
})

test('a cluster that cannot be asked for its topics: the parent says so', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db, '127.0.0.1:1')
  await db.query('CREATE TABLE numbers (n int)')
  await promptDaemon(t, db)
  const topic = await topicFor(t, { partitions: 1 })
  await produce(topic, values(1))
  await db.query(consume, [topic])
  const parent = 'SELECT state, error_code FROM millrace.consumers WHERE topic IS NULL'
  await untilRows(db, parent, [['retrying', 'kafka-unreachable']])
  await addBroker(db)
  await untilRows(db, numbers, [[[1]]])
  await untilRows(db, parent, [['watching', null]])
})
