// What a transaction produced reaches Kafka if it committed, and only then; in order for each key, and as it was given.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { partitionOf } from '../../src/kafka/murmur2.ts'
import { databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { addBroker, promptDaemon } from '../support/flow.ts'
import { readWithJava } from '../support/java-client.ts'
import { ownedDatabase } from '../support/owned-database.ts'
import {
  countOf,
  distinct,
  idOf,
  outboxStatus,
  promptRelay,
  untilCount,
  untilSent,
  valuesOf,
} from '../support/sent.ts'
import { postgresFor, sharedServers } from '../support/servers.ts'
import { adminOf, topicFor } from '../support/topic.ts'

test('key, value, headers, partition, timestamp and the id arrive as they were produced', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const topic = await topicFor(t)
  const { rows: ids } = await db.query(
    `SELECT millrace.produce($1, 'a value', 'a key', headers := '{"one": "1", "none": null}') AS a,
       millrace.produce($1, NULL::text, 'gone', "timestamp" := '2001-02-03 04:05:06.789Z') AS b,
       millrace.produce($1, '\\x00ff'::bytea, '\\x'::bytea, 3) AS c,
       millrace.produce($1, '') AS d`,
    [topic],
  )
  const { rows } = await db.query('SELECT id FROM millrace.installation')
  await promptDaemon(t, db, { env: promptRelay })
  await untilCount(topic, 4)
  const records = await readWithJava(t, topic)
  const find = (id: string) => records.find((record) => idOf(record) === `${rows[0].id}:${id}`)!
  const [{ a, b, c, d }] = ids
  assert.equal(find(a).value, 'a value')
  assert.equal(find(a).key, 'a key')
  assert.equal(find(a).partition, partitionOf(Buffer.from('a key'), 4))
  assert.deepEqual(find(a).headers.slice(0, 2).sort(), [
    ['none', null],
    ['one', '1'],
  ])
  assert.deepEqual([find(b).value, find(b).timestamp], [null, Date.parse('2001-02-03T04:05:06.789Z')])
  assert.deepEqual([find(c).value, find(c).key, find(c).partition], ['\x00\xff', '', 3])
  assert.deepEqual([find(d).value, find(d).key], ['', null])
})

test('F16 what was rolled back, also to a savepoint, is not sent', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const topic = await topicFor(t, { partitions: 1 })
  await promptDaemon(t, db, { env: promptRelay })
  const client = await db.client()
  const produce = (value: string) => client.query('SELECT millrace.produce($1, $2, $3)', [topic, value, 'k'])
  await client.query('BEGIN')
  await produce('rolled back')
  await client.query('ROLLBACK')
  await client.query('BEGIN')
  await produce('1')
  await client.query('SAVEPOINT s')
  await produce('rolled back to a savepoint')
  await client.query('ROLLBACK TO s')
  await produce('2')
  await client.query('SAVEPOINT r')
  await produce('3')
  await client.query('RELEASE r')
  await client.query('COMMIT')
  await produce('4')
  await untilCount(topic, 4)
  await untilSent(db)
  assert.deepEqual(valuesOf(await readWithJava(t, topic)), ['1', '2', '3', '4'])
})

test('F17 F22 a transaction that begins first and commits last is sent then, and delays nobody', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const topic = await topicFor(t, { partitions: 1 })
  await promptDaemon(t, db, { env: promptRelay })
  const produce = (client: { query: typeof db.query }, value: string) =>
    client.query('SELECT millrace.produce($1, $2, $2)', [topic, value])
  const first = (await db.client()) as unknown as { query: typeof db.query }
  await first.query('BEGIN')
  await produce(first, 'first and last')
  const second = (await db.client()) as unknown as { query: typeof db.query }
  await second.query('BEGIN')
  await produce(second, 'second and last but one')
  for (let i = 0; i < 20; i++) {
    await produce(db, `between ${i}`)
    await untilCount(topic, i + 1)
  }
  await second.query('COMMIT')
  await untilCount(topic, 21)
  await produce(db, 'after it')
  await untilCount(topic, 22)
  await first.query('COMMIT')
  await untilCount(topic, 23)
  await untilSent(db)
  const values = valuesOf(await readWithJava(t, topic))
  assert.deepEqual(values, [
    ...Array.from({ length: 20 }, (_, i) => `between ${i}`),
    'second and last but one',
    'after it',
    'first and last',
  ])
})

test('F22 a prepared transaction and an open one in another database delay nothing but themselves', async (t) => {
  const server = await postgresFor(t, { settings: { max_prepared_transactions: '5' } })
  const db = await databaseFor(t, { server })
  const other = await databaseFor(t, { server, empty: true })
  await addBroker(db)
  const topic = await topicFor(t, { partitions: 1 })
  const long = await other.client()
  await long.query('CREATE TABLE t (a int); BEGIN; INSERT INTO t VALUES (1)')
  const client = await db.client()
  await client.query('BEGIN')
  await client.query("SELECT millrace.produce($1, 'prepared')", [topic])
  await client.query("PREPARE TRANSACTION 'outbox'")
  await promptDaemon(t, db, { env: promptRelay })
  for (let i = 0; i < 10; i++) {
    await db.query('SELECT millrace.produce($1, $2)', [topic, `message ${i}`])
    await untilCount(topic, i + 1)
  }
  await client.query("COMMIT PREPARED 'outbox'")
  await untilCount(topic, 11)
  await long.query('COMMIT')
  await untilSent(db)
  const messages = Array.from({ length: 10 }, (_, i) => `message ${i}`)
  assert.deepEqual(valuesOf(await readWithJava(t, topic)), [...messages, 'prepared'])
})

test('ten writers that update one row keep its order', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const topic = await topicFor(t)
  await db.query('CREATE TABLE counter (n int); INSERT INTO counter VALUES (0)')
  await promptDaemon(t, db, { env: promptRelay })
  const writers = Array.from({ length: 10 }, async () => {
    const client = await db.client()
    for (let i = 0; i < 60; i++) {
      await client.query('BEGIN')
      // a transaction that has its number before it waits for the row
      await client.query('SELECT pg_current_xact_id()')
      const { rows } = await client.query('UPDATE counter SET n = n + 1 RETURNING n')
      await client.query("SELECT millrace.produce($1, $2, 'the row')", [topic, String(rows[0].n)])
      await client.query('COMMIT')
    }
  })
  await Promise.all(writers)
  await untilCount(topic, 600)
  const records = await readWithJava(t, topic)
  assert.deepEqual(
    valuesOf(records),
    Array.from({ length: 600 }, (_, i) => String(i + 1)),
  )
})

for (const compression of ['gzip', 'snappy', 'lz4', 'zstd']) {
  test(`a backlog of many keys is drained in order, with ${compression}`, async (t) => {
    const db = await databaseFor(t)
    await addBroker(db)
    const topic = await topicFor(t, { partitions: 3 })
    await db.query(
      "SELECT count(millrace.produce($1, i || ' ' || repeat('x', i % 300), (i % 97)::text)) FROM generate_series(1, 20000) AS i",
      [topic],
    )
    assert.equal((await outboxStatus(db)).backlog, '20000')
    const daemon = await promptDaemon(t, db, {
      env: {
        ...promptRelay,
        MILLRACE_OUTBOUND_COMPRESSION: compression,
        MILLRACE_OUTBOUND_BATCH_SIZE: '32kB',
      },
    })
    await untilCount(topic, 20_000)
    await untilSent(db)
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
    const { records, repeated } = await distinct(t, topic)
    assert.deepEqual([records.length, repeated], [20_000, 0])
    for (const [key, own] of Map.groupBy(records, (record) => record.key)) {
      const numbers = own.map(({ value }) => Number.parseInt(value!, 10))
      assert.deepEqual(
        numbers,
        numbers.toSorted((a, b) => a - b),
        `key ${key}`,
      )
    }
  })
}

test('segments are emptied when they are sent, and writing goes on in another', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const topic = await topicFor(t, { partitions: 1 })
  await promptDaemon(t, db, { env: promptRelay })
  const fill = (from: number) =>
    db.query(
      "SELECT count(millrace.produce($1, i || repeat('x', 1900))) FROM generate_series($2::int, $2::int + 19999) AS i",
      [topic, from],
    )
  const writing = async () => (await db.query('SELECT segment FROM millrace.outbox_writing')).rows[0].segment
  await fill(0)
  await eventually('writing goes on elsewhere', async () => (await writing()) !== 0)
  await fill(20_000)
  await untilCount(topic, 40_000, { deadline: 60_000 })
  // all that is left is in the one that is written now
  await eventually('the others are empty', async () => {
    const { rows } = await db.query(
      `SELECT count(*)::int AS full FROM generate_series(0, 3) AS i
        WHERE i <> (SELECT segment FROM millrace.outbox_writing) AND pg_relation_size(('millrace.outbox_' || i)::regclass) > 0`,
    )
    return rows[0].full === 0
  })
  await untilSent(db)
  assert.equal(await countOf(topic), 40_000)
})

test('a dump that reads the outbox keeps it from being emptied, and holds up nobody', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const topic = await topicFor(t, { partitions: 1 })
  const dump = await db.client()
  await dump.query('BEGIN; LOCK TABLE millrace.outbox_0, millrace.outbox_1 IN ACCESS SHARE MODE')
  await promptDaemon(t, db, { env: promptRelay })
  await db.query(
    "SELECT count(millrace.produce($1, i || repeat('x', 1900))) FROM generate_series(1, 20000) AS i",
    [topic],
  )
  await eventually('writing goes on in one that nobody reads', async () => {
    const { rows } = await db.query('SELECT segment FROM millrace.outbox_writing')
    return rows[0].segment !== 0
  })
  await untilSent(db)
  const writer = await db.client()
  await writer.query("SET lock_timeout = '100ms'")
  for (let i = 0; i < 200; i++) await writer.query("SELECT millrace.produce($1, 'x')", [topic])
  const { rows } = await db.query("SELECT pg_relation_size('millrace.outbox_0') AS size")
  assert.ok(Number(rows[0].size) > 0, 'it is still there')
  await dump.query('COMMIT')
  await eventually('it is empty', async () => {
    const { rows } = await db.query("SELECT pg_relation_size('millrace.outbox_0') AS size")
    return Number(rows[0].size) === 0
  })
  await untilCount(topic, 20_200)
})

test('a daemon that is no superuser sends what ordinary roles produce, and they see nothing of it', async (t) => {
  const { database, roles, as } = await ownedDatabase(t)
  const admin = await as(roles.admin)
  const topic = await topicFor(t, { partitions: 1 })
  await admin.run('SELECT millrace.add_broker($1)', [sharedServers().brokers])
  await admin.run("SELECT millrace.grant_topic($1, $2, action := 'produce')", [topic, roles.bob])
  const password = 'a-password-of-the-daemon'
  await database.query(`ALTER ROLE ${roles.owner} PASSWORD '${password}'`)
  const daemon = await promptDaemon(t, { url: database.urlAs(roles.owner, password) }, { env: promptRelay })
  await daemon.waitForLog('this daemon sends the outbox')
  const bob = await as(roles.bob)
  for (let i = 0; i < 50; i++) await bob.run("SELECT millrace.produce($1, 'from bob', 'k')", [topic])
  await untilCount(topic, 50)
  assert.deepEqual((await bob.run('SELECT * FROM millrace.outbox_status')).rows, [])
  for (const table of ['outbox_waiting', 'outbox_progress', 'lease'])
    assert.match((await bob.refusal(`SELECT * FROM millrace.${table}`)) ?? '', /42501$/)
  assert.equal((await admin.run('SELECT backlog FROM millrace.outbox_status')).rows.length, 1)
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
})

test('a message for a partition that is not there waits for it, with its key alone', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const topic = await topicFor(t, { partitions: 1 })
  await promptDaemon(t, db, { env: promptRelay })
  await db.query(
    `SELECT millrace.produce($1, 'one', partition := 2), millrace.produce($1, 'other'),
       millrace.produce($1, 'two', partition := 2)`,
    [topic],
  )
  await untilCount(topic, 1)
  await untilSent(db)
  const status = await outboxStatus(db)
  assert.deepEqual([status.waiting, status.waiting_code], ['2', 'target-partition-missing'])
  await adminOf().createPartitions({ topics: [{ name: topic, count: 3 }] })
  await untilCount(topic, 3)
  const there = (await readWithJava(t, topic)).filter(({ partition }) => partition === 2)
  assert.deepEqual(valuesOf(there), ['one', 'two'])
  await eventually('nothing waits', async () => (await outboxStatus(db)).waiting === '0')
})

test('many that wait behind a first one that is still on its way do not stop the daemon', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const topic = await topicFor(t)
  // the first message of the batch stays in the producer while the others are read
  await promptDaemon(t, db, { env: { ...promptRelay, MILLRACE_OUTBOUND_LINGER: '1s' } })
  await db.query('SELECT millrace.produce($1, $2)', [`${topic}-missing`, 'waits'])
  await eventually('its topic waits', async () => (await outboxStatus(db)).waiting === '1')
  await db.query(
    `SELECT millrace.produce($1, 'first'), (SELECT count(millrace.produce($2, 'waits')) FROM generate_series(1, 10000))`,
    [topic, `${topic}-missing`],
  )
  await untilCount(topic, 1)
  await untilSent(db)
  assert.equal((await outboxStatus(db)).waiting, '10001')
})
