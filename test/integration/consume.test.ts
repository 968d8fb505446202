// The main job: what is in the topic is in the table, because somebody typed consume_begin.
import { test } from 'node:test'
import { databaseFor } from '../support/database.ts'
import { addBroker, begin, promptDaemon, untilRows } from '../support/flow.ts'
import { produce, topicFor } from '../support/topic.ts'

test('text, csv and json flow into tables', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  await promptDaemon(t, db)
  const [text, csv, json] = await Promise.all([topicFor(t), topicFor(t), topicFor(t)])
  await db.query('CREATE TABLE a (id int, name text)')
  await db.query('CREATE TABLE b (id int, name text)')
  await db.query('CREATE TABLE c (id int, name text)')
  await produce(text, [{ value: '1\tone' }, { value: '2\t\\N\n' }, { value: '3\tthree\r\n4\tfour' }])
  await produce(csv, [{ value: '1,"one, or so"' }, { value: '2,\r\n' }])
  await produce(json, [
    { value: '{"id": 1, "name": "one"}' },
    { value: '{"name": "zwei", "id": 2}' },
    { value: '{"id":3}' },
  ])
  await begin(db, text, 'a', { start_offset: -2 })
  await begin(db, csv, 'b', { format: 'csv', delimiter: ',', start_offset: -2 })
  await begin(db, json, 'c', { format: 'json', start_offset: -2 })
  await untilRows(db, 'SELECT * FROM a ORDER BY id', [
    [1, 'one'],
    [2, null],
    [3, 'three'],
    [4, 'four'],
  ])
  await untilRows(db, 'SELECT * FROM b ORDER BY id', [
    [1, 'one, or so'],
    [2, null],
  ])
  await untilRows(db, 'SELECT * FROM c ORDER BY id', [
    [1, 'one'],
    [2, 'zwei'],
    [3, null],
  ])
})
