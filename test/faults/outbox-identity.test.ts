// Invariant 7, outbound: nothing of an outbox is sent before the database knows itself, and where Kafka and the database
// disagree about how far it is sent, somebody decides.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import pg from 'pg'
import { afterwards, type Cleanup } from '../support/cleanup.ts'
import { backupOf, sameDatabase, startBackup } from '../support/copies.ts'
import { type Database, databaseAt, databaseFor } from '../support/database.ts'
import { copyRows } from '../support/dump.ts'
import { eventually } from '../support/eventually.ts'
import { deliver, exactDatabase, positionTopicOf, valuesOnce } from '../support/exact.ts'
import { addBroker, promptDaemon } from '../support/flow.ts'
import { millrace } from '../support/millrace.ts'
import { outboxStatus, promptRelay, untilSent } from '../support/sent.ts'
import { postgresFor } from '../support/servers.ts'
import { adminOf, topicFor } from '../support/topic.ts'

const waits = 'everything waits for millrace adopt'
const patient = { deadline: 60_000 }

async function produce(db: Pick<Database, 'query'>, topic: string, from: number, to: number): Promise<void> {
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

/** An empty database on a server of its own, whose transaction ids are behind or ahead of the other's. */
async function restoreInto(t: Cleanup, db: Database, idsAhead: boolean): Promise<Database> {
  const server = await postgresFor(t, { settings: { fsync: 'off' } })
  const client = new pg.Client({ connectionString: server.url })
  await client.connect()
  afterwards(t, () => client.end())
  await client.query(`CREATE DATABASE ${db.name} TEMPLATE template0`)
  const restored = databaseAt(t, server.urlOf(db.name))
  await millrace(['install', '--all', '--database', restored.url])
  const behind = idsAhead ? restored : db
  const nextId = async (of: Database) =>
    BigInt((await of.query('SELECT pg_current_xact_id()::text AS id')).rows[0].id)
  const goal = (await nextId(idsAhead ? db : restored)) + 2000n
  const burner = await behind.client()
  // each savepoint that writes takes an id
  await burner.query('CREATE TABLE burnt (a int)')
  while ((await nextId(behind)) < goal)
    await burner.query(
      'DO $$ BEGIN FOR i IN 1..500 LOOP BEGIN INSERT INTO burnt VALUES (i); EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$',
    )
  await burner.end()
  await copyRows(db, restored)
  return restored
}

for (const delivery of ['at_least_once', 'exactly_once'] as const) {
  for (const ahead of [false, true]) {
    test(`F15 a dump whose transaction ids are ${ahead ? 'past' : 'yet to come'} is adopted: what was not sent is sent once, ${delivery}`, async (t) => {
      const db = await databaseFor(t)
      await addBroker(db)
      await deliver(db, delivery)
      const topic = await topicFor(t, { partitions: 1 })
      await produce(db, topic, 1, 100)
      await send(t, db)
      await produce(db, topic, 101, 200)
      const restored = await restoreInto(t, db, ahead)
      // writers do not wait for an adoption, and savepoints have ids of their own
      const writer = await restored.client()
      await writer.query('BEGIN; SELECT pg_current_xact_id(); SAVEPOINT a')
      await writer.query(
        "SELECT count(millrace.produce($1, i::text, 'key')) FROM generate_series(201, 250) AS i",
        [topic],
      )
      await writer.query('COMMIT')
      const daemon = await promptDaemon(t, restored, { env: promptRelay })
      await daemon.waitForLog(waits)
      assert.match(daemon.output(), /it was loaded from a dump/)
      assert.deepEqual(await valuesOnce(t, topic), numbers(1, 100))
      await millrace(['adopt', '--moved', '--database', restored.url])
      await untilSent(restored, patient)
      await produce(restored, topic, 251, 300)
      await untilSent(restored, patient)
      assert.deepEqual(await valuesOnce(t, topic), numbers(1, 300))
      assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
    })
  }
}

test('F15 a dump in the middle of a batch, of which Kafka has committed more than the database knows', async (t) => {
  const db = await exactDatabase(t)
  const topic = await topicFor(t, { partitions: 1 })
  await produce(db, topic, 1, 100)
  const victim = await promptDaemon(t, db, {
    env: { ...promptRelay, MILLRACE_FAILPOINTS: 'outbound.after-commit=crash' },
  })
  assert.equal((await victim.exited).signal, 'SIGKILL')
  await produce(db, topic, 101, 150)
  const restored = await restoreInto(t, db, false)
  await millrace(['adopt', '--moved', '--database', restored.url])
  await send(t, restored)
  assert.deepEqual(await valuesOnce(t, topic), numbers(1, 150))
})

test('F15 a clone sends nothing of the original, and then as itself', async (t) => {
  const db = await exactDatabase(t)
  const topic = await topicFor(t, { partitions: 1 })
  await produce(db, topic, 1, 100)
  await send(t, db)
  await produce(db, topic, 101, 150)
  const copy = databaseAt(t, db.url.replace(db.name, `${db.name}_copy`))
  const admin = new pg.Client({ connectionString: db.url.replace(db.name, 'postgres') })
  await admin.connect()
  afterwards(t, async () => {
    await admin.query(`DROP DATABASE IF EXISTS ${db.name}_copy WITH (FORCE)`)
    await admin.end()
  })
  await admin.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [db.name])
  await admin.query(`CREATE DATABASE ${db.name}_copy TEMPLATE ${db.name}`)
  const daemon = await promptDaemon(t, copy, { env: promptRelay })
  await daemon.waitForLog(waits)
  const { stdout } = await millrace(['adopt', '--clone', '--database', copy.url])
  assert.match(stdout, /original's to send: 50/)
  await produce(copy, topic, 1001, 1010)
  await untilSent(copy, patient)
  assert.notEqual(await positionTopicOf(copy), await positionTopicOf(db))
  await send(t, db)
  const values = (await valuesOnce(t, topic)).map(Number).sort((a, b) => a - b)
  assert.deepEqual(values.map(String), [...numbers(1, 150), ...numbers(1001, 1010)])
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
})

test('F15 a database that was set back stops, and goes on as somebody says', async (t) => {
  const server = await postgresFor(t, { settings: { fsync: 'off' } })
  const db = await exactDatabase(t, { server })
  const topic = await topicFor(t, { partitions: 1 })
  await produce(db, topic, 1, 10)
  await send(t, db)
  await produce(db, topic, 11, 20)
  const backup = await backupOf(t, server)
  await send(t, db)
  await produce(db, topic, 21, 30)
  await send(t, db)
  await server.stop()
  const old = databaseAt(t, sameDatabase(db.url, await startBackup(t, backup, 'clone')))
  await produce(old, topic, 31, 40)
  const daemon = await promptDaemon(t, old, { env: promptRelay })
  await eventually('it stops', async () => (await outboxStatus(old)).error_code === 'outbox-position-ahead')
  assert.equal((await outboxStatus(old)).backlog, '20', 'what is in Kafka already and what is not')
  assert.deepEqual(await valuesOnce(t, topic), numbers(1, 30))
  await assert.rejects(
    old.query("SELECT millrace.resume_outbox('default', 'forget')"),
    /unsent-invalid|forget/,
  )
  await old.query("SELECT millrace.resume_outbox('default', unsent := 'skip')")
  await untilSent(old, patient)
  await eventually('it is over', async () => (await outboxStatus(old)).error_code === null)
  await produce(old, topic, 41, 50)
  await untilSent(old, patient)
  assert.deepEqual(await valuesOnce(t, topic), [...numbers(1, 30), ...numbers(41, 50)])
  await assert.rejects(old.query("SELECT millrace.resume_outbox('default', 'send')"), /not stopped/)
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
})

test('F15 the position is missing in Kafka: the relay stops, and sends when somebody says so', async (t) => {
  const db = await exactDatabase(t)
  const topic = await topicFor(t, { partitions: 1 })
  await produce(db, topic, 1, 10)
  await send(t, db)
  await produce(db, topic, 11, 20)
  await send(t, db)
  const positions = await positionTopicOf(db)
  await adminOf().deleteTopics({ topics: [positions] })
  await produce(db, topic, 21, 30)
  const daemon = await promptDaemon(t, db, { env: promptRelay })
  await eventually('it stops', async () => (await outboxStatus(db)).error_code === 'outbox-position-missing')
  assert.deepEqual(await valuesOnce(t, topic), numbers(1, 20))
  await db.query("SELECT millrace.resume_outbox('default', unsent := 'send')")
  await untilSent(db, patient)
  assert.deepEqual(await valuesOnce(t, topic), numbers(1, 30))
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
})
