// A replay goes the way that its consumer's messages go: to the relations that keys name, and one by one where many fail.
import { test } from 'node:test'
import { databaseFor } from '../support/database.ts'
import { addBroker, consume, promptDaemon, untilRows } from '../support/flow.ts'
import { deadLetters, mend, multiply, numbers, refusing } from '../support/letters.ts'
import { produce, topicFor } from '../support/topic.ts'

test('the key names the relation: one that was missing is there by now, another is not', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const topic = await topicFor(t, { partitions: 1 })
  await db.query('CREATE TABLE a (n int)')
  const keys = ['a', 'b', 'c', 'b', 'other.d']
  await produce(
    topic,
    keys.map((key, n) => ({ key, value: `{"n": ${n}}` })),
  )
  await consume(db, topic, null, { route_by_key: true, on_error: 'dead_letter' })
  await promptDaemon(t, db)
  await untilRows(db, 'SELECT code, count(*)::int FROM millrace.dead_letter GROUP BY 1', [
    ['route-missing', 4],
  ])
  await db.query('CREATE TABLE b (n int); CREATE SCHEMA other; CREATE TABLE other.d (n int)')
  await db.query('CALL millrace.replay()')
  await untilRows(db, 'SELECT n FROM b ORDER BY n', [[1], [3]])
  await untilRows(db, 'SELECT n FROM other.d', [[4]])
  await untilRows(db, 'SELECT "offset"::int, code, attempts FROM millrace.dead_letter', [
    [2, 'route-missing', 2],
  ])
  await untilRows(db, 'SELECT done_count::int, failed_count::int FROM millrace.request', [[3, 1]])
})

test('many of a batch fail again: each good one is loaded, each bad one keeps its own reason', async (t) => {
  const { db } = await deadLetters(t, refusing, numbers(2))
  await multiply(db, { from: 2, to: 1200 })
  await db.query(
    `UPDATE millrace.dead_letter SET value = convert_to('bad ' || (convert_from(value, 'UTF8')), 'UTF8')
      WHERE convert_from(value, 'UTF8')::int % 3 = 0`,
  )
  await mend(db)
  await db.query('ALTER TABLE target ADD CONSTRAINT odd CHECK (n % 3 = 1)')
  await promptDaemon(t, db)
  await db.query('CALL millrace.replay()')
  await untilRows(db, 'SELECT count(*)::int, bool_and(n % 3 = 1) FROM target', [[400, true]])
  await untilRows(
    db,
    `SELECT sqlstate, count(*)::int, bool_and(attempts = 2 AND CASE sqlstate
       WHEN '22P02' THEN message LIKE '%"' || convert_from(value, 'UTF8') || '"' ELSE message LIKE '%"odd"' END)
       FROM millrace.dead_letter GROUP BY 1 ORDER BY 1`,
    [
      ['22P02', 400, true],
      ['23514', 400, true],
    ],
  )
})
