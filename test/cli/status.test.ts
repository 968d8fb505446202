// `millrace status` on a real database: what its exit code says is what its table shows.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { afterwards } from '../support/cleanup.ts'
import { type Database, databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { addBroker, promptDaemon } from '../support/flow.ts'
import { millrace } from '../support/millrace.ts'
import { promptRelay, untilSent } from '../support/sent.ts'
import { untilSnapshot } from '../support/snapshot.ts'
import { topicFor } from '../support/topic.ts'

const daemonId = '00000000-0000-4000-8000-000000000001'

/** A table, a broker that is never asked, and consumers of these topics. */
async function consumersOf(database: Database, ...topics: string[]): Promise<void> {
  await database.query('CREATE TABLE events (n integer)')
  await database.query("SELECT pipeline_kafka.add_broker('localhost:1')")
  for (const topic of topics) {
    await database.query('SELECT pipeline_kafka.consume_begin($1, $2)', [topic, 'events'])
  }
}

/** What a daemon would have written. */
async function reported(
  database: Database,
  topic: string,
  state: string,
  code: string | null = null,
): Promise<void> {
  await database.query('INSERT INTO millrace.daemon (id) VALUES ($1) ON CONFLICT DO NOTHING', [daemonId])
  await database.query(
    `INSERT INTO millrace.report (consumer_id, daemon, state, code, detail, rows_per_second)
     SELECT id, $1, $3, $4::text, 'detail of ' || $4::text, 12.5 FROM millrace.consumer WHERE topic = $2`,
    [daemonId, topic, state, code],
  )
}

async function positioned(database: Database, topic: string, partition: number, next: string): Promise<void> {
  await database.query(
    `INSERT INTO millrace.position (consumer_id, partition, next_offset, config_version, moved_at)
     SELECT id, $2, $3, version, now() FROM millrace.consumer WHERE topic = $1`,
    [topic, partition, next],
  )
}

describe('millrace status', () => {
  test('of a database without consumers is well', async (t) => {
    const { url } = await databaseFor(t)
    const { stdout, stderr } = await millrace(['status', '--database', url])
    assert.equal(stdout, 'No consumers.\n\nNo daemon is connected to this database.\n')
    assert.equal(stderr, '')
  })

  test('shows where each partition of a running consumer stands', async (t) => {
    const database = await databaseFor(t)
    await consumersOf(database, 'one', 'two')
    await reported(database, 'one', 'running')
    await reported(database, 'two', 'waiting-for-topic')
    await positioned(database, 'one', 0, '9223372036854775000')
    await positioned(database, 'one', 1, '5')
    await database.query(
      `INSERT INTO millrace.watermark (cluster, topic, partition, low, high)
       VALUES ('default', 'one', 0, 0, 9223372036854775807), ('default', 'one', 1, 0, 5)`,
    )
    const { stdout } = await millrace(['status'], { env: { DATABASE_URL: database.url } })
    assert.match(
      stdout,
      /^default +one +public.events +running +12\.5 +0 +9223372036854775000 +9223372036854775807 +807 +\d+s ago$/m,
    )
    assert.match(stdout, /^ +1 +5 +5 +0 +\d+s ago$/m)
    assert.match(stdout, /^default +two +public.events +waiting-for-topic +12\.5 +- +- +- +- +-$/m)

    const json = await millrace(['status', '--json', '--database', database.url])
    assert.match(json.stdout, /"position": 9223372036854775000,/)
    const [one] = JSON.parse(json.stdout).consumers
    assert.equal(one.partitions.length, 2)
    assert.equal(one.state, 'running')
    assert.equal(one.error, null)
  })

  test('shows what is not sent, and fails while nobody sends it or something waits', async (t) => {
    const database = await databaseFor(t)
    await addBroker(database)
    await database.query(
      `SELECT millrace.produce('no.topic.of.this.name.either', 'v', "timestamp" := '2020-01-01Z')`,
    )
    const env = { DATABASE_URL: database.url }
    const alone = await millrace(['status'], { env, expect: 1 })
    assert.match(
      alone.stdout,
      /^outbox for default: 1 not sent, the oldest for \d+d, 0 waiting \(keys: 0\)$/m,
    )
    assert.match(alone.stdout, /^ {2}no daemon sends$/m)
    await promptDaemon(t, database, { env: promptRelay })
    await untilSent(database)
    const waits = await millrace(['status', '--json'], { env, expect: 1 })
    const [outbox] = JSON.parse(waits.stdout).outbox
    assert.deepEqual(
      [outbox.backlog, outbox.oldestAge, outbox.waiting, outbox.waitingCode, outbox.deadLetters],
      [0, null, 1, 'topic-missing', 0],
    )
    assert.ok(outbox.leaseAge < 60)
    // a dead letter is what somebody asked for
    await database.query("SELECT millrace.alter_cluster('default', on_refused := 'dead_letter')")
    const isOne = async () => {
      const { rows } = await database.query('SELECT dead_letters FROM millrace.outbox_status')
      return rows[0].dead_letters === '1'
    }
    // the time between two tries grows to 18 s
    await eventually('it is one', isOne, { deadline: 60_000 })
    const { stdout } = await millrace(['status'], { env })
    assert.match(stdout, /^ {2}1 dead letters \(millrace\.outbox_dead_letters\)$/m)
  })

  test('shows snapshots of tables that are not over, and fails while nobody works on them', async (t) => {
    const database = await databaseFor(t)
    const env = { DATABASE_URL: database.url }
    await addBroker(database)
    await topicFor(t, { name: `pg2kafka.${database.name}.large` })
    await database.query(`CREATE TABLE large (id int PRIMARY KEY, pad text);
      INSERT INTO large SELECT i, repeat('x', 1000) FROM generate_series(1, 8000) AS i`)
    assert.doesNotMatch((await millrace(['status'], { env })).stdout, /napshot/)
    await database.query("SELECT pg2kafka.setup('large', 'id')")
    const alone = await millrace(['status'], { env, expect: 1 })
    assert.match(
      alone.stdout,
      /\n\nSnapshots of tables:\nID +TABLE +STATE +ROWS +BLOCKS +OF\n *1 +public\.large +pending +0 +0 +1143\n/,
    )
    assert.match(alone.stdout, /No daemon is connected/)
    const holder = await database.client()
    await holder.query('BEGIN; SELECT FROM large WHERE id <= 5 FOR UPDATE')
    await promptDaemon(t, database, { env: promptRelay })
    await untilSnapshot(database, 'waiting')
    await untilSent(database)
    const json = await millrace(['status', '--json'], { env })
    assert.deepEqual(JSON.parse(json.stdout).snapshots, [
      {
        ...{ id: 1, relation: 'public.large', state: 'waiting', rows: 7995, blocksDone: 1143, blocks: 1143 },
        ...{ waitsFor: 'rows that others have locked', errorCode: null, errorMessage: null },
      },
    ])
    await holder.query('COMMIT')
    await untilSnapshot(database, 'done')
    await untilSent(database)
    assert.equal((await millrace(['status'], { env })).stdout, 'No consumers.\n')
  })

  test('shows what stopped a consumer, and fails', async (t) => {
    const database = await databaseFor(t)
    await consumersOf(database, 'good', 'bad')
    await reported(database, 'good', 'running')
    const { stdout: before } = await millrace(['status', '--database', database.url])
    assert.doesNotMatch(before, /failed/)
    await database.query(
      `INSERT INTO millrace.failure (consumer_id, version, code, message, sqlstate, partition, "offset")
       SELECT id, version, 'message-rejected', 'invalid input syntax for type integer: "x"', '22P02', 3, 42
       FROM millrace.consumer WHERE topic = 'bad'`,
    )
    const { stdout } = await millrace(['status', '--database', database.url], { expect: 1 })
    assert.match(
      stdout,
      /^bad into public\.events: failed: message-rejected, SQLSTATE 22P02, partition 3, offset 42, /m,
    )
    assert.match(stdout, /^ {2}invalid input syntax for type integer: "x"$/m)
    const json = await millrace(['status', '--database', database.url, '--json'], { expect: 1 })
    const bad = JSON.parse(json.stdout).consumers.find(({ topic }: { topic: string }) => topic === 'bad')
    assert.deepEqual(
      { ...bad.error, at: null },
      {
        code: 'message-rejected',
        message: 'invalid input syntax for type integer: "x"',
        sqlstate: '22P02',
        partition: 3,
        offset: 42,
        at: null,
      },
    )
    await database.query("SELECT pipeline_kafka.consume_end('bad', 'events')")
    assert.match((await millrace(['status', '--database', database.url])).stdout, / stopped /)
  })

  test('fails while a consumer is retried, and while no daemon runs what should run', async (t) => {
    const database = await databaseFor(t)
    await consumersOf(database, 'orders')
    const idle = await millrace(['status', '--database', database.url], { expect: 1 })
    assert.match(idle.stdout, / no-daemon /)
    await reported(database, 'orders', 'retrying', 'kafka-unreachable')
    const { stdout } = await millrace(['status', '--database', database.url], { expect: 1 })
    assert.match(stdout, /^orders into public\.events: retrying: kafka-unreachable, [^,]*\n {2}detail of /m)
  })

  test('shows a role its own consumers only', async (t) => {
    const database = await databaseFor(t)
    await consumersOf(database, 'orders')
    const role = `reader_${database.name}`
    await database.query(`CREATE ROLE ${role} LOGIN PASSWORD 'reader-password'`)
    afterwards(t, () => database.query(`DROP ROLE ${role}`))
    const { stdout } = await millrace(['status', '--database', database.urlAs(role, 'reader-password')])
    assert.match(stdout, /^No consumers\./)
  })

  test('says that the schema is missing, or of another version', async (t) => {
    const empty = await databaseFor(t, { empty: true })
    const missing = await millrace(['status', '--database', empty.url], { expect: 4 })
    assert.match(missing.stderr, /^millrace: schema-missing: .*\nhint: Install it with: millrace install/)
    const newer = await databaseFor(t)
    await newer.query("INSERT INTO millrace.migration (version, name) VALUES (9999, 'to come')")
    const refused = await millrace(['status', '--database', newer.url], { expect: 4 })
    assert.match(refused.stderr, /^millrace: schema-newer: the schema millrace is at version 9999, /)
  })
})

describe('a database that cannot be reached', () => {
  for (const command of ['status', 'install', 'uninstall']) {
    test(`fails ${command} with its address and without its password`, async () => {
      const url = 'postgresql://shop:sentinel-password@127.0.0.1:1/orders'
      const { stdout, stderr } = await millrace([command, '--database', url], { expect: 3 })
      assert.match(
        stderr,
        /^millrace: database-unreachable: PostgreSQL cannot be reached at shop@127\.0\.0\.1:1\/orders: /,
      )
      assert.match(stderr, /ECONNREFUSED/)
      assert.doesNotMatch(stdout + stderr, /sentinel/)
    })
  }
})
