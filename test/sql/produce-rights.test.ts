// Whoever writes a message into the outbox, and however, it is held to what its role was granted; and nothing on the
// search path is ever called.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type OutboxDatabase, outboxDatabase } from '../support/outbox.ts'

describe('who may produce', () => {
  const attempts = (topic: string): string[] => [
    `SELECT millrace.produce('${topic}', 'v')`,
    `SELECT millrace.produce('${topic}', 'v'::bytea)`,
    `SELECT millrace.write_message('${topic}', 'v', NULL, 1, '{}', 'default', NULL, 'forged')`,
    `SELECT pipeline_kafka.produce_message('${topic}', 'v')`,
    `SELECT kafka.produce('${topic}', 'v')`,
    ...[0, 1, 2, 3].map(
      (segment) =>
        `INSERT INTO millrace.outbox_${segment} (cluster, topic, value) VALUES ('default', '${topic}', 'v')`,
    ),
  ]
  async function outcomes(session: OutboxDatabase['alice'], topic: string): Promise<string[]> {
    const seen = new Set<string>()
    for (const sql of attempts(topic)) seen.add(String(await session.refusal(sql)))
    return [...seen]
  }

  test('a role to which the topic was granted for producing, however it does', async (t) => {
    const { owner, alice, bob, admin, superuser, roles } = await outboxDatabase(t)
    assert.deepEqual(await outcomes(alice, 'topic'), ['null'])
    assert.deepEqual(await outcomes(alice, 'other'), ['topic-not-granted 42501'])
    assert.deepEqual(await outcomes(bob, 'topic'), ['topic-not-granted 42501'])
    for (const session of [owner, admin, superuser])
      assert.deepEqual(await outcomes(session, 'other'), ['null'])
    await owner.run(`SELECT millrace.grant_topic('topic', '${roles.bob}')`)
    assert.deepEqual(await outcomes(bob, 'topic'), ['topic-not-granted 42501'], 'granted for consuming')
    await superuser.run(`GRANT ${roles.alice} TO ${roles.bob}`)
    assert.deepEqual(await outcomes(bob, 'topic'), ['null'], 'as a member')
  })

  test('until it is revoked; public is everybody and * every topic, of one cluster', async (t) => {
    const { owner, alice, bob, roles } = await outboxDatabase(t)
    await owner.run(`SELECT millrace.grant_topic('topic', '${roles.alice}')`)
    await owner.run(`SELECT millrace.revoke_topic('topic', '${roles.alice}', action := 'consume')`)
    assert.deepEqual(await outcomes(alice, 'topic'), ['null'])
    await owner.run(`SELECT millrace.revoke_topic('topic', '${roles.alice}')`)
    assert.deepEqual(await outcomes(alice, 'topic'), ['topic-not-granted 42501'])
    await owner.run(`SELECT millrace.add_cluster('other', 'localhost:9093'),
      millrace.grant_topic('*', 'public', 'other', 'produce')`)
    assert.deepEqual(
      await outcomes(bob, 'topic'),
      ['topic-not-granted 42501', 'cluster-ambiguous 42725'].reverse(),
    )
    assert.equal(await bob.refusal(`SELECT millrace.produce('any', 'v', cluster := 'other')`), null)
    assert.equal(
      await bob.refusal(`INSERT INTO millrace.outbox_0 (cluster, topic) VALUES ('other', 'no topic')`),
      'topic-invalid 22023',
    )
  })

  test('what can be granted is consuming and producing, and by an administrator', async (t) => {
    const { admin, alice } = await outboxDatabase(t)
    for (const action of [`'read'`, `''`, 'NULL', `'Produce'`]) {
      const grant = `SELECT millrace.grant_topic('topic', 'public', action := ${action})`
      assert.equal(await admin.refusal(grant), 'action-invalid 22023')
    }
    assert.equal(
      await admin.refusal(`SELECT millrace.revoke_topic('topic', 'public', action := 'read')`),
      'action-invalid 22023',
    )
    for (const call of ['grant_topic', 'revoke_topic'])
      assert.equal(
        await alice.refusal(`SELECT millrace.${call}('topic', 'public', action := 'produce')`),
        'admin-required 42501',
      )
  })

  test('a session that changes its role has the rights of the role that it is', async (t) => {
    const { superuser, roles } = await outboxDatabase(t)
    const call = `SELECT millrace.produce('topic', 'v')`
    for (const _ of [1, 2]) {
      await superuser.run(`SET ROLE ${roles.alice}`)
      assert.equal(await superuser.refusal(call), null)
      await superuser.run(`SET ROLE ${roles.bob}`)
      assert.equal(await superuser.refusal(call), 'topic-not-granted 42501')
      await superuser.run('RESET ROLE')
      assert.equal(await superuser.refusal(call), null)
    }
    assert.deepEqual(await superuser.column('SELECT owner::text FROM millrace.outbox ORDER BY id'), [
      ...[roles.alice, 'postgres', roles.alice, 'postgres'],
    ])
  })

  test('a name that could be taken for SQL is a name', async (t) => {
    const { owner, as, roles, superuser } = await outboxDatabase(t)
    const hostile = await as(roles.hostile)
    assert.deepEqual(await outcomes(hostile, 'topic'), ['topic-not-granted 42501'])
    await owner.run(`SELECT millrace.grant_topic('topic', $1, action := 'produce')`, [roles.hostile])
    assert.deepEqual(await outcomes(hostile, 'topic'), ['null'])
    assert.deepEqual(await superuser.column('SELECT DISTINCT pg_get_userbyid(owner) FROM millrace.outbox'), [
      roles.hostile,
    ])
  })
})

describe('what an ordinary role can do to the outbox', () => {
  test('it cannot read, change, lock or forge', async (t) => {
    const { alice, admin, superuser } = await outboxDatabase(t)
    await alice.run(`SELECT millrace.produce('topic', 'v')`)
    for (const session of [alice, admin])
      for (const sql of [
        'SELECT * FROM millrace.outbox',
        'SELECT id FROM millrace.outbox_0',
        `INSERT INTO millrace.outbox_0 (cluster, topic) VALUES ('default', 'topic') RETURNING id`,
        `INSERT INTO millrace.outbox_0 (cluster, topic, id) VALUES ('default', 'topic', 1)`,
        `INSERT INTO millrace.outbox_0 (cluster, topic, xid) VALUES ('default', 'topic', '1')`,
        `UPDATE millrace.outbox_0 SET value = 'x'`,
        'DELETE FROM millrace.outbox_0',
        'TRUNCATE millrace.outbox_0',
        'BEGIN; LOCK TABLE millrace.outbox_0',
        'BEGIN; LOCK TABLE millrace.outbox_0 IN ROW EXCLUSIVE MODE',
        'BEGIN; LOCK TABLE millrace.outbox_writing IN ROW SHARE MODE',
        'UPDATE millrace.outbox_writing SET segment = 1',
        'SELECT segment FROM millrace.outbox_writing FOR SHARE',
        `SELECT setval('millrace.outbox_id', 1)`,
        `SELECT setval('millrace.outbox_segment', 1)`,
        'SELECT topic FROM millrace.outbox_message_0',
        `INSERT INTO millrace.outbox_message_0 (cluster, topic) VALUES ('default', 'topic') RETURNING topic`,
        `UPDATE millrace.outbox_message_0 SET value = 'x'`,
        'DELETE FROM millrace.outbox_message_0',
        'BEGIN; LOCK TABLE millrace.outbox_message_0 IN ROW EXCLUSIVE MODE',
      ]) {
        assert.match(String(await session.refusal(sql)), /^permission denied .* 42501$/, sql)
        await session.run('ROLLBACK')
      }
    for (const session of [alice, admin])
      assert.match(
        String(
          await session.refusal(
            `INSERT INTO millrace.outbox_0 (cluster, topic, owner) VALUES ('default', 'topic', 'postgres')`,
          ),
        ),
        /^new row violates row-level security policy .* 42501$/,
      )
    for (const session of [alice, admin])
      assert.match(
        String(
          await session.refusal(
            `INSERT INTO millrace.outbox_message_0 (cluster, topic, owner) VALUES ('default', 'topic', 'postgres')`,
          ),
        ),
        /^new row violates check option .* 44000$/,
      )
    assert.equal(await superuser.value('SELECT count(*)::int FROM millrace.outbox'), 1)
  })

  for (const door of ['outbox_2', 'outbox_message_2'])
    test(`rows that it writes itself into ${door} are held to the same`, async (t) => {
      const { alice, bob, owner, roles, superuser } = await outboxDatabase(t)
      const insert = (column: string, value: string): string =>
        `INSERT INTO millrace.${door} (cluster, topic, ${column}) VALUES ('default', 'topic', ${value})`
      assert.equal(await bob.refusal(insert('value', `'v'`)), 'topic-not-granted 42501')
      await owner.run(`SELECT millrace.grant_topic('*', '${roles.bob}', action := 'produce')`)
      assert.equal(
        await bob.refusal(`INSERT INTO millrace.${door} (cluster, topic) VALUES ('default', '*')`),
        'topic-invalid 22023',
      )
      assert.equal(
        await bob.refusal(`INSERT INTO millrace.${door} (cluster, topic) VALUES ('default', '..')`),
        'topic-invalid 22023',
      )
      assert.match(
        String(await bob.refusal(`INSERT INTO millrace.${door} (cluster, topic) VALUES ('other', 't')`)),
        /42501|42704/,
      )
      await owner.run(`SELECT millrace.revoke_topic('*', '${roles.bob}')`)
      assert.equal(await bob.refusal(insert('value', `'v'`)), 'topic-not-granted 42501')
      assert.equal(await alice.refusal(insert('partition', '-1')), 'partition-invalid 22023')
      assert.equal(await alice.refusal(insert('"timestamp"', `'infinity'`)), 'timestamp-invalid 22023')
      assert.equal(await alice.refusal(insert('headers', `'{a}'`)), 'headers-invalid 22023')
      assert.equal(await alice.refusal(insert('headers', `'{{a,b},{c,d}}'`)), 'headers-invalid 22023')
      assert.equal(await alice.refusal(insert('headers', `'[0:1]={a,b}'`)), 'headers-invalid 22023')
      assert.equal(await alice.refusal(insert('headers', `'{a,b,millrace-id,x}'`)), 'headers-invalid 22023')
      assert.equal(
        await alice.refusal(insert('headers', `array_fill(''::bytea, '{20002}')`)),
        'headers-invalid 22023',
      )
      assert.equal(await alice.refusal(insert('headers', `'{a,millrace-id}'`)), null)
      assert.equal(await alice.refusal(insert('headers', `'{a,b}'`)), null)
      assert.equal(await superuser.value('SELECT count(*)::int FROM millrace.outbox'), 2)
    })
})

describe('F36 a hostile search path', () => {
  const functions = [
    ...[
      'convert_to(text, name)',
      'convert_to(text, text)',
      'to_json(anyelement)',
      'row_to_json(record)',
      'length(text)',
    ],
    ...[
      'isfinite(timestamptz)',
      'clock_timestamp()',
      'currval(regclass)',
      'currval(text)',
      'nextval(regclass)',
    ],
    ...[
      'current_user()',
      'pg_current_xact_id()',
      'pg_has_role(oid, text)',
      'jsonb_typeof(jsonb)',
      'lower(text)',
    ],
  ].map(
    (signature) =>
      `CREATE FUNCTION hostile."${signature.replace('(', '"(')} RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'fooled'; END $$;`,
  )
  const operators = [
    'text',
    'int8',
    'int4',
    'bool',
    'timestamptz',
    'oid',
    'jsonb',
    'bytea',
    'name',
    'varchar',
  ]
    .map((name) => `pg_catalog.${name}`)
    .flatMap((type) => [
      `CREATE FUNCTION hostile.f(${type}, ${type}) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'fooled'; END $$;`,
      ...['=', '<>', '<', '>', '>=', '<=', '-', '||', '~', '!~'].map(
        (sign) =>
          `CREATE OPERATOR hostile.${sign} (LEFTARG = ${type}, RIGHTARG = ${type}, FUNCTION = hostile.f);`,
      ),
    ])
  const hostile = `CREATE SCHEMA hostile; GRANT USAGE ON SCHEMA hostile TO PUBLIC; ${functions.join('\n')} ${operators.join('\n')}
    CREATE DOMAIN hostile.text AS pg_catalog.text CHECK (false); CREATE DOMAIN hostile.regrole AS pg_catalog.regrole CHECK (false);
    CREATE DOMAIN hostile.bytea AS pg_catalog.bytea CHECK (false); CREATE DOMAIN hostile.varchar AS pg_catalog.varchar CHECK (false);
    CREATE TABLE hostile.topic_grant (a int); CREATE TABLE hostile.broker (a int); CREATE TABLE hostile.outbox_0 (a int)`

  test('fools no way to produce, and gives no right', async (t) => {
    const { superuser, owner, alice, bob } = await outboxDatabase(t)
    await owner.run(`CREATE TABLE public.t (a int, v int GENERATED ALWAYS AS (a + 1) VIRTUAL); GRANT INSERT ON t TO PUBLIC;
      CREATE TRIGGER emit AFTER INSERT ON t FOR EACH ROW EXECUTE PROCEDURE pipeline_kafka.emit_tuple('topic', '1', 'a')`)
    await superuser.run(hostile)
    const calls = [
      `SELECT millrace.produce('topic', 'v', 'k', 1, '{"a": "b"}')`,
      `SELECT millrace.produce('topic', 'v', 'k'::pg_catalog.bytea), millrace.produce('topic', 'v'::pg_catalog.bytea, 'k')`,
      `SELECT millrace.produce('topic', 'v'::pg_catalog.bytea, cluster := 'default', "timestamp" := pg_catalog.now())`,
      `SELECT pipeline_kafka.produce_message('topic', 'v', 1, 'k')`,
      `SELECT kafka.produce('topic', 'v'), kafka.close()`,
      `INSERT INTO public.t VALUES (1)`,
      `INSERT INTO millrace.outbox_0 (cluster, topic) VALUES ('default', 'topic')`,
    ]
    for (const path of ['hostile, pg_catalog, public', 'hostile, public, pg_catalog', 'pg_temp, hostile']) {
      for (const session of [alice, bob, owner]) await session.run(`SET search_path = ${path}`)
      for (const call of calls) {
        assert.equal(await alice.refusal(call), null, `${path}: ${call}`)
        assert.equal(await bob.refusal(call), 'topic-not-granted 42501', `${path}: ${call}`)
      }
      await owner.run(`INSERT INTO kafka.broker VALUES ('b', 1); UPDATE kafka.broker SET port = 2 WHERE host OPERATOR(pg_catalog.=) 'b';
        DELETE FROM kafka.broker WHERE host OPERATOR(pg_catalog.=) 'b'`)
    }
  })
})
