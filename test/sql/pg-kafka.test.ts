// pg_kafka's own session, as its document writes it, and what its schema leaves behind: nothing.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { millrace } from '../support/millrace.ts'
import { outboxDatabase } from '../support/outbox.ts'
import { ownedDatabase } from '../support/owned-database.ts'

test('the session of its document', async (t) => {
  const { as, roles, superuser } = await ownedDatabase(t)
  const owner = await as(roles.owner)
  await owner.run('DROP SCHEMA kafka CASCADE')
  await owner.run('create extension kafka')
  await owner.run(`insert into kafka.broker values ('localhost', 9092)`)
  assert.equal(await owner.value(`select kafka.produce('test_topic', 'my message')`), true)
  assert.equal(await owner.value('select kafka.close()'), true)
  assert.equal(await owner.value(`select kafka.produce('test_topic', 'after close')`), true)
  const { rows } = await superuser.run(
    `SELECT cluster, topic, partition, key, convert_from(value, 'UTF8') AS value FROM millrace.outbox ORDER BY id`,
  )
  const row = (value: string) => ({
    cluster: 'default',
    topic: 'test_topic',
    partition: null,
    key: null,
    value,
  })
  assert.deepEqual(rows, [row('my message'), row('after close')])
})

test('a trigger of the user’s own, for every INSERT, UPDATE and DELETE', async (t) => {
  const { alice, values } = await outboxDatabase(t)
  await alice.run(`CREATE TABLE t (a int);
    CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      PERFORM kafka.produce('topic', TG_OP || ' ' || coalesce(NEW.a, OLD.a)); RETURN NULL; END $$;
    CREATE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE PROCEDURE tell();
    INSERT INTO t VALUES (1); UPDATE t SET a = 2; DELETE FROM t`)
  assert.deepEqual(await values(), ['INSERT 1', 'UPDATE 2', 'DELETE 2'])
})

test('kafka.produce refuses what millrace.produce refuses', async (t) => {
  const { owner, alice, bob, values } = await outboxDatabase(t)
  assert.equal(await bob.refusal(`SELECT kafka.produce('topic', 'v')`), 'topic-not-granted 42501')
  assert.equal(await alice.refusal(`SELECT kafka.produce(NULL, 'v')`), 'topic-invalid 22023')
  assert.equal(await alice.refusal(`SELECT kafka.produce('no topic', 'v')`), 'topic-invalid 22023')
  await owner.run('DELETE FROM kafka.broker')
  assert.equal(await alice.refusal(`SELECT kafka.produce('topic', 'v')`), 'no-broker 55000')
  assert.deepEqual(await values(), [])
})

test('kafka.broker shows and changes the brokers of the cluster default', async (t) => {
  const { owner, admin } = await outboxDatabase(t)
  for (const session of [owner, admin]) {
    await session.run('DELETE FROM kafka.broker')
    await session.run(`INSERT INTO kafka.broker (host) VALUES ('one.example.com');
      INSERT INTO kafka.broker VALUES ('::1', 9093), ('[::2]', 9094);
      SELECT millrace.add_broker('short'), millrace.add_broker('[::3]')`)
    const shown = `SELECT host || ' ' || port FROM kafka.broker ORDER BY 1`
    assert.deepEqual(await session.column(shown), [
      ...['[::1] 9093', '[::2] 9094', '[::3] 9092', 'one.example.com 9092', 'short 9092'],
    ])
    await session.run(
      `UPDATE kafka.broker SET port = 1 WHERE host = 'short'; DELETE FROM kafka.broker WHERE port > 9000`,
    )
    assert.deepEqual(await session.column('SELECT host FROM millrace.broker'), ['short:1'])
  }
})

test('kafka.broker is an administrator’s, and takes nothing that is no address', async (t) => {
  const { owner, alice } = await outboxDatabase(t)
  assert.equal(await alice.refusal(`INSERT INTO kafka.broker VALUES ('evil', 9092)`), 'admin-required 42501')
  for (const sql of [
    `UPDATE kafka.broker SET host = 'evil'`,
    'DELETE FROM kafka.broker',
    'TRUNCATE kafka.broker',
  ])
    assert.match(String(await alice.refusal(sql)), /(42501|42809)$/, sql)
  for (const values of [
    ...[
      `NULL, 1`,
      `'host', NULL`,
      `'', 1`,
      `'a b', 1`,
      `'a:1', 1`,
      `'host', 0`,
      `'host', -1`,
      `'host', 65536`,
    ],
    `'user:secret@host', 1`,
  ])
    assert.equal(
      await owner.refusal(`INSERT INTO kafka.broker VALUES (${values})`),
      'broker-invalid 22023',
      values,
    )
  assert.equal(
    await owner.refusal(`INSERT INTO kafka.broker VALUES ('LOCALHOST', 9092)`),
    'broker-exists 42710',
  )
  assert.deepEqual(await owner.column('SELECT host FROM millrace.broker'), ['localhost:9092'])
})

const traces = `SELECT nspname::text FROM pg_namespace WHERE nspname = 'kafka'
  UNION ALL SELECT extname FROM pg_extension WHERE extname = 'kafka'
  UNION ALL SELECT proname FROM pg_proc WHERE prosrc LIKE '%kafka.%' AND pronamespace = 'public'::regnamespace AND proname NOT LIKE 'kafka_consume%'`

test('dropping its schema leaves no trace, and what was produced is still sent', async (t) => {
  const { owner, superuser, values, database, roles } = await outboxDatabase(t)
  await superuser.run(`ALTER ROLE ${roles.owner} PASSWORD 'secret-of-test'`)
  const url = database.urlAs(roles.owner, 'secret-of-test')
  for (const drop of ['DROP SCHEMA kafka CASCADE', 'DROP EXTENSION kafka; DROP SCHEMA kafka']) {
    await owner.run(`CREATE EXTENSION IF NOT EXISTS kafka; SELECT kafka.produce('topic', 'kept'); ${drop}`)
    assert.deepEqual(await superuser.column(traces), [])
  }
  const { stdout } = await millrace(['install', '--dialect', 'pg_kafka', '--database', url])
  assert.match(stdout, /dialect pg_kafka: installed/)
  await owner.run(`SELECT kafka.produce('topic', 'kept'); DROP SCHEMA kafka CASCADE`)
  assert.deepEqual(await superuser.column(traces), [])
  assert.deepEqual(await values(), ['kept', 'kept', 'kept'])
})

test('uninstalling leaves an extension and a schema kafka that are not ours', async (t) => {
  const { owner, superuser, database, roles } = await outboxDatabase(t)
  await superuser.run(`ALTER ROLE ${roles.owner} PASSWORD 'secret-of-test'`)
  const url = database.urlAs(roles.owner, 'secret-of-test')
  await owner.run('DROP SCHEMA kafka CASCADE')
  await superuser.run(`CREATE SCHEMA kafka AUTHORIZATION ${roles.bob}; CREATE TABLE kafka.t (a int)`)
  const refused = await millrace(['install', '--dialect', 'pg_kafka', '--database', url], { expect: null })
  assert.match(refused.stderr, /^millrace: dialect-name-taken: SCHEMA kafka exists already/)
  const { stdout } = await millrace(['uninstall', '--database', url])
  assert.doesNotMatch(stdout, /kafka: kept|pg_kafka/)
  assert.equal(await superuser.value('SELECT count(*)::int FROM kafka.t'), 0)
})
