// The document of pg2kafka line by line, with the executable that takes its place, read by Kafka's own client; then what
// the document warns of.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { eventually } from '../support/eventually.ts'
import { readWithJava } from '../support/java-client.ts'
import { millrace } from '../support/millrace.ts'
import { type Event, eventOf, eventsOf, shopFor, shown } from '../support/pg2kafka.ts'
import { countOf, outboxStatus, untilCount, untilSent } from '../support/sent.ts'
import { postgresFor, sharedServers } from '../support/servers.ts'
import { topicFor } from '../support/topic.ts'

const products = `
  CREATE TABLE products (
    id BIGSERIAL,
    sku TEXT,
    name TEXT
  )`
const mugs = [
  "INSERT INTO products (sku, name) VALUES ('CM01-R', 'Red Coffee Mug')",
  "INSERT INTO products (sku, name) VALUES ('CM01-B', 'Blue Coffee Mug')",
]
const red = { id: 1, sku: 'CM01-R', name: 'Red Coffee Mug' }
const blue = { id: 2, sku: 'CM01-B', name: 'Blue Coffee Mug' }

const sorted = (events: Event[]) => events.map(shown).sort((a, b) => (String(a) < String(b) ? -1 : 1))

test('the session of the document', async (t) => {
  const { db, start } = await shopFor(t, 'shop_test')
  const daemon = await start()
  await daemon.waitForLog('this daemon sends the outbox')
  await db.query(products)
  for (const mug of mugs) await db.query(mug)
  await db.query("SELECT pg2kafka.setup('products', 'sku')")
  const topic = await topicFor(t, { name: 'pg2kafka.shop_test.products', partitions: 3 })
  const snapshots = await eventsOf(t, topic, 2)
  assert.deepEqual(sorted(snapshots), [
    ['SNAPSHOT', 'CM01-B', blue],
    ['SNAPSHOT', 'CM01-R', red],
  ])
  await db.query("UPDATE products SET name = 'Big Red Coffee Mug' WHERE sku = 'CM01-R'")
  const events = await eventsOf(t, topic, 3)
  const updates = events.filter(({ statement }) => statement === 'UPDATE')
  assert.deepEqual(updates.map(shown), [['UPDATE', 'CM01-R', { name: 'Big Red Coffee Mug' }]])
  assert.equal(new Set(events.map(({ uuid }) => uuid)).size, 3)
  const ofRed = (await readWithJava(t, topic)).filter(({ key }) => key === 'CM01-R')
  assert.equal(new Set(ofRed.map(({ partition }) => partition)).size, 1, 'one partition for an id')

  await db.query('DROP SCHEMA pg2kafka CASCADE')
  await db.query("INSERT INTO products (sku, name) VALUES ('CM02', 'no event'); DELETE FROM products")
  const { rows } = await db.query(
    "SELECT count(*)::int AS count FROM pg_trigger WHERE tgrelid = 'products'::regclass",
  )
  assert.equal(rows[0].count, 0)
  // the daemon carries on
  await db.query("SELECT millrace.produce($1, 'after it', 'CM01-R')", [topic])
  await untilCount(topic, 4)
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
  assert.equal(await countOf(topic), 4)
})

test('where the original fails, this works', async (t) => {
  const { db, start } = await shopFor(t, 'shop_cases')
  const daemon = await start()
  await daemon.waitForLog('this daemon sends the outbox')
  await db.query(`
    CREATE SCHEMA "Shop";
    CREATE TABLE "Shop"."My Products" ("The Id" text, n int, at timestamptz);
    CREATE ROLE writer_of_cases LOGIN;
    GRANT USAGE ON SCHEMA "Shop" TO writer_of_cases; GRANT SELECT, INSERT, UPDATE, DELETE ON "Shop"."My Products" TO writer_of_cases;
    REVOKE ALL ON SCHEMA millrace, pg2kafka FROM PUBLIC;
    SELECT pg2kafka.setup('"Shop"."My Products"', 'The Id')`)
  const topic = await topicFor(t, { name: 'pg2kafka.shop_cases.Shop.My_Products', partitions: 1 })
  await assert.rejects(
    db.query(`CREATE TABLE other (a int); SELECT pg2kafka.setup('other', 'missing')`),
    (error: { detail?: string }) => error.detail === 'code: column-missing',
  )
  const writer = await db.client()
  await writer.query(
    `SET SESSION AUTHORIZATION writer_of_cases; SET timezone = 'Asia/Tokyo'; SET datestyle = 'German'`,
  )
  const long = 'x'.repeat(300)
  const moment = '2026-03-01 12:00:00+00'
  const at = '2026-03-01T12:00:00+00:00'
  for (const id of [`it's "quoted" \\ `, long, null])
    await writer.query('INSERT INTO "Shop"."My Products" VALUES ($1, 1, $2)', [id, moment])
  await writer.query(`UPDATE "Shop"."My Products" SET "The Id" = 'new' WHERE "The Id" = $1`, [long])
  await writer.query(`UPDATE "Shop"."My Products" SET n = n`)
  await writer.query(`UPDATE "Shop"."My Products" SET n = 2 WHERE "The Id" IS NULL`)
  await writer.query(`DELETE FROM "Shop"."My Products" WHERE "The Id" LIKE 'it%'`)
  await db.query('TRUNCATE "Shop"."My Products"')
  const row = (id: string | null) => ({ 'The Id': id, n: 1, at })
  const quoted = `it's "quoted" \\ `
  assert.deepEqual((await eventsOf(t, topic, 9)).map(shown), [
    ['INSERT', quoted, row(quoted)],
    ['INSERT', long, row(long)],
    ['INSERT', null, row(null)],
    ['DELETE', long, {}],
    ['INSERT', 'new', row('new')],
    ['UPDATE', null, { n: 2 }],
    ['DELETE', quoted, {}],
    ['DELETE', 'new', {}],
    ['DELETE', null, {}],
  ])
})

test('two of them, killed and stopped under writers: each event is sent, those of an id in order', async (t) => {
  const { db, start } = await shopFor(t, 'shop_two')
  const topic = await topicFor(t, { name: 'pg2kafka.shop_two.counter', partitions: 3 })
  // both install at the same time
  const [first, second] = await Promise.all([start(), start()])
  const sends = 'this daemon sends the outbox'
  await eventually(
    'one of them sends',
    () => first.output().includes(sends) || second.output().includes(sends),
  )
  await eventually('both run', () =>
    [first, second].every((daemon) => daemon.output().includes('connected to PostgreSQL')),
  )
  await db.query(`CREATE TABLE counter (id int PRIMARY KEY, n int); INSERT INTO counter SELECT i, 0 FROM generate_series(1, 20) AS i;
    SELECT pg2kafka.setup('counter', 'id')`)
  const [sender, other] = first.output().includes(sends) ? [first, second] : [second, first]
  let writing = true
  let rounds = 0
  const writer = (async () => {
    const client = await db.client()
    while (writing) {
      await client.query('UPDATE counter SET n = n + 1')
      rounds++
    }
  })()
  await untilCount(topic, 200)
  sender.kill('SIGKILL')
  await other.waitForLog(sends)
  const third = await start()
  await third.waitForLog('connected to PostgreSQL')
  const before = await countOf(topic)
  await untilCount(topic, before + 200)
  assert.deepEqual(await other.stop(), { code: 0, signal: null })
  await third.waitForLog(sends)
  await untilCount(topic, before + 400)
  writing = false
  await writer
  await untilSent(db)
  const records = await readWithJava(t, topic)
  const once = new Map(records.map((record) => [eventOf(record).uuid, record]))
  for (const [id, own] of Map.groupBy(once.values(), ({ key }) => key)) {
    const numbers = own.map((record) => eventOf(record).data.n)
    assert.deepEqual(
      numbers,
      Array.from({ length: rounds + 1 }, (_, i) => i),
      `the events of ${id}`,
    )
  }
  assert.equal(once.size, 20 * (rounds + 1))
  assert.deepEqual(await third.stop(), { code: 0, signal: null })
})

test('TOPIC_NAMESPACE', async (t) => {
  const { db, start } = await shopFor(t, 'shop_space')
  const daemon = await start({ TOPIC_NAMESPACE: 'staging' })
  await daemon.waitForLog('this daemon sends the outbox')
  await db.query(
    `CREATE TABLE users (id int); INSERT INTO users VALUES (1); SELECT pg2kafka.setup('users', 'id')`,
  )
  const topic = await topicFor(t, { name: 'pg2kafka.staging.shop_space.users', partitions: 1 })
  assert.deepEqual((await eventsOf(t, topic, 1)).map(shown), [['SNAPSHOT', '1', { id: 1 }]])
  await daemon.stop()
  const without = await topicFor(t, { name: 'pg2kafka.shop_space.users', partitions: 1 })
  // it installs nothing, and the namespace is another one all the same
  const next = await start({ PERFORM_MIGRATIONS: undefined })
  await next.waitForLog('this daemon sends the outbox')
  await db.query('INSERT INTO users VALUES (2)')
  assert.deepEqual((await eventsOf(t, without, 1)).map(shown), [['INSERT', '2', { id: 2 }]])
  await next.stop()
  // a topic's name would be too long: found before anybody cannot write to the table any more
  const { code, stdout } = await millrace(['pg2kafka'], {
    env: {
      DATABASE_URL: db.url,
      KAFKA_BROKER: sharedServers().brokers,
      TOPIC_NAMESPACE: 'x'.repeat(240),
    },
    expect: null,
  })
  assert.equal(code, 1)
  assert.match(stdout, /topic-invalid/)
  await db.query('INSERT INTO users VALUES (3)')
})

test('DRY_RUN: the messages come to standard output, nothing else does, and nothing counts as sent', async (t) => {
  const { db, start } = await shopFor(t, 'shop_dry')
  const dry = await start({ DRY_RUN: 'true', KAFKA_BROKER: undefined })
  await dry.waitForLog('nothing is sent')
  await db.query(products)
  for (const mug of mugs) await db.query(mug)
  const late = await db.client()
  await db.query("SELECT pg2kafka.setup('products', 'sku')")
  await late.query("BEGIN; INSERT INTO products VALUES (3, 'late', 'first and last')")
  await db.query("UPDATE products SET name = 'Big Red Coffee Mug' WHERE sku = 'CM01-R'")
  const lines = () => dry.results().split('\n').slice(0, -1)
  await eventually('three messages', () => lines().length === 3)
  await late.query('COMMIT')
  await eventually('four messages', () => lines().length === 4)
  const expected = [
    ['SNAPSHOT', 'CM01-R', red],
    ['SNAPSHOT', 'CM01-B', blue],
    ['UPDATE', 'CM01-R', { name: 'Big Red Coffee Mug' }],
    ['INSERT', 'late', { id: 3, sku: 'late', name: 'first and last' }],
  ]
  assert.deepEqual(
    lines().map((line) => shown(JSON.parse(line))),
    expected,
  )
  assert.equal((await outboxStatus(db)).backlog, '4')
  assert.deepEqual(await dry.stop(), { code: 0, signal: null })
  const topic = await topicFor(t, { name: 'pg2kafka.shop_dry.products', partitions: 1 })
  await start()
  const sent = await eventsOf(t, topic, 4)
  assert.deepEqual(
    new Set(sent.map(({ uuid }) => uuid)),
    new Set(lines().map((line) => JSON.parse(line).uuid)),
  )
})

test('what it says when it cannot begin, and its exit codes', async (t) => {
  const { db, url } = await shopFor(t, 'shop_errors')
  const KAFKA_BROKER = sharedServers().brokers
  const run = (env: Record<string, string>) => millrace(['pg2kafka'], { env, expect: null })
  const nothing = await run({ DRY_RUN: 'perhaps' })
  assert.equal(nothing.code, 2)
  for (const said of [/config-invalid/, /DRY_RUN: "perhaps"/, /DATABASE_URL/])
    assert.match(nothing.stderr, said)
  const noBroker = await run({ DATABASE_URL: url })
  assert.equal(noBroker.code, 2)
  assert.match(noBroker.stderr, /KAFKA_BROKER: set it to host:port/)
  assert.match(
    (await run({ DATABASE_URL: url, KAFKA_BROKER: 'ssl://a:1' })).stderr,
    /KAFKA_BROKER: host:port alone/,
  )
  const empty = await run({ DATABASE_URL: url, KAFKA_BROKER })
  assert.deepEqual([empty.code, /schema-missing/.test(empty.stdout)], [4, true])
  await millrace(['install', '--database', url])
  const core = await run({ DATABASE_URL: url, KAFKA_BROKER })
  assert.deepEqual([core.code, /dialect-missing/.test(core.stdout)], [4, true])
  // the original's schema is left as it is
  await db.query('CREATE SCHEMA pg2kafka; CREATE TABLE pg2kafka.outbound_event_queue (id int)')
  const original = await run({ DATABASE_URL: url, KAFKA_BROKER, PERFORM_MIGRATIONS: 'true' })
  assert.deepEqual([original.code, /dialect-name-taken/.test(original.stdout)], [4, true])
  await db.query('SELECT id FROM pg2kafka.outbound_event_queue')
})

test('brokers: another address takes the place of those that were, one more is added', async (t) => {
  const { db, start } = await shopFor(t, 'shop_brokers')
  const hosts = async () =>
    (await db.query('SELECT host FROM millrace.broker ORDER BY host')).rows.map(({ host }) => host)
  const [host, port] = sharedServers().brokers.split(':')
  const round = async (KAFKA_BROKER: string) => {
    const daemon = await start({ KAFKA_BROKER })
    await daemon.waitForLog('connected to PostgreSQL')
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
    return hosts()
  }
  assert.deepEqual(await round('elsewhere:1'), ['elsewhere:1'])
  assert.deepEqual(await round(`PLAINTEXT://${host}:${port}`), [`${host}:${port}`])
  assert.deepEqual(await round(`${host}:${port}, second`), [`${host}:${port}`, 'second'].sort())
  assert.deepEqual(await round('SECOND:9092'), [`${host}:${port}`, 'second'].sort())
})

test('PostgreSQL is away when it starts: it waits, and SIGTERM ends that', async (t) => {
  const server = await postgresFor(t)
  const { start } = await shopFor(t, 'shop_away')
  await server.kill()
  const waiting = await start({ DATABASE_URL: server.url })
  await waiting.waitForLog('PostgreSQL is away')
  const ended = await start({ DATABASE_URL: server.url })
  await ended.waitForLog('PostgreSQL is away')
  assert.deepEqual(await ended.stop(), { code: 0, signal: null })
  await server.start()
  await waiting.waitForLog('this daemon sends the outbox')
})

test('the queue is never purged and does not grow', async (t) => {
  const { db, start } = await shopFor(t, 'shop_queue')
  const daemon = await start()
  await daemon.waitForLog('this daemon sends the outbox')
  const topic = await topicFor(t, { name: 'pg2kafka.shop_queue.notes', partitions: 3 })
  await db.query(`CREATE TABLE notes (id int, note text); INSERT INTO notes SELECT i, '' FROM generate_series(1, 20000) AS i;
    SELECT pg2kafka.setup('notes', 'id')`)
  for (let i = 1; i <= 3; i++) await db.query("UPDATE notes SET note = $1 || repeat('x', 1900)", [String(i)])
  await untilCount(topic, 80_000, { deadline: 60_000 })
  await eventually('what was sent is gone', async () => {
    const { rows } = await db.query(`SELECT count(*)::int AS count, sum(pg_relation_size(c.oid))::int AS size
      FROM pg2kafka.outbound_event_queue RIGHT JOIN pg_class AS c ON false WHERE c.relname ~ '^outbox_[0-3]$'`)
    return rows[0].size < 48 * 2 ** 20
  })
})
