// An ordinary role can do what the functions let it do and nothing more, whether it calls them or writes to the
// tables; and nothing on its own search path is ever called by them.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ownedDatabase, type RoleSession } from '../support/owned-database.ts'

/** A broker, a table of the owner's that alice may fill, and alice's grant of `topic`. */
async function prepared(t: Parameters<typeof ownedDatabase>[0]) {
  const db = await ownedDatabase(t)
  const { owner, admin, alice, bob } = db.roles
  const sessions = {
    owner: await db.as(owner),
    admin: await db.as(admin),
    alice: await db.as(alice),
    bob: await db.as(bob),
  }
  await sessions.owner.run(`SELECT pipeline_kafka.add_broker('localhost:9092');
    CREATE TABLE t (a int, b text); GRANT INSERT ON t TO ${alice}; SELECT millrace.grant_topic('topic', '${alice}')`)
  return { ...db, ...sessions }
}

const begin = (relation = 't', topic = 'topic'): string =>
  `SELECT pipeline_kafka.consume_begin('${topic}', '${relation}')`

describe('who may consume', () => {
  test('a role with the topic, INSERT on the relation, and whom the daemon may be', async (t) => {
    const { alice, roles } = await prepared(t)
    assert.equal(await alice.value(begin()), 'success')
    assert.equal(await alice.value('SELECT owner::text FROM millrace.consumers'), roles.alice)
  })

  test('F37 a role without INSERT may not', async (t) => {
    const { owner, alice, roles } = await prepared(t)
    await owner.run(`REVOKE INSERT ON t FROM ${roles.alice}`)
    assert.equal(await alice.refusal(begin()), 'insert-denied 42501')
    await owner.run(
      `GRANT SELECT, UPDATE, DELETE ON t TO ${roles.alice}; GRANT INSERT (a) ON t TO ${roles.alice}`,
    )
    assert.equal(await alice.refusal(begin()), 'insert-denied 42501')
    // COPY could do with the columns, but the relation is locked first.
    await owner.run(`GRANT INSERT (b) ON t TO ${roles.alice}`)
    assert.equal(await alice.refusal(begin()), 'insert-denied 42501')
    await owner.run(`GRANT INSERT ON t TO ${roles.alice}`)
    assert.equal(await alice.refusal(begin()), null)
  })

  test('F37 a role without USAGE of the schema may not', async (t) => {
    const { owner, alice, roles } = await prepared(t)
    await owner.run(
      `CREATE SCHEMA closed; CREATE TABLE closed.t (a int); GRANT INSERT ON closed.t TO ${roles.alice}`,
    )
    assert.equal(await alice.refusal(begin('closed.t')), 'insert-denied 42501')
    assert.equal(
      await alice.refusal(
        `INSERT INTO millrace.consumer (topic, target_schema, target_name) VALUES ('topic', 'closed', 't')`,
      ),
      'insert-denied 42501',
    )
  })

  test('a role without the topic may not, until public or * is granted; a revoked one may not again', async (t) => {
    const { owner, admin, alice } = await prepared(t)
    assert.equal(await alice.refusal(begin('t', 'other')), 'topic-not-granted 42501')
    await admin.run(`SELECT millrace.grant_topic('other', 'public')`)
    assert.equal(await alice.refusal(begin('t', 'other')), null)
    assert.equal(await alice.refusal(begin('t', 'any')), 'topic-not-granted 42501')
    await admin.run(`SELECT millrace.grant_topic('*', 'public'), millrace.grant_topic('*', 'public')`)
    assert.equal(await alice.refusal(begin('t', 'any')), null)
    await owner.run(`SELECT millrace.revoke_topic('*', 'public')`)
    await alice.run(`SELECT pipeline_kafka.consume_end('any', 't')`)
    assert.equal(await alice.refusal(begin('t', 'any')), 'topic-not-granted 42501')
  })

  test('a role that the daemon cannot act as may not', async (t) => {
    const { owner, bob, roles } = await prepared(t)
    await owner.run(`GRANT INSERT ON t TO ${roles.bob}; SELECT millrace.grant_topic('topic', '${roles.bob}')`)
    assert.equal(await bob.refusal(begin()), 'role-not-served 42501')
  })

  test('a member of a granted role, and an administrator without any grant', async (t) => {
    const { owner, admin, superuser, bob, roles } = await prepared(t)
    await superuser.run(
      `GRANT ${roles.alice} TO ${roles.bob}; GRANT ${roles.bob}, ${roles.admin} TO ${roles.owner}`,
    )
    assert.equal(await bob.refusal(begin()), null)
    await owner.run(`CREATE TABLE other (a int); GRANT INSERT ON other TO ${roles.admin}`)
    assert.equal(await admin.refusal(begin('other', 'anything')), null)
  })
})

test('an administrator begins no consumer again whose owner lost the topic, and is told which', async (t) => {
  const { owner, admin, alice, roles } = await prepared(t)
  await alice.run(`${begin()}; SELECT pipeline_kafka.consume_end()`)
  await owner.run(`SELECT millrace.revoke_topic('topic', '${roles.alice}')`)
  for (const session of [admin, owner]) {
    const told: unknown[] = []
    session.client.on('notice', ({ message }) => told.push(message))
    const { notices } = await session.run('SELECT pipeline_kafka.consume_begin()')
    assert.deepEqual(notices, ['WARNING topic-not-granted'])
    assert.deepEqual(told, [
      `topic topic into public.t was not started: topic topic is not granted to role ${roles.alice}`,
    ])
    assert.equal(await session.refusal(begin()), 'topic-not-granted 42501')
  }
  assert.equal(await alice.value('SELECT state FROM millrace.consumers'), 'stopped')
  await owner.run(`SELECT millrace.grant_topic('topic', '${roles.alice}')`)
  await admin.run('SELECT pipeline_kafka.consume_begin()')
  assert.equal(await alice.value('SELECT state FROM millrace.consumers'), 'no-daemon')
})

describe('who chooses a consumer group', () => {
  const inGroup = (group: string): string =>
    `SELECT pipeline_kafka.consume_begin('topic', 't', group_id := '${group}')`

  test('an administrator, not an ordinary role, however it tries', async (t) => {
    const { owner, alice } = await prepared(t)
    assert.equal(await alice.refusal(inGroup('billing')), 'group-denied 42501')
    assert.equal(
      await alice.refusal(`INSERT INTO millrace.consumer (topic, target_schema, target_name, group_id)
        VALUES ('topic', 'public', 't', 'billing')`),
      'group-denied 42501',
    )
    await alice.run(begin())
    for (const change of [`group_id = 'billing'`, `group_id = 'billing', wanted = 'stopped'`]) {
      assert.equal(await alice.refusal(`UPDATE millrace.consumer SET ${change}`), 'group-denied 42501')
    }
    await owner.run(`SELECT pipeline_kafka.consume_end(); ${inGroup('billing')}`)
    // What an administrator chose stays when its owner begins all again.
    await alice.run('SELECT pipeline_kafka.consume_end(), pipeline_kafka.consume_begin()')
    assert.equal(await alice.value('SELECT group_id FROM millrace.consumers'), 'billing')
  })

  test('and nobody one that is another consumer’s by itself', async (t) => {
    const { owner, superuser } = await prepared(t)
    const id = await owner.value('SELECT id FROM millrace.installation')
    for (const session of [owner, superuser]) {
      assert.equal(await session.refusal(inGroup(`millrace.${id}.1`)), 'group-invalid 22023')
    }
    assert.equal(await owner.refusal(inGroup('millrace-of-ours')), null)
  })
})

describe('who sees and stops a consumer', () => {
  test('its owner, members of that role and administrators; for others it is not there', async (t) => {
    const { owner, admin, superuser, alice, bob, roles } = await prepared(t)
    await alice.run(begin())
    await owner.run(`INSERT INTO millrace.position (consumer_id, partition, next_offset, config_version)
      SELECT id, 0, 7, version FROM millrace.consumer`)
    const views = [
      ...[
        'millrace.consumer',
        'millrace.visible_consumer',
        'millrace.consumers',
        'millrace.position',
        'millrace.lag',
      ],
      ...['pipeline_kafka.consumers', 'pipeline_kafka.offsets', 'pipeline_kafka.consumer_lag'],
      ...['pipeline_kafka_consumers', 'pipeline_kafka_offsets'],
    ]
    const seen = async (session: RoleSession): Promise<unknown[]> =>
      (
        await session.run(
          `SELECT ${views.map((view) => `(SELECT count(*)::int FROM ${view})`).join(' + ')} AS sum`,
        )
      ).rows
    for (const session of [alice, owner, admin, superuser])
      assert.deepEqual(await seen(session), [{ sum: views.length }])
    assert.deepEqual(await seen(bob), [{ sum: 0 }])

    const end = `SELECT pipeline_kafka.consume_end('topic', 't')`
    assert.equal(await bob.refusal(end), 'consumer-missing 42704')
    await bob.run(
      'SELECT pipeline_kafka.consume_end(), pipeline_kafka.consume_begin(), public.kafka_consume_begin(9)',
    )
    assert.equal(await alice.value('SELECT state FROM millrace.consumers'), 'no-daemon')
    assert.equal(await admin.refusal(end), null)
    assert.equal(await admin.refusal(begin()), null)
    assert.equal(await alice.value('SELECT owner::text FROM millrace.consumers'), roles.alice)
    await superuser.run(`GRANT ${roles.alice} TO ${roles.bob}`)
    assert.equal(await bob.refusal(end), null)
  })

  test('another role that begins the same is told', async (t) => {
    const { owner, superuser, alice, bob, roles } = await prepared(t)
    await alice.run(begin())
    await superuser.run(`GRANT ${roles.bob} TO ${roles.owner}`)
    await owner.run(`GRANT INSERT ON t TO ${roles.bob}; SELECT millrace.grant_topic('topic', '${roles.bob}')`)
    assert.equal(await bob.refusal(begin()), 'consumer-not-yours 42501')
  })

  // A view without security_barrier would run the function on rows that its filter takes away.
  test('a cheap function of the reader does not see what the filter hides', async (t) => {
    const { alice, bob } = await prepared(t)
    await alice.run(begin())
    await bob.run(`CREATE FUNCTION peek(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001
      AS $$ BEGIN RAISE NOTICE 'leaked %', $1; RETURN true; END $$`)
    for (const view of [
      'millrace.consumers',
      'millrace.lag',
      'millrace.dead_letters',
      'millrace.batches',
      'pipeline_kafka.consumers',
      'pipeline_kafka_consumers',
    ]) {
      assert.deepEqual((await bob.run(`SELECT * FROM ${view} WHERE peek(topic)`)).notices, [], view)
    }
  })
})

describe('the tables themselves', () => {
  test('a direct INSERT or UPDATE is checked as the functions are', async (t) => {
    const { alice, roles } = await prepared(t)
    const insert = (columns: string, values: string): string =>
      `INSERT INTO millrace.consumer (topic, target_schema, target_name, ${columns}) VALUES ('topic', 'public', 't', ${values})`
    assert.equal(
      await alice.refusal(insert('wanted', `'running'`).replace("'topic'", "'other'")),
      'topic-not-granted 42501',
    )
    // A stopped one would keep others from beginning it.
    assert.equal(
      await alice.refusal(insert('wanted', `'stopped'`).replace("'topic'", "'other'")),
      'topic-not-granted 42501',
    )
    assert.equal(await alice.refusal(insert('format', `'binary'`)), 'format-unknown 22023')
    for (const [columns, values] of [
      ['owner', `'${roles.owner}'`],
      ['version', '9'],
      ['id', '9'],
      ['start_pending', 'false'],
      ['warning', `'x'`],
    ] as const) {
      assert.match(String(await alice.refusal(insert(columns, values))), /(42501|428C9)$/, columns)
    }
    assert.equal(await alice.refusal(insert('format', `'csv'`)), null)
    for (const change of [
      'topic',
      'target_name',
      'owner',
      'version',
      'start_pending',
      'located_at',
      'warning',
      'id',
    ]) {
      assert.match(
        String(await alice.refusal(`UPDATE millrace.consumer SET ${change} = DEFAULT`)),
        /42501$/,
        change,
      )
    }
    assert.match(String(await alice.refusal('DELETE FROM millrace.consumer')), /42501$/)
    assert.match(String(await alice.refusal('TRUNCATE millrace.consumer CASCADE')), /42501$/)
  })

  test('what daemons write cannot be written by others', async (t) => {
    const { alice, admin } = await prepared(t)
    await alice.run(begin())
    for (const table of [
      'position',
      'failure',
      'report',
      'watermark',
      'daemon',
      'migration',
      'installation',
      'batch',
      'dead_letter',
    ]) {
      for (const session of [alice, admin]) {
        assert.match(String(await session.refusal(`DELETE FROM millrace.${table}`)), /42501$/, table)
        assert.match(
          String(await session.refusal(`INSERT INTO millrace.${table} DEFAULT VALUES`)),
          /42501$/,
          table,
        )
      }
    }
  })

  const ours = `(SELECT c.oid, c.oid::regclass AS name, relacl FROM pg_class AS c WHERE relkind IN ('r', 'v')
    AND relnamespace IN ('millrace'::regnamespace, 'pipeline_kafka'::regnamespace, 'public'::regnamespace)
    AND relname <> 't') AS ours`

  // A right to a whole table, more than to read or to insert, is what LOCK TABLE asks for.
  test('nobody but administrators can lock the daemon out', async (t) => {
    const { owner, alice } = await prepared(t)
    const granted =
      await owner.column(`SELECT concat_ws(' ', name, privilege_type) FROM ${ours}, aclexplode(relacl) AS a
      WHERE a.grantee = 0 AND a.privilege_type NOT IN ('SELECT', 'INSERT')`)
    assert.deepEqual(granted, [])
    const names = await owner.column(`SELECT name::text FROM ${ours}`)
    assert.ok(names.includes('millrace.broker') && names.includes('pipeline_kafka_brokers'))
    for (const mode of ['ACCESS EXCLUSIVE', 'EXCLUSIVE', 'SHARE', 'SHARE UPDATE EXCLUSIVE']) {
      for (const name of names) {
        assert.match(
          String(await alice.refusal(`BEGIN; LOCK TABLE ${name} IN ${mode} MODE`)),
          /42501$/,
          `${name} ${mode}`,
        )
        await alice.run('ROLLBACK')
      }
    }
    // They can still ask about topics.
    await alice.run(`SELECT * FROM millrace.topic_watermarks('topic')`)
    await alice.run(`SELECT * FROM millrace.topic_watermarks('topic')`)
  })

  test('every table has row-level security, or nobody else may touch it', async (t) => {
    const { owner } = await prepared(t)
    const open =
      await owner.column(`SELECT relname FROM pg_class WHERE relnamespace = 'millrace'::regnamespace
      AND relkind = 'r' AND NOT relrowsecurity AND EXISTS (
        SELECT FROM aclexplode(relacl) WHERE grantee = 0 AND privilege_type <> 'SELECT') ORDER BY 1`)
    assert.deepEqual(open, [])
  })
})

describe('F41 brokers and topics', () => {
  test('are refused to ordinary roles, however they try', async (t) => {
    const { alice, owner } = await prepared(t)
    const attempts = [
      `SELECT pipeline_kafka.add_broker('evil:9092')`,
      `SELECT millrace.add_broker('evil:9092')`,
      `INSERT INTO millrace.broker (host) VALUES ('evil:9092')`,
      `INSERT INTO pipeline_kafka.brokers VALUES ('evil:9092')`,
      `INSERT INTO kafka.broker VALUES ('evil', 9092)`,
      `INSERT INTO pipeline_kafka_brokers VALUES ('evil:9092')`,
      `SELECT pipeline_kafka.remove_broker('localhost:9092')`,
      `SELECT millrace.grant_topic('topic', 'public')`,
      `SELECT millrace.revoke_topic('topic', 'public')`,
      `INSERT INTO millrace.topic_grant (topic, grantee) VALUES ('secret', CURRENT_USER::text::regrole)`,
    ]
    for (const sql of attempts) assert.equal(await alice.refusal(sql), 'admin-required 42501', sql)
    const changes = (broker: string): string[] => [
      `UPDATE ${broker} SET host = 'evil'`,
      `DELETE FROM ${broker}`,
      `SELECT * FROM ${broker} FOR UPDATE`,
    ]
    for (const sql of [
      ...['millrace.broker', 'pipeline_kafka.brokers', 'pipeline_kafka_brokers'].flatMap(changes),
      'DELETE FROM millrace.topic_grant',
      `UPDATE millrace.topic_grant SET topic = '*'`,
    ]) {
      assert.match(String(await alice.refusal(sql)), /42501$/, sql)
    }
    assert.deepEqual(await owner.column('SELECT host FROM millrace.broker'), ['localhost:9092'])
    assert.equal(await owner.value('SELECT count(*)::int FROM millrace.topic_grant'), 1)
  })

  test('are changed through the views by administrators of either kind', async (t) => {
    const { superuser, admin, bob, owner, roles } = await prepared(t)
    await superuser.run(`GRANT ${roles.owner} TO ${roles.bob}`)
    for (const session of [admin, bob, superuser]) {
      for (const view of ['pipeline_kafka_brokers', 'pipeline_kafka.brokers']) {
        await session.run(`INSERT INTO ${view} VALUES ('one:1')`)
        await session.run(`UPDATE ${view} SET host = 'two:2' WHERE host = 'one:1'`)
        assert.deepEqual(await owner.column(`SELECT host FROM ${view}`), ['localhost:9092', 'two:2'])
        await session.run(`DELETE FROM ${view} WHERE host = 'two:2'`)
      }
      await session.run(`SELECT millrace.grant_topic('x', 'public'), millrace.revoke_topic('x', 'public')`)
    }
    assert.deepEqual(await owner.column('SELECT host FROM millrace.broker'), ['localhost:9092'])
    assert.equal(await owner.value('SELECT count(*)::int FROM millrace.topic_grant'), 1)
  })

  test('are an administrator’s', async (t) => {
    const { admin } = await prepared(t)
    assert.equal(await admin.value(`SELECT pipeline_kafka.add_broker('second:9092')`), 'success')
    assert.equal(await admin.value(`SELECT pipeline_kafka.remove_broker('localhost:9092')`), 'success')
    assert.equal(
      await admin.refusal(`SELECT millrace.grant_topic('x', 'nobody at all')`),
      'role-missing 42704',
    )
    assert.equal(
      await admin.refusal(`SELECT millrace.grant_topic('x"; --', 'public')`),
      'topic-invalid 22023',
    )
    assert.equal(
      await admin.refusal(`SELECT millrace.grant_topic('x', 'public', 'mars')`),
      'cluster-missing 42704',
    )
  })
})

describe('F36 hostile objects on the search path', () => {
  // Everything that a body with an unqualified name, an operator or a cast could be fooled by.
  const hostile = `
    CREATE SCHEMA hostile;
    CREATE FUNCTION hostile.fooled() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'fooled'; END $$;
    CREATE FUNCTION hostile.to_regclass(text) RETURNS regclass LANGUAGE sql AS 'SELECT hostile.fooled(); SELECT NULL::regclass';
    CREATE FUNCTION hostile.current_schemas(boolean) RETURNS name[] LANGUAGE sql AS 'SELECT hostile.fooled(); SELECT NULL::name[]';
    CREATE FUNCTION hostile.format(text, VARIADIC "any") RETURNS text LANGUAGE internal AS 'text_format';
    CREATE FUNCTION hostile.equal(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'fooled'; END $$;
    CREATE OPERATOR hostile.= (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile.equal);
    CREATE FUNCTION hostile.joined(text, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'fooled'; END $$;
    CREATE OPERATOR hostile.|| (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile.joined);
    CREATE DOMAIN hostile.text AS pg_catalog.text CHECK (pg_catalog.length(VALUE) < 0);
    CREATE DOMAIN hostile.regclass AS pg_catalog.regclass CHECK (false);
    CREATE TABLE hostile.consumer (a int);
    CREATE TABLE hostile.mine (a int)`

  test('fool no function', async (t) => {
    const { superuser, alice, owner, roles } = await prepared(t)
    await superuser.run(hostile)
    await superuser.run(
      `GRANT USAGE ON SCHEMA hostile TO PUBLIC; GRANT INSERT ON hostile.mine TO ${roles.alice}`,
    )
    for (const path of [
      'hostile, pg_catalog, public',
      'hostile, public, pg_catalog',
      'pg_temp, hostile, public',
    ]) {
      for (const session of [alice, owner]) await session.run(`SET search_path = ${path}`)
      const calls = [
        `SELECT pipeline_kafka.consume_begin('topic', 't')`,
        `SELECT pipeline_kafka.consume_end('topic', 't')`,
        `SELECT public.kafka_consume_begin('t', 'topic')`,
        `SELECT public.kafka_consume_end('t', 'topic')`,
        'SELECT pipeline_kafka.consume_begin(), pipeline_kafka.consume_end()',
        `SELECT * FROM pipeline_kafka.topic_watermarks('topic', 0)`,
        'SELECT * FROM millrace.consumers; SELECT * FROM pipeline_kafka.consumers',
      ]
      for (const call of calls) await alice.run(call)
      await owner.run(`SELECT pipeline_kafka.add_broker('other:1'), pipeline_kafka.remove_broker('other:1')`)
    }
    // The path still decides what a name means.
    await alice.run(`SET search_path = hostile; SELECT pipeline_kafka.consume_begin('topic', 'mine')`)
    assert.equal(
      await alice.value(`SELECT target_schema::pg_catalog.text FROM millrace.visible_consumer
      WHERE target_name OPERATOR(pg_catalog.=) 'mine'`),
      'hostile',
    )
  })

  test('every function pins its search_path but the thin ones', async (t) => {
    const { owner } = await prepared(t)
    const thin =
      await owner.column(`SELECT CASE WHEN proname IN ('consume', 'try') THEN 'millrace.' || proname || '(...)'
        ELSE p.oid::regprocedure::text END FROM pg_proc AS p
      WHERE pronamespace IN ('millrace'::regnamespace, 'pipeline_kafka'::regnamespace, 'kafka'::regnamespace, 'public'::regnamespace)
      AND NOT coalesce(proconfig, '{}') @> ARRAY['search_path=pg_catalog, pg_temp'] ORDER BY 1`)
    assert.deepEqual(thin, [
      'kafka.produce(character varying,character varying)',
      'kafka_consume_begin(text,text,integer,text,text)',
      'kafka_consume_end(text,text)',
      'millrace.await(bigint,boolean)',
      'millrace.consume(...)',
      'millrace.consumer_id(text,text,text)',
      'millrace.outbox_wake()',
      'millrace.produce(text,bytea,bytea,integer,jsonb,text,timestamp with time zone)',
      'millrace.produce(text,bytea,text,integer,jsonb,text,timestamp with time zone)',
      'millrace.produce(text,text,bytea,integer,jsonb,text,timestamp with time zone)',
      'millrace.produce(text,text,text,integer,jsonb,text,timestamp with time zone)',
      'millrace.relation(text)',
      'millrace.replay(bigint,bigint[],text,bigint,bigint,bigint,bigint)',
      'millrace.try(...)',
      'pipeline_kafka.consume_begin(text,text,text,text,text,text,integer,integer,integer,bigint,text,integer)',
      'pipeline_kafka.consume_begin_stream_partitioned(text,text,text,text,text,integer,integer,integer,bigint,text,integer)',
      'pipeline_kafka.consume_end(text,text)',
      'pipeline_kafka.consume_end_stream_partitioned(text)',
      'pipeline_kafka.produce_message(text,bytea,integer,bytea)',
    ])
  })

  // Two make what belongs to a publication's owner, and run nothing of it (test/publish/rights.test.ts); one is a trigger's, and
  // nobody else may have a trigger call it.
  test('no function is SECURITY DEFINER but three', async (t) => {
    const { owner } = await prepared(t)
    assert.deepEqual(
      await owner.column(`SELECT p.oid::regprocedure::text FROM pg_proc AS p WHERE prosecdef
        AND pronamespace IN ('millrace'::regnamespace, 'pipeline_kafka'::regnamespace, 'kafka'::regnamespace, 'public'::regnamespace)
        ORDER BY 1`),
      ['millrace.begin_cluster()', 'millrace.forget_publication(bigint)', 'millrace.make_capture(bigint)'],
    )
    assert.equal(
      await owner.value(`SELECT has_function_privilege('public', 'millrace.begin_cluster()', 'EXECUTE')`),
      false,
    )
  })
})

test('F35 hostile names of relations, schemas and roles are data', async (t) => {
  const { owner, superuser, roles, as } = await prepared(t)
  const quoted = `"${roles.hostile.replaceAll('"', '""')}"`
  const relation = `${quoted}.${quoted}`
  await owner.run(`CREATE SCHEMA ${quoted}; CREATE TABLE ${relation} (a int)`)
  await owner.run('SELECT pipeline_kafka.consume_begin($1, $2)', ['topic', relation])
  assert.deepEqual(await owner.column('SELECT target FROM millrace.consumers'), [relation])
  assert.deepEqual(await owner.column('SELECT relation FROM pipeline_kafka.consumers'), [relation])
  await owner.run('SELECT pipeline_kafka.consume_end($1, $2)', ['topic', relation])

  const hostile = await as(roles.hostile)
  const begin = (): Promise<string | null> =>
    hostile.refusal('SELECT pipeline_kafka.consume_begin($1, $2)', ['topic', relation])
  assert.equal(await begin(), 'insert-denied 42501')
  await owner.run(`GRANT USAGE ON SCHEMA ${quoted} TO ${quoted}; GRANT INSERT ON ${relation} TO ${quoted}`)
  assert.equal(await begin(), 'topic-not-granted 42501')
  await owner.run('SELECT millrace.grant_topic($1, $2)', ['topic', roles.hostile])
  assert.equal(await begin(), 'role-not-served 42501')
  await superuser.run(`GRANT ${quoted} TO ${roles.owner}`)
  assert.equal(await begin(), 'consumer-not-yours 42501')
  await owner.run(`CREATE TABLE ${quoted}.own (a int); GRANT INSERT ON ${quoted}.own TO ${quoted}`)
  await hostile.run('SELECT pipeline_kafka.consume_begin($1, $2)', ['topic', `${quoted}.own`])
  assert.equal(await hostile.value('SELECT owner::text FROM millrace.consumers'), quoted)
  assert.equal(await owner.value(`SELECT to_regclass('public.t') IS NOT NULL`), true)
})
