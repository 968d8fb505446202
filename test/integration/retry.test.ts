// F07 What may pass by itself is waited out: visibly, without blaming a message and without losing or repeating one.
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import {
  addBroker,
  begin,
  consumerOf,
  promptDaemon,
  untilPassed,
  untilRows,
  untilState,
} from '../support/flow.ts'
import { Ledger } from '../support/ledger.ts'
import { millrace } from '../support/millrace.ts'
import { plainRoles } from '../support/plain-roles.ts'
import { postgresFor } from '../support/servers.ts'
import { produce, topicFor } from '../support/topic.ts'

test('F07 a lock on the target is waited for, then the consumer is retrying, then it goes on', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const daemon = await promptDaemon(t, db)
  const [locked, other] = [await Ledger.open(t, db), await Ledger.open(t, db)]
  await locked.begin()
  await other.begin()
  await locked.produce(1000)
  await locked.untilWhole()
  const client = await db.client()
  await client.query(`BEGIN; LOCK TABLE ${locked.table} IN ACCESS EXCLUSIVE MODE`)
  await locked.produce(2000)
  const retrying = await untilState(db, locked.topic, 'retrying')
  assert.equal(retrying.error_code, '55P03')
  assert.match(retrying.error_message ?? '', /lock timeout/)
  const { code, stdout } = await millrace(['status', '--database', db.url], { expect: null })
  assert.notEqual(code, 0)
  assert.match(stdout, /retrying: 55P03/)
  await daemon.waitForLog('lock timeout')
  // another consumer does not wait for it
  await other.produce(2000)
  await other.untilWhole()
  await client.query('COMMIT')
  await locked.untilWhole()
  await untilState(db, locked.topic, 'running')
  await daemon.waitForLog('recovered')
  assert.equal((await consumerOf(db, locked.topic)).error_code, null)
})

test('F07 every session of the daemon is terminated again and again under load', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  await promptDaemon(t, db)
  const ledger = await Ledger.open(t, db)
  await ledger.produce(60_000)
  await ledger.begin({ maxbytes: 40_000, parallelism: 2 })
  let terminated = 0
  await eventually(
    'everything is loaded while sessions are terminated',
    async () => {
      const { rows } = await db.query(
        `SELECT count(pg_terminate_backend(pid))::int AS ended FROM pg_stat_activity
          WHERE datname = current_database() AND application_name LIKE 'millrace%'`,
      )
      terminated += rows[0].ended
      return (await ledger.check()) === ledger.total
    },
    { deadline: 120_000 },
  )
  assert.ok(terminated > 10, `${terminated} sessions were terminated`)
  await ledger.produce(1000)
  await ledger.untilWhole()
  await untilState(db, ledger.topic, 'running')
})

test('F07 statements are cancelled under load', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  await promptDaemon(t, db)
  const ledger = await Ledger.open(t, db, {
    constraint: 'UNIQUE (partition, n) DEFERRABLE INITIALLY DEFERRED',
  })
  await ledger.produce(30_000)
  await ledger.begin({ maxbytes: 40_000 })
  await eventually(
    'everything is loaded while statements are cancelled',
    async () => {
      await db.query(
        `SELECT pg_cancel_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND application_name LIKE 'millrace%'`,
      )
      return (await ledger.check()) === ledger.total
    },
    { deadline: 120_000 },
  )
})

test('F07 a server that is a standby for a while is waited for', async (t) => {
  const server = await postgresFor(t, { settings: { fsync: 'off' } })
  const db = await databaseFor(t, { server })
  await addBroker(db)
  const daemon = await promptDaemon(t, db)
  const ledger = await Ledger.open(t, db)
  await ledger.produce(1000)
  await ledger.begin()
  await ledger.untilWhole()
  await server.stop()
  await writeFile(join(server.dataDirectory, 'standby.signal'), '')
  await server.start()
  await ledger.produce(1000)
  await daemon.waitForLog(/read-only|recovery/)
  assert.equal(await ledger.check(), 1000)
  await db.query('SELECT pg_promote()')
  await ledger.untilWhole()
  await untilState(db, ledger.topic, 'running')
})

test('F07 what the database sets for everybody else does not end or refuse a load', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const ledger = await Ledger.open(t, db)
  await db.query(`
    CREATE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1); RETURN NULL; END $$;
    CREATE TRIGGER be_slow BEFORE INSERT ON ${ledger.table} EXECUTE FUNCTION be_slow();`)
  await ledger.begin()
  for (const setting of [
    'default_transaction_read_only = on',
    "default_transaction_isolation = 'serializable'",
    "statement_timeout = '500ms'",
    "transaction_timeout = '500ms'",
    "idle_in_transaction_session_timeout = '500ms'",
  ]) {
    const [name] = setting.split(' ')
    const { rows } = await db.query('SELECT FROM pg_settings WHERE name = $1', [name])
    // transaction_timeout is there from 17 on
    if (rows.length > 0) await db.query(`ALTER DATABASE ${db.name} SET ${setting}`)
  }
  await promptDaemon(t, db)
  await ledger.produce(1000)
  await ledger.untilWhole()
})

test('F07 timeouts of the daemon’s role end neither a load that waits nor a session that is idle', async (t) => {
  const { db, daemon: role, owner, urlOf } = await plainRoles(t)
  for (const timeout of ['statement_timeout', 'lock_timeout', 'idle_session_timeout']) {
    await db.query(`ALTER ROLE ${role} SET ${timeout} = '300ms'`)
  }
  await db.query(`CREATE TABLE target (n int); ALTER TABLE target OWNER TO ${owner}`)
  const daemon = await promptDaemon(t, { url: urlOf(role) })
  const topic = await topicFor(t, { partitions: 1 })
  const client = () => db.client({ connectionString: urlOf(owner) })
  await begin({ client }, topic, 'target', { start_offset: -2 })
  await produce(topic, [{ value: '1' }])
  await untilPassed(db, topic, 1)
  const locking = db.query('BEGIN; LOCK TABLE target IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(1); COMMIT')
  await produce(topic, [{ value: '2' }])
  await locking
  await untilPassed(db, topic, 2)
  assert.doesNotMatch(daemon.output(), /57014|55P03|57P05/)
})

test('F07 a disk that is full is waited for', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  await promptDaemon(t, db)
  const topic = await topicFor(t, { partitions: 1 })
  await db.query(`
    CREATE TABLE target (n int);
    CREATE TABLE full_disk (yes boolean); INSERT INTO full_disk VALUES (true);
    CREATE FUNCTION write() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        IF (SELECT yes FROM full_disk) THEN
          RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
        END IF;
        RETURN NEW;
      END $$;
    CREATE TRIGGER write BEFORE INSERT ON target FOR EACH ROW EXECUTE FUNCTION write();`)
  await produce(topic, [{ value: '1' }, { value: '2' }])
  await begin(db, topic, 'target', { start_offset: -2 })
  const retrying = await untilState(db, topic, 'retrying')
  assert.equal(retrying.error_code, '53100')
  await untilRows(db, 'SELECT count(*)::int FROM target', [[0]])
  await db.query('UPDATE full_disk SET yes = false')
  await untilPassed(db, topic, 2)
  await untilRows(db, 'SELECT n FROM target ORDER BY n', [[1], [2]])
  await untilState(db, topic, 'running')
})

test('F07 a deadlock is somebody else’s fault: the batch is loaded again', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  await promptDaemon(t, db)
  const topic = await topicFor(t, { partitions: 1 })
  await db.query(`
    CREATE TABLE target (n int);
    CREATE TABLE counter (n int); INSERT INTO counter VALUES (0);
    CREATE SEQUENCE attempts;
    CREATE FUNCTION fail_twice() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        IF nextval('attempts') <= 2 THEN RAISE EXCEPTION 'deadlock' USING ERRCODE = 'deadlock_detected'; END IF;
        UPDATE counter SET n = n + 1;
        RETURN NEW;
      END $$;
    CREATE TRIGGER fail_twice BEFORE INSERT ON target FOR EACH ROW EXECUTE FUNCTION fail_twice();`)
  await produce(topic, [{ value: '1' }, { value: '2' }, { value: '3' }])
  await begin(db, topic, 'target', { start_offset: -2 })
  await untilPassed(db, topic, 3)
  await untilRows(db, 'SELECT count(*)::int, (SELECT n FROM counter) FROM target', [[3, 3]])
})
