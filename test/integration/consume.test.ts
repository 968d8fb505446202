// The main job: what is in the topic is in the table, because somebody typed consume_begin.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import {
  addBroker,
  begin,
  consumerOf,
  end,
  promptDaemon,
  untilPassed,
  untilRows,
  untilState,
} from '../support/flow.ts'
import { Ledger } from '../support/ledger.ts'
import { millrace } from '../support/millrace.ts'
import { sharedServers } from '../support/servers.ts'
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

test('what document 000 shows, as it is typed there', async (t) => {
  const db = await databaseFor(t)
  await promptDaemon(t, db)
  const topic = await topicFor(t)
  await db.query('CREATE TABLE my_table (a int, b text)')
  await db.query(`SELECT pipeline_kafka.add_broker('${sharedServers().brokers}')`)
  await db.query(
    `SELECT pipeline_kafka.consume_begin('${topic}', 'my_table', format := 'text',
       delimiter := '\t', quote := NULL, escape := NULL, batchsize := 1000,
       maxbytes := 32000000, parallelism := 1, start_offset := NULL)`,
  )
  await untilState(db, topic, 'running')
  await produce(topic, [{ value: '1\tone' }, { value: '2\ttwo' }])
  await untilRows(db, 'SELECT * FROM my_table ORDER BY a', [
    [1, 'one'],
    [2, 'two'],
  ])
  await db.query(`SELECT pipeline_kafka.consume_end('${topic}', 'my_table')`)
  await untilState(db, topic, 'stopped')
})

test('what document 001 shows: the functions and tables of 0.8', async (t) => {
  const db = await databaseFor(t)
  await promptDaemon(t, db)
  const topic = await topicFor(t)
  await db.query('CREATE TABLE stream (a int, b text)')
  await db.query(`INSERT INTO pipeline_kafka_brokers VALUES ('${sharedServers().brokers}')`)
  await db.query(`SELECT kafka_consume_begin('stream', '${topic}', 2, 'csv', ',')`)
  await untilState(db, topic, 'running')
  await produce(topic, [{ value: '1,one' }])
  await untilRows(db, 'SELECT * FROM stream', [[1, 'one']])
  await db.query('SELECT kafka_consume_end()')
  await untilState(db, topic, 'stopped')
  await produce(topic, [{ value: '2,two' }])
  await db.query('SELECT kafka_consume_begin()')
  await untilRows(db, 'SELECT * FROM stream ORDER BY a', [
    [1, 'one'],
    [2, 'two'],
  ])
  await untilRows(db, 'SELECT sum("offset" + 1)::int FROM pipeline_kafka_offsets', [[2]])
})

test('a whole message goes into a relation with one json column', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  await promptDaemon(t, db)
  const topic = await topicFor(t, { partitions: 1 })
  await db.query('CREATE TABLE documents (payload jsonb)')
  await produce(topic, [{ value: '{"n": 9007199254740993, "text": "a\\tb\\n\\\\"}' }, { value: '[1, 2]' }])
  await begin(db, topic, 'documents', { format: 'json', start_offset: -2 })
  await untilRows(
    db,
    `SELECT payload ->> 'n', payload ->> 'text' AS text FROM documents WHERE jsonb_typeof(payload) = 'object'`,
    [['9007199254740993', 'a\tb\n\\']],
  )
  await untilRows(db, `SELECT payload FROM documents WHERE jsonb_typeof(payload) = 'array'`, [[[1, 2]]])
})

test('parallelism is the number of COPY streams', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  await promptDaemon(t, db)
  const ledger = await Ledger.open(t, db, { partitions: 6 })
  await db.query(`
    CREATE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(2); RETURN NULL; END $$;
    CREATE TRIGGER be_slow BEFORE INSERT ON ${ledger.table} EXECUTE FUNCTION be_slow();`)
  await ledger.produce(600)
  await ledger.begin({ parallelism: 3 })
  const streams = async () => {
    const { rows } = await db.query(
      `SELECT count(*)::int AS streams FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE '%COPY %' AND state = 'active' AND pid <> pg_backend_pid()`,
    )
    return rows[0].streams
  }
  await eventually('three streams load at the same time', async () => (await streams()) === 3)
  await ledger.untilWhole()
})

test('status and SQL show what happens, and the exit code tells', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const topic = await topicFor(t, { partitions: 2 })
  await db.query('CREATE TABLE numbers (n int)')
  await begin(db, topic, 'numbers', { start_offset: -2 })
  const status = (expect: number) => millrace(['status', '--json', '--database', db.url], { expect })
  assert.equal(JSON.parse((await status(1)).stdout).consumers[0].state, 'no-daemon')
  const daemon = await promptDaemon(t, db)
  await produce(
    topic,
    [0, 0, 1].map((partition, n) => ({ value: String(n), partition })),
  )
  await untilPassed(db, topic, 3)
  await eventually('the daemon has reported it', async () => {
    const { lag, state } = await consumerOf(db, topic)
    return state === 'running' && lag === '0'
  })
  const shown = JSON.parse((await status(0)).stdout)
  assert.equal(shown.daemonConnected, true)
  const [consumer] = shown.consumers
  assert.deepEqual([consumer.topic, consumer.target, consumer.messages], [topic, 'public.numbers', 3])
  assert.deepEqual(
    consumer.partitions.map((each: any) => [each.partition, each.position, each.high, each.lag]),
    [
      [0, 2, 2, 0],
      [1, 1, 1, 0],
    ],
  )
  await end(db, topic, 'numbers')
  assert.equal(JSON.parse((await status(0)).stdout).consumers[0].state, 'stopped')
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
})
