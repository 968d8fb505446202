// The core's own interface attacked: other roles' consumers, what only administrators may do, tables written directly, calls
// from inside other SECURITY DEFINER functions, and a hostile search path.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ownedDatabase } from '../support/owned-database.ts'

/** Alice and bob may both be served, and each has a consumer with a dead letter, a batch and a position. */
async function prepared(t: Parameters<typeof ownedDatabase>[0]) {
  const db = await ownedDatabase(t)
  const { roles } = db
  const sessions = {
    owner: await db.as(roles.owner),
    admin: await db.as(roles.admin),
    alice: await db.as(roles.alice),
    bob: await db.as(roles.bob),
  }
  await db.superuser.run(`GRANT ${roles.bob} TO ${roles.owner}`)
  await sessions.owner.run(`SELECT millrace.add_cluster('default', 'localhost'), millrace.grant_topic('topic', 'public');
    CREATE TABLE a (id int PRIMARY KEY); GRANT INSERT ON a TO ${roles.alice};
    CREATE TABLE b (id int PRIMARY KEY); GRANT INSERT ON b TO ${roles.bob}`)
  const [hers, his] = [
    await sessions.alice.value(`SELECT millrace.consume('topic', 'a', on_error := 'dead_letter')`),
    await sessions.bob.value(`SELECT millrace.consume('topic', 'b', on_error := 'dead_letter')`),
  ]
  await sessions.owner.run(`INSERT INTO millrace.dead_letter (consumer_id, cluster, topic, partition, "offset", value, code, message)
      SELECT id, 'default', topic, 0, 0, 'secret', 'x', 'y' FROM millrace.consumer;
    INSERT INTO millrace.batch (consumer_id, partition, from_offset, to_offset) SELECT id, 0, 0, 1 FROM millrace.consumer;
    INSERT INTO millrace.position (consumer_id, partition, next_offset, config_version) SELECT id, 0, 1, 1 FROM millrace.consumer`)
  const everything = async (): Promise<unknown> =>
    sessions.owner.value(`SELECT jsonb_agg(to_jsonb(c) ORDER BY id) || (SELECT jsonb_agg(to_jsonb(d) ORDER BY id) FROM millrace.dead_letter AS d)
      || (SELECT jsonb_agg(to_jsonb(b) ORDER BY id) FROM millrace.batch AS b)
      || (SELECT coalesce(jsonb_agg(to_jsonb(r) ORDER BY id), '[]') FROM millrace.request AS r) FROM millrace.consumer AS c`)
  return { ...db, ...sessions, hers, his, everything }
}

describe('another role’s consumer', () => {
  test('is not there, for every function', async (t) => {
    const { bob, hers, everything } = await prepared(t)
    const before = await everything()
    for (const call of [
      `pause(${hers})`,
      `resume(${hers})`,
      `drop_consumer(${hers})`,
      `alter_consumer(${hers}, timeout := 1)`,
      `alter_consumer(${hers}, reset := '{on_error}')`,
      `seek(${hers}, 'beginning')`,
      `seek(${hers}, 0)`,
      `seek(${hers}, now())`,
      `verify(${hers})`,
      `consumer_id('topic', 'a')`,
      `wait_for('topic', 0, 0, consumer := ${hers})`,
      `ask_replay(${hers})`,
    ]) {
      assert.equal(await bob.refusal(`SELECT * FROM millrace.${call}`), 'consumer-missing 42704', call)
    }
    assert.equal(await bob.refusal(`CALL millrace.replay(${hers})`), 'consumer-missing 42704')
    assert.deepEqual(await everything(), before)
  })

  test('nor in the views, nor behind a function that is cheaper than their filter', async (t) => {
    const { alice, bob, admin, hers, his } = await prepared(t)
    const seen = async (session: typeof bob): Promise<unknown[]> =>
      session.column(`SELECT string_agg(DISTINCT consumer_id::text, ' ' ORDER BY consumer_id::text) FROM (
        SELECT consumer_id FROM millrace.dead_letters UNION ALL SELECT consumer_id FROM millrace.dead_letter
        UNION ALL SELECT consumer_id FROM millrace.batches UNION ALL SELECT consumer_id FROM millrace.batch
        UNION ALL SELECT id FROM millrace.consumers UNION ALL SELECT consumer_id FROM millrace.lag) AS s`)
    assert.deepEqual(await seen(bob), [String(his)])
    assert.deepEqual(await seen(alice), [String(hers)])
    assert.deepEqual(await seen(admin), [`${hers} ${his}`])
    await bob.run(`CREATE FUNCTION peek(bigint) RETURNS boolean LANGUAGE plpgsql COST 0.0000001
      AS $$ BEGIN RAISE NOTICE 'leaked %', $1; RETURN true; END $$`)
    for (const view of ['dead_letters', 'batches']) {
      const { notices } = await bob.run(`SELECT * FROM millrace.${view} WHERE peek(consumer_id)`)
      assert.deepEqual(notices, [`NOTICE leaked ${his}`], view)
    }
    assert.deepEqual(
      (await bob.run(`SELECT millrace.ask_replay("where" := 'public.peek(consumer_id)')`)).notices,
      [`NOTICE leaked ${his}`, 'WARNING no-daemon'],
    )
    assert.deepEqual(
      await bob.column('SELECT consumer_id FROM millrace.dead_letters WHERE replay_id IS NOT NULL'),
      [his],
    )
  })

  test('is an administrator’s, and a member’s of that role', async (t) => {
    const { superuser, admin, bob, hers, roles } = await prepared(t)
    await admin.run(`SELECT millrace.pause(${hers}), millrace.resume(${hers}), millrace.ask_replay(${hers})`)
    await superuser.run(`GRANT ${roles.alice} TO ${roles.bob}`)
    assert.equal(await bob.value(`SELECT millrace.drop_consumer(${hers})`), '1')
  })
})

describe('the tables', () => {
  test('cannot be written past the functions', async (t) => {
    const { alice, bob, hers, his, everything } = await prepared(t)
    const request = await alice.value(
      `INSERT INTO millrace.request (kind, asked_count) VALUES ('replay', 0) RETURNING id`,
    )
    const before = await everything()
    for (const sql of [
      `INSERT INTO millrace.consumer (topic, target_schema, target_name, parent_id) VALUES ('topic', 'public', 'b', ${hers})`,
      `INSERT INTO millrace.consumer (topic, target_schema, target_name, way) VALUES ('topic', 'public', 'b', 'direct')`,
      `INSERT INTO millrace.consumer (topic, target_schema, target_name, owner) VALUES ('topic', 'public', 'b', 0)`,
      `UPDATE millrace.consumer SET way = 'direct'`,
      `UPDATE millrace.consumer SET parent_id = ${hers}`,
      'UPDATE millrace.consumer SET dead_letters_expired = 1',
      'UPDATE millrace.consumer SET route_by_key = true',
      `UPDATE millrace.consumer SET topic_pattern = '.*'`,
      'DELETE FROM millrace.consumer',
      'UPDATE millrace.dead_letter SET value = NULL',
      'UPDATE millrace.dead_letter SET attempts = 0',
      'DELETE FROM millrace.dead_letter',
      'INSERT INTO millrace.dead_letter DEFAULT VALUES',
      'UPDATE millrace.dead_letter SET replay_id = 99',
      `UPDATE millrace.request SET state = 'done'`,
      'DELETE FROM millrace.request',
      `INSERT INTO millrace.request (kind, owner) VALUES ('replay', 0)`,
      `INSERT INTO millrace.request (kind, state) VALUES ('replay', 'done')`,
      'UPDATE millrace.batch SET to_offset = 9',
      'DELETE FROM millrace.batch',
      'SELECT * FROM millrace.removal',
    ]) {
      assert.match(String(await alice.refusal(sql)), /42501$/, sql)
    }
    // Bob's request does not become alice's, and his marks do not reach her dead letters.
    assert.match(
      String(await bob.refusal(`UPDATE millrace.dead_letter SET replay_id = ${request}`)),
      /42501$/,
    )
    await bob.run(`INSERT INTO millrace.removal VALUES (${hers})`)
    await bob.run('INSERT INTO millrace.removal VALUES (NULL)')
    for (const call of [
      'expire_dead_letters()',
      `merge_batches('0')`,
      'sweep()',
      `add_children(${his}, '{x}')`,
    ]) {
      const refusal = await bob.refusal(`SELECT millrace.${call}`)
      assert.ok(refusal === null || /42501$/.test(refusal), `${call}: ${refusal}`)
    }
    assert.deepEqual(await everything(), before)
  })

  test('F37 a try that is written by hand is checked as one that is called', async (t) => {
    const { alice, owner, roles } = await prepared(t)
    await owner.run(`REVOKE INSERT ON b FROM ${roles.alice}; SELECT millrace.revoke_topic('topic', 'public'),
      millrace.grant_topic('topic', '${roles.alice}')`)
    const full = {
      ...{
        topic: 'topic',
        target_schema: 'public',
        target_name: 'a',
        cluster: 'default',
        format: 'json',
        messages: 5,
      },
      ...{
        mode: 'insert',
        on_error: 'stop',
        on_offset_gap: 'stop',
        unknown_keys: 'ignore',
        missing_keys: 'default',
      },
      ...{ batchsize: 1, maxbytes: 1, parallelism: 1, timeout: 1, dead_letter_limit: 1, route_by_key: false },
    }
    const insert = (change: object): [string, unknown[]] => [
      `INSERT INTO millrace.request (kind, arguments) VALUES ('try', $1) RETURNING arguments`,
      [JSON.stringify({ ...full, ...change })],
    ]
    for (const [change, refusal] of [
      [{ topic: 'other' }, 'topic-not-granted 42501'],
      [{ target_name: 'b' }, 'insert-denied 42501'],
      [{ target_name: null }, 'option-conflict 22023'],
      [{ route_by_key: true }, 'option-conflict 22023'],
      [{ topic: null, topic_pattern: '.*' }, 'option-conflict 22023'],
      [{ mode: 'x' }, 'mode-invalid 22023'],
      [{ mode: 'upsert' }, 'write-denied 42501'],
      [{ messages: 'x' }, 'messages-invalid 22023'],
    ] as const) {
      assert.equal(await alice.refusal(...insert(change)), refusal, JSON.stringify(change))
    }
    const { rows } = await alice.run(
      ...insert({ owner: roles.owner, id: 1, way: 'direct', version: 7, group_id: 'theirs' }),
    )
    const { owner: asked, id, version, group_id } = rows[0]!.arguments as Record<string, unknown>
    assert.deepEqual([asked, id, version, group_id], [roles.alice, 0, 0, null])
    for (const kind of ['seek', 'x"; --']) {
      assert.equal(
        await alice.refusal('INSERT INTO millrace.request (kind) VALUES ($1)', [kind]),
        'request-invalid 22023',
      )
    }
  })
})

describe('F41 what only administrators may do', () => {
  test('is refused to others, however they try', async (t) => {
    const { alice, hers } = await prepared(t)
    for (const sql of [
      `SELECT millrace.add_cluster('evil', 'evil:9092')`,
      `SELECT millrace.add_cluster('default', 'evil:9092')`,
      `SELECT millrace.drop_cluster('default')`,
      `INSERT INTO millrace.cluster (name) VALUES ('evil')`,
    ]) {
      assert.equal(await alice.refusal(sql), 'admin-required 42501', sql)
    }
    for (const sql of ['DELETE FROM millrace.cluster', `UPDATE millrace.cluster SET name = 'evil'`]) {
      assert.match(String(await alice.refusal(sql)), /42501$/, sql)
    }
    for (const sql of [
      `SELECT millrace.alter_consumer(${hers}, group_id := 'theirs')`,
      `SELECT millrace.consume('topic', route_by_key := true, group_id := 'theirs')`,
    ]) {
      assert.equal(await alice.refusal(sql), 'group-denied 42501', sql)
    }
  })
})

test('F37 a topic that was taken away and rights that are missing are asked for by every function that starts', async (t) => {
  const { alice, owner, hers, roles } = await prepared(t)
  await alice.run(`SELECT millrace.pause(${hers})`)
  const starts = [`SELECT millrace.resume(${hers})`, `SELECT millrace.consume('topic', 'a')`]
  await owner.run(`SELECT millrace.revoke_topic('topic', 'public')`)
  for (const sql of starts) assert.equal(await alice.refusal(sql), 'topic-not-granted 42501', sql)
  await owner.run(`SELECT millrace.grant_topic('topic', 'public'); REVOKE INSERT ON a FROM ${roles.alice}`)
  for (const sql of starts) assert.equal(await alice.refusal(sql), 'insert-denied 42501', sql)
})

describe('from inside another SECURITY DEFINER function', () => {
  test('a call is its owner’s: it reaches what that role may, and no more', async (t) => {
    const { alice, bob, hers, his, roles } = await prepared(t)
    await alice.run(`CREATE FUNCTION as_alice(sql text) RETURNS text SECURITY DEFINER LANGUAGE plpgsql AS $$
      DECLARE r text; BEGIN EXECUTE sql INTO r; RETURN r; END $$`)
    const asAlice = (sql: string): [string, unknown[]] => ['SELECT as_alice($1)', [sql]]
    // What is bob's, though bob calls, is not alice's.
    for (const sql of [
      `SELECT millrace.pause(${his})`,
      `SELECT millrace.drop_consumer(${his})`,
      `SELECT millrace.ask_replay(${his})`,
    ]) {
      assert.equal(await bob.refusal(...asAlice(sql)), 'consumer-missing 42704', sql)
    }
    assert.equal(
      await bob.refusal(...asAlice(`SELECT millrace.consume('topic', 'b')`)),
      'insert-denied 42501',
    )
    assert.equal(
      await bob.refusal(...asAlice(`SELECT millrace.add_cluster('x', 'y')`)),
      'admin-required 42501',
    )
    await bob.run(...asAlice(`SELECT millrace.pause(${hers})`))
    assert.equal(await alice.value('SELECT state FROM millrace.consumers'), 'stopped')
    await bob.run(...asAlice('SELECT millrace.ask_replay()'))
    assert.deepEqual(await alice.column('SELECT owner::text FROM millrace.request'), [roles.alice])
    assert.deepEqual(await bob.column('SELECT id FROM millrace.request'), [])
  })

  test('a procedure does not commit there, and no trigger becomes a way in', async (t) => {
    const { alice, bob, owner, hers } = await prepared(t)
    await alice.run(`CREATE PROCEDURE replay_hers(INOUT asked bigint DEFAULT NULL) SECURITY DEFINER LANGUAGE plpgsql AS $$
      DECLARE l bigint; f bigint; r bigint; BEGIN CALL millrace.replay(${hers}, NULL, NULL, asked, l, f, r); END $$`)
    const { rows, notices } = await bob.run('CALL replay_hers()')
    assert.deepEqual([rows, notices], [[{ asked: '1' }], ['WARNING no-daemon', 'NOTICE request-waiting']])
    // A call by the daemon's own role inside somebody else's function would be that function's owner's.
    await alice.run(`CREATE FUNCTION consume_all() RETURNS bigint SECURITY DEFINER LANGUAGE sql AS
      $$ SELECT millrace.consume('everything', 'a') $$`)
    assert.equal(await owner.refusal('SELECT public.consume_all()'), 'topic-not-granted 42501')
  })
})

describe('F36 a hostile search path', () => {
  const operators = ['text', 'int8', 'int4', 'bool', 'timestamptz', 'interval']
    .map((name) => `pg_catalog.${name}`)
    .flatMap((type) => [
      `CREATE FUNCTION hostile.f(${type}, ${type}) RETURNS boolean LANGUAGE sql AS 'SELECT hostile.fooled()';`,
      ...['=', '<>', '<', '>', '>=', '<=', '-', '+', '||'].map(
        (sign) =>
          `CREATE OPERATOR hostile.${sign} (LEFTARG = ${type}, RIGHTARG = ${type}, FUNCTION = hostile.f);`,
      ),
    ])
    .join(' ')
  const hostile = `
    CREATE SCHEMA hostile;
    CREATE FUNCTION hostile.fooled() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'fooled'; END $$;
    ${operators}
    CREATE FUNCTION hostile.pg_sleep(double precision) RETURNS void LANGUAGE sql AS 'SELECT hostile.fooled()';
    CREATE FUNCTION hostile.jsonb_build_object(VARIADIC "any") RETURNS jsonb LANGUAGE internal AS 'jsonb_build_object';
    CREATE FUNCTION hostile.current_schemas(boolean) RETURNS name[] LANGUAGE sql AS 'SELECT hostile.fooled(); SELECT NULL::name[]';
    CREATE DOMAIN hostile.bool AS pg_catalog.bool CHECK (false);
    CREATE DOMAIN hostile.int4 AS pg_catalog.int4 CHECK (false);
    CREATE DOMAIN hostile.text AS pg_catalog.text CHECK (pg_catalog.length(VALUE) OPERATOR(pg_catalog.<) 0);
    CREATE TABLE hostile.request (id int); CREATE TABLE hostile.consumer (id int); CREATE TABLE hostile.dead_letters (id int)`

  test('fools no function and no procedure', async (t) => {
    const { superuser, alice, owner, as, roles, hers } = await prepared(t)
    await superuser.run(`${hostile}; GRANT USAGE ON SCHEMA hostile TO PUBLIC`)
    const daemon = await as(roles.owner)
    await daemon.run('SELECT pg_advisory_lock_shared(1298756723, 1); LISTEN millrace')
    for (const path of [
      'hostile, pg_catalog, public',
      'hostile, public, pg_catalog',
      'pg_temp, hostile, public',
    ]) {
      for (const session of [alice, owner]) await session.run(`SET search_path = ${path}`)
      for (const call of [
        `SELECT millrace.consume('topic', 'a', start_time := pg_catalog.now())`,
        `SELECT millrace.consumer_id('topic', 'a')`,
        `SELECT millrace.pause(${hers}), millrace.resume(${hers})`,
        `SELECT millrace.alter_consumer(${hers}, timeout := 5)`,
        `SELECT millrace.alter_consumer(${hers}, reset := '{timeout}')`,
        `SELECT millrace.seek(${hers}, 'beginning'), millrace.seek(${hers}, 5), millrace.seek(${hers}, pg_catalog.now())`,
        `SELECT * FROM millrace.verify(${hers})`,
        'SELECT * FROM millrace.consumers; SELECT * FROM millrace.dead_letters; SELECT * FROM millrace.batches',
        `SELECT millrace.ask_replay("where" := 'id = 1')`,
        `SELECT pipeline_kafka.consume_begin_stream_partitioned('topic')`,
        `SELECT pipeline_kafka.consume_end_stream_partitioned('topic')`,
        `BEGIN; CALL millrace.replay(); ROLLBACK`,
        `BEGIN; CALL millrace.try('topic', 'a'); ROLLBACK`,
      ]) {
        assert.equal(await alice.refusal(call), null, `${path}: ${call}`)
      }
      // Outside a transaction block, so that it goes through all of it.
      const asked = new Promise<void>((resolve) => daemon.client.once('notification', () => resolve()))
      const outcome = alice.run(`CALL millrace.try('topic', 'a')`)
      await asked
      await daemon.run(
        `UPDATE millrace.request SET state = 'done', result = '{"loaded": 1}' WHERE kind = 'try'`,
      )
      assert.equal((await outcome).rows[0]!.loaded, '1')
      await owner.run(`SELECT millrace.add_cluster('two', 'a,b'), millrace.drop_cluster('two')`)
      await daemon.run('DELETE FROM millrace.request; UPDATE millrace.dead_letter SET replay_id = NULL')
    }
  })
})

test('the owner of a pattern changes the consumers of its topics, and nobody else does', async (t) => {
  const { alice, bob, owner } = await prepared(t)
  const id = await alice.value(
    `SELECT millrace.consume(topic_pattern := 'top.+', "into" := 'a', on_error := 'skip')`,
  )
  await alice.run(`SELECT millrace.drop_consumer(millrace.consumer_id('topic', 'a'))`)
  assert.equal(await owner.value(`SELECT millrace.add_children(${id}, '{topic}')`), '1')
  await alice.run(`SELECT millrace.alter_consumer(${id}, on_error := 'stop'), millrace.pause(${id})`)
  assert.deepEqual(
    (await owner.run('SELECT on_error, wanted FROM millrace.consumer WHERE parent_id = $1', [id])).rows,
    [{ on_error: 'stop', wanted: 'stopped' }],
  )
  assert.equal(await bob.refusal(`SELECT millrace.pause(${id})`), 'consumer-missing 42704')
})
