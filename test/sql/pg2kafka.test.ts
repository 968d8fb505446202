// pg2kafka's SQL: what is in the outbox after each statement of its document, and where the original failed.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Cleanup } from '../support/cleanup.ts'
import { outboxDatabase } from '../support/outbox.ts'
import type { RoleSession } from '../support/owned-database.ts'

interface Event {
  topic: string
  key: string | null
  external_id: string | null
  statement: string
  data: unknown
}

async function setUp(t: Cleanup) {
  const db = await outboxDatabase(t)
  await db.owner.run(`SELECT millrace.grant_topic('*', '${db.roles.alice}', action := 'produce')`)
  let seen = 0
  /** Events since the last call. */
  const events = async (): Promise<Event[]> => {
    const rows = (await db.outbox()).slice(seen)
    seen += rows.length
    return rows.map(({ topic, key, value }) => {
      const { external_id, statement, data } = JSON.parse(value as string)
      return { topic: topic.replace(db.database.name, 'db'), key, external_id, statement, data }
    })
  }
  return { ...db, events }
}

const event = (
  statement: string,
  id: string | null,
  data: unknown,
  topic = 'pg2kafka.db.products',
): Event => ({
  topic,
  key: id,
  external_id: id,
  statement,
  data,
})

async function products(session: RoleSession): Promise<void> {
  await session.run(`CREATE TABLE products (id BIGSERIAL, sku TEXT, name TEXT);
    INSERT INTO products (sku, name) VALUES ('CM01-R', 'Red Coffee Mug');
    INSERT INTO products (sku, name) VALUES ('CM01-B', 'Blue Coffee Mug')`)
}

const red = { id: 1, sku: 'CM01-R', name: 'Red Coffee Mug' }
const blue = { id: 2, sku: 'CM01-B', name: 'Blue Coffee Mug' }

describe('the session of the document', () => {
  test('snapshot, UPDATE with what changed, INSERT, DELETE', async (t) => {
    const { alice, events } = await setUp(t)
    await products(alice)
    await alice.run(`SELECT pg2kafka.setup('products', 'sku')`)
    assert.deepEqual(await events(), [event('SNAPSHOT', 'CM01-R', red), event('SNAPSHOT', 'CM01-B', blue)])
    await alice.run(`UPDATE products SET name = 'Big Red Coffee Mug' WHERE sku = 'CM01-R'`)
    assert.deepEqual(await events(), [event('UPDATE', 'CM01-R', { name: 'Big Red Coffee Mug' })])
    await alice.run(`UPDATE products SET name = name`)
    assert.deepEqual(await events(), [])
    await alice.run(`INSERT INTO products VALUES (3, 'X', NULL); DELETE FROM products WHERE id = 3`)
    const third = { id: 3, sku: 'X', name: null }
    assert.deepEqual(await events(), [event('INSERT', 'X', third), event('DELETE', 'X', {})])
    await alice.run(`BEGIN; DELETE FROM products; ROLLBACK`)
    assert.deepEqual(await events(), [])
  })

  test('an event has five members in their order, in UTC, and the message has its time', async (t) => {
    const { alice, superuser } = await setUp(t)
    await alice.run(`CREATE TABLE moments (id int, at timestamptz, raw bytea); SELECT pg2kafka.setup('moments', 'id');
      SET timezone = 'Asia/Tokyo'; SET bytea_output = 'escape'; SET datestyle = 'German';
      INSERT INTO moments VALUES (1, '2026-03-01 12:00:00+00', '\\x00ff')`)
    const { rows } = await superuser.run(
      `SELECT convert_from(value, 'UTF8') AS value, "timestamp" FROM millrace.outbox`,
    )
    const { value, timestamp } = rows[0] as { value: string; timestamp: Date }
    const at = String.raw`"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,5}[1-9]|\.[1-9])?Z"`
    assert.match(
      value,
      new RegExp(
        String.raw`^\{"uuid":"[0-9a-f-]{36}","external_id":"1","statement":"INSERT","data":\{"id":1,"at":"2026-03-01T12:00:00\+00:00","raw":"\\\\x00ff"\},"created_at":${at}\}$`,
      ),
    )
    assert.equal(new Date(JSON.parse(value).created_at).getTime(), timestamp.getTime())
  })

  test('outbound_event_queue shows the events to those who have the table', async (t) => {
    const { alice, bob } = await setUp(t)
    await products(alice)
    await alice.run(`SELECT pg2kafka.setup('products', 'sku')`)
    const queue = `SELECT external_id, table_name, statement, data ->> 'name' AS name FROM pg2kafka.outbound_event_queue ORDER BY id`
    assert.deepEqual((await alice.run(queue)).rows, [
      { external_id: 'CM01-R', table_name: 'public.products', statement: 'SNAPSHOT', name: red.name },
      { external_id: 'CM01-B', table_name: 'public.products', statement: 'SNAPSHOT', name: blue.name },
    ])
    assert.deepEqual((await bob.run(queue)).rows, [])
  })

  test('a row that only says that it is an event does not hide the others', async (t) => {
    const { alice, superuser } = await setUp(t)
    await alice.run(`CREATE TABLE t (id int); SELECT pg2kafka.setup('t', 'id'); INSERT INTO t VALUES (1)`)
    await alice.run(`INSERT INTO millrace.outbox_0 (cluster, topic, source, value)
      VALUES ('default', 'topic', 'pg2kafka public.x', '\\xff'), ('default', 'topic', 'pg2kafka public.x', '{"uuid": 1}')`)
    assert.deepEqual(await superuser.column('SELECT external_id FROM pg2kafka.outbound_event_queue'), ['1'])
  })

  test('setting up twice warns and skips', async (t) => {
    const { alice, events } = await setUp(t)
    await products(alice)
    await alice.run(`SELECT pg2kafka.setup('products', 'sku')`)
    await events()
    const { notices } = await alice.run(`SELECT pg2kafka.setup('products', 'sku')`)
    assert.deepEqual(notices, ['WARNING already-set-up'])
    assert.deepEqual(await events(), [])
  })

  test('DROP SCHEMA pg2kafka CASCADE removes every trace', async (t) => {
    const { alice, owner, events, superuser } = await setUp(t)
    await products(alice)
    await alice.run(`SELECT pg2kafka.setup('products', 'sku')`)
    await events()
    await owner.run('DROP SCHEMA pg2kafka CASCADE')
    await alice.run(`INSERT INTO products VALUES (3, 'X', NULL); TRUNCATE products`)
    assert.deepEqual(await events(), [])
    assert.equal(
      await superuser.value(
        `SELECT count(*)::int FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = 'products'::regclass`,
      ),
      0,
    )
  })

  test('remove() takes the triggers away before the dialect goes', async (t) => {
    const { alice, owner, events } = await setUp(t)
    await products(alice)
    await alice.run(`SELECT pg2kafka.setup('products', 'sku')`)
    await events()
    assert.equal(
      await alice.refusal('SELECT pg2kafka.remove()'),
      'permission denied for function remove 42501',
    )
    await owner.run('SELECT pg2kafka.remove()')
    await alice.run(`INSERT INTO products VALUES (3, 'X', NULL)`)
    assert.deepEqual(await events(), [])
  })
})

describe('where the original failed', () => {
  test('tables in other schemas, mixed-case and quoted names', async (t) => {
    const { alice, superuser, roles, events } = await setUp(t)
    await superuser.run(`CREATE SCHEMA shop AUTHORIZATION ${roles.alice}`)
    await alice.run(`CREATE TABLE shop."My ""Table" ("The Id" text, n int); INSERT INTO shop."My ""Table" VALUES ('a', 1);
      SELECT pg2kafka.setup('shop."My ""Table"', 'The Id'); UPDATE shop."My ""Table" SET n = 2`)
    const topic = 'pg2kafka.db.shop.My__Table'
    assert.deepEqual(await events(), [
      event('SNAPSHOT', 'a', { 'The Id': 'a', n: 1 }, topic),
      event('UPDATE', 'a', { n: 2 }, topic),
    ])
    await alice.run(`CREATE TABLE shop."My _Table" ("The Id" text)`)
    assert.equal(
      await alice.refusal(`SELECT pg2kafka.setup('shop."My _Table"', 'The Id')`),
      'topic-taken 42710',
    )
  })

  test('an id with a quote, a long id, a NULL id, a changed id', async (t) => {
    const { alice, events } = await setUp(t)
    await alice.run(`CREATE TABLE products (sku text, n int); SELECT pg2kafka.setup('products', 'sku')`)
    const long = 'x'.repeat(300)
    for (const id of [`it's "quoted"`, long, null]) {
      await alice.run('INSERT INTO products VALUES ($1, 1)', [id])
      assert.deepEqual(await events(), [event('INSERT', id, { sku: id, n: 1 })])
    }
    await alice.run(`UPDATE products SET sku = 'new', n = 2 WHERE sku = $1`, [long])
    assert.deepEqual(await events(), [
      event('DELETE', long, {}),
      event('INSERT', 'new', { sku: 'new', n: 2 }),
    ])
    await alice.run('UPDATE products SET n = 3 WHERE sku IS NULL')
    assert.deepEqual(await events(), [event('UPDATE', null, { n: 3 })])
  })

  test('a writer without rights on anything but the table', async (t) => {
    const { alice, bob, superuser, roles, events } = await setUp(t)
    await products(alice)
    await superuser.run(
      `REVOKE ALL ON SCHEMA pg2kafka, millrace FROM PUBLIC; GRANT USAGE ON SCHEMA pg2kafka, millrace TO ${roles.alice}`,
    )
    await alice.run(`SELECT pg2kafka.setup('products', 'sku'); GRANT INSERT ON products TO ${roles.bob}`)
    await events()
    await bob.run(`INSERT INTO products (id, sku) VALUES (9, 'bob')`)
    assert.deepEqual(await events(), [event('INSERT', 'bob', { id: 9, sku: 'bob', name: null })])
  })

  test('no broker yet, or none any more: writers do not notice', async (t) => {
    const { alice, owner, events } = await setUp(t)
    await owner.run(`SELECT millrace.remove_broker('localhost:9092')`)
    await products(alice)
    await alice.run(`SELECT pg2kafka.setup('products', 'sku'); DELETE FROM products WHERE id = 1`)
    assert.deepEqual(
      (await events()).map(({ statement }) => statement),
      ['SNAPSHOT', 'SNAPSHOT', 'DELETE'],
    )
    assert.equal(
      await owner.refusal(`SELECT millrace.produce('topic', 'v', cluster := 'default')`),
      'no-broker 55000',
    )
  })

  test('a namespace that a table could not be written with is refused', async (t) => {
    const { alice, owner, roles, events } = await setUp(t)
    await products(alice)
    await alice.run(`SELECT pg2kafka.setup('products', 'sku')`)
    await events()
    assert.equal(
      await alice.refusal(`SELECT pg2kafka.set_namespace('x')`),
      'permission denied for function set_namespace 42501',
    )
    assert.equal(
      await owner.refusal(`SELECT pg2kafka.set_namespace(repeat('x', 240))`),
      'topic-invalid 22023',
    )
    await owner.run(`SELECT millrace.revoke_topic('*', '${roles.alice}'), millrace.grant_topic(
      'pg2kafka.' || current_database() || '.products', '${roles.alice}', action := 'produce')`)
    assert.equal(await owner.refusal(`SELECT pg2kafka.set_namespace('x')`), 'topic-not-granted 42501')
    await alice.run('DELETE FROM products WHERE id = 1')
    assert.deepEqual(await events(), [event('DELETE', 'CM01-R', {})])
  })

  test('TRUNCATE deletes every row', async (t) => {
    const { alice, events } = await setUp(t)
    await products(alice)
    await alice.run(`SELECT pg2kafka.setup('products', 'sku')`)
    await events()
    await alice.run('TRUNCATE products')
    assert.deepEqual(await events(), [event('DELETE', 'CM01-R', {}), event('DELETE', 'CM01-B', {})])
  })

  test('a partitioned table, and a row that moves between its partitions', async (t) => {
    const { alice, events } = await setUp(t)
    await alice.run(`CREATE TABLE products (sku text, place int) PARTITION BY LIST (place);
      CREATE TABLE one PARTITION OF products FOR VALUES IN (1); CREATE TABLE two PARTITION OF products FOR VALUES IN (2);
      SELECT pg2kafka.setup('products', 'sku'); INSERT INTO one VALUES ('a', 1)`)
    assert.deepEqual(await events(), [event('INSERT', 'a', { sku: 'a', place: 1 })])
    await alice.run('UPDATE products SET place = 2')
    assert.deepEqual(await events(), [event('DELETE', 'a', {}), event('INSERT', 'a', { sku: 'a', place: 2 })])
  })

  test('what setup cannot do, it says at once', async (t) => {
    const { alice, owner, bob, roles } = await setUp(t)
    await products(alice)
    await alice.run(`CREATE VIEW shown AS SELECT * FROM products; CREATE TEMPORARY TABLE passing (id int)`)
    const refusals: [string, string][] = [
      [`'products', 'missing'`, 'column-missing 42703'],
      [`'products', NULL`, 'column-missing 42703'],
      [`NULL, 'id'`, 'relation-missing 42P01'],
      [`'shown', 'id'`, 'relation-kind 42809'],
      [`'passing', 'id'`, 'relation-temporary 42809'],
    ]
    for (const [args, code] of refusals)
      assert.equal(await alice.refusal(`SELECT pg2kafka.setup(${args})`), code, args)
    assert.equal(await bob.refusal(`SELECT pg2kafka.setup('products', 'id')`), 'relation-not-yours 42501')
    await alice.run('BEGIN ISOLATION LEVEL REPEATABLE READ')
    assert.equal(await alice.refusal(`SELECT pg2kafka.setup('products', 'id')`), 'setup-isolation 25001')
    await alice.run('ROLLBACK')
    await owner.run(`SELECT millrace.revoke_topic('*', '${roles.alice}')`)
    assert.equal(await alice.refusal(`SELECT pg2kafka.setup('products', 'id')`), 'topic-not-granted 42501')
  })
})

describe('rights', () => {
  test("nobody makes a trigger with another role's function", async (t) => {
    const { alice, bob, events, roles } = await setUp(t)
    await products(alice)
    await alice.run(`SELECT pg2kafka.setup('products', 'sku')`)
    await events()
    const writer = await alice.value(`SELECT quote_ident('events of ' || '${roles.alice}'::regrole::oid)`)
    await bob.run('CREATE TABLE forged (sku text)')
    assert.match(
      (await bob.refusal(`CREATE TRIGGER forge AFTER INSERT ON forged FOR EACH ROW
        EXECUTE FUNCTION pg2kafka.${writer}('products', 'sku')`)) ?? '',
      /permission denied for function/,
    )
    assert.equal(
      await bob.refusal(`SELECT pg2kafka.send('forged'::regclass, 'products', 'x', 'INSERT', '{}')`),
      'topic-not-granted 42501',
    )
  })

  test('a role that the daemon cannot act as', async (t) => {
    const { bob, owner, roles } = await setUp(t)
    await owner.run(`SELECT millrace.grant_topic('*', '${roles.bob}', action := 'produce')`)
    await bob.run('CREATE TABLE own (id int)')
    assert.equal(await bob.refusal(`SELECT pg2kafka.setup('own', 'id')`), 'role-not-served 42501')
  })

  test("a cast of a user's runs as the table's owner, not as the daemon", async (t) => {
    const { alice, superuser, roles } = await setUp(t)
    await alice.run(`CREATE TYPE mood AS ENUM ('fine'); CREATE TABLE moods (id int, mood mood); CREATE TABLE ran (as_role text);
      CREATE FUNCTION told(mood) RETURNS json LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.ran VALUES (current_user); RETURN '1'; END $$;
      CREATE CAST (mood AS json) WITH FUNCTION told(mood);
      SELECT pg2kafka.setup('moods', 'id'); GRANT INSERT ON moods TO ${roles.bob}`)
    await superuser.run(
      `SET ROLE ${roles.bob}; SET search_path = public; INSERT INTO moods VALUES (1, 'fine'); RESET ROLE`,
    )
    assert.deepEqual(await superuser.column('SELECT DISTINCT as_role FROM ran'), [roles.alice])
  })

  test('F38 a new owner of a table cannot act as the former one, and sets it up again', async (t) => {
    const { alice, bob, owner, superuser, roles } = await setUp(t)
    await alice.run(`CREATE TYPE mood AS ENUM ('fine'); CREATE TABLE moods (id int, mood mood); CREATE TABLE plain (id int);
      CREATE TABLE ran (as_role text); GRANT INSERT ON ran TO PUBLIC;
      SELECT pg2kafka.setup('moods', 'id'); SELECT pg2kafka.setup('plain', 'id')`)
    await superuser.run(`SET search_path = public; ALTER TYPE mood OWNER TO ${roles.bob}; GRANT ${roles.bob} TO ${roles.owner};
      ALTER TABLE moods OWNER TO ${roles.bob}; ALTER TABLE plain OWNER TO ${roles.bob};
      SET search_path = DEFAULT`)
    await owner.run(`SELECT millrace.grant_topic('*', '${roles.bob}', action := 'produce')`)
    await bob.run(`SET search_path = public;  CREATE FUNCTION told(mood) RETURNS json LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.ran VALUES (current_user); RETURN '1'; END $$;
      CREATE CAST (mood AS json) WITH FUNCTION told(mood)`)
    await assert.rejects(bob.run(`INSERT INTO moods VALUES (1, 'fine')`), /belongs to another role/)
    await bob.run('INSERT INTO plain VALUES (1)')
    assert.deepEqual(await superuser.column('SELECT as_role FROM ran'), [])
    await bob.run(`SELECT pg2kafka.setup('moods', 'id'); INSERT INTO moods VALUES (1, 'fine')`)
    assert.deepEqual(await superuser.column('SELECT DISTINCT as_role FROM ran'), [roles.bob])
  })
})
