// The daemon acts for whoever asked, not above them: rows are inserted as the consumer's owner, and code of other
// roles never runs in the daemon's session.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { afterwards, type Cleanup } from '../support/cleanup.ts'
import { type Database, databaseFor } from '../support/database.ts'
import {
  addBroker,
  begin,
  positionsOf,
  promptDaemon,
  untilPassed,
  untilRows,
  untilState,
} from '../support/flow.ts'
import { produce, topicFor } from '../support/topic.ts'

interface Roles {
  /** Owns schema millrace; no superuser. */
  daemon: string
  owner: string
  mallory: string
  password: string
}

/** Roles of the server, dropped after the test; the daemon's owns the schema and may act as `owner`. */
async function rolesFor(t: Cleanup, db: Database): Promise<Roles> {
  const suffix = randomUUID().slice(0, 8)
  const password = `secret-${randomUUID()}`
  const roles = {
    daemon: `daemon_${suffix}`,
    owner: `owner_${suffix}`,
    mallory: `mallory_${suffix}`,
    password,
  }
  for (const role of [roles.daemon, roles.owner, roles.mallory]) {
    await db.query(`CREATE ROLE ${role} LOGIN PASSWORD '${password}'`)
    // before the database goes, the roles must own nothing in it
    afterwards(t, () => db.query(`DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`))
  }
  await db.query(`
    GRANT ${roles.owner} TO ${roles.daemon};
    GRANT CREATE ON SCHEMA public TO ${roles.owner}, ${roles.mallory};
    DO $$ DECLARE r record; BEGIN
      FOR r IN SELECT c.oid::regclass AS name, c.relkind FROM pg_class AS c
                WHERE relnamespace = 'millrace'::regnamespace AND relkind IN ('r', 'v') LOOP
        EXECUTE format('ALTER %s %s OWNER TO ${roles.daemon}', CASE r.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, r.name);
      END LOOP;
      FOR r IN SELECT p.oid::regprocedure AS name FROM pg_proc AS p
                WHERE pronamespace IN ('millrace'::regnamespace, 'pipeline_kafka'::regnamespace) LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO ${roles.daemon}', r.name);
      END LOOP;
    END $$;
    ALTER SCHEMA millrace OWNER TO ${roles.daemon};
    SELECT millrace.grant_topic('*', '${roles.owner}')`)
  return roles
}

async function setUp(t: Cleanup) {
  const db = await databaseFor(t)
  await addBroker(db)
  const roles = await rolesFor(t, db)
  const asOwner = await db.client({ connectionString: db.urlAs(roles.owner, roles.password) })
  const daemon = await promptDaemon(t, { url: db.urlAs(roles.daemon, roles.password) })
  const topic = await topicFor(t, { partitions: 1 })
  return { db, roles, asOwner, daemon, topic }
}

/** consume_begin as the owner. */
function beginAsOwner(db: Database, roles: Roles, topic: string, relation: string) {
  const connectionString = db.urlAs(roles.owner, roles.password)
  return begin({ client: () => db.client({ connectionString }) }, topic, relation, { start_offset: -2 })
}

test('a daemon without superuser loads as the owner of the consumer', async (t) => {
  const { db, roles, asOwner, daemon, topic } = await setUp(t)
  await asOwner.query('CREATE TABLE target (n int, loaded_by text DEFAULT CURRENT_USER)')
  await asOwner.query('CREATE TABLE plain (n int)')
  const second = await topicFor(t, { partitions: 1 })
  await produce(second, [{ value: '{"n": 1}' }])
  await produce(topic, [{ value: '1' }])
  const connectionString = db.urlAs(roles.owner, roles.password)
  await begin({ client: () => db.client({ connectionString }) }, second, 'target', {
    format: 'json',
    start_offset: -2,
  })
  await beginAsOwner(db, roles, topic, 'plain')
  await untilRows(db, 'SELECT n, loaded_by FROM target', [[1, roles.owner]])
  await untilRows(db, 'SELECT n FROM plain', [[1]])
  assert.doesNotMatch(daemon.output(), /superuser/)
  assert.doesNotMatch(daemon.output(), new RegExp(roles.password))
})

test('a right that is taken away later stops the consumer', async (t) => {
  const { db, roles, topic } = await setUp(t)
  await db.query(`CREATE TABLE target (n int); GRANT INSERT ON target TO ${roles.owner}`)
  await produce(topic, [{ value: '1' }])
  await beginAsOwner(db, roles, topic, 'target')
  await untilPassed(db, topic, 1)
  await db.query(`REVOKE INSERT ON target FROM ${roles.owner}`)
  await produce(topic, [{ value: '2' }])
  const failed = await untilState(db, topic, 'failed')
  assert.equal(failed.error_code, 'target-refused')
  assert.match(failed.error_message ?? '', /permission denied for table target/)
  await untilRows(db, 'SELECT n FROM target', [[1]])
})

interface Trap {
  what: string
  /** Makes `target` run mallory's code. */
  set: (roles: Roles) => string
}

const trapFunction = ({ mallory }: Roles, returns: string, result: string) => `
  SET LOCAL ROLE ${mallory};
  CREATE FUNCTION trap() RETURNS ${returns} LANGUAGE plpgsql AS $$
    BEGIN RESET ROLE; INSERT INTO seen VALUES (current_user); RETURN ${result}; END $$;
  GRANT EXECUTE ON FUNCTION trap() TO PUBLIC;
  RESET ROLE;`

const traps: Trap[] = [
  {
    what: 'a trigger of another role',
    set: (roles) => `${trapFunction(roles, 'trigger', 'NEW')}
      GRANT TRIGGER ON target TO ${roles.mallory};
      SET LOCAL ROLE ${roles.mallory};
      CREATE TRIGGER trap BEFORE INSERT ON target FOR EACH ROW EXECUTE FUNCTION trap();
      RESET ROLE;`,
  },
  {
    what: "a trigger of the owner's own",
    set: (roles) => `
      SET LOCAL ROLE ${roles.owner};
      CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RESET ROLE; INSERT INTO seen VALUES (current_user); RETURN NEW; END $$;
      CREATE TRIGGER trap BEFORE INSERT ON target FOR EACH ROW EXECUTE FUNCTION trap();
      RESET ROLE;`,
  },
  {
    what: 'a default',
    set: (roles) => `${trapFunction(roles, 'text', "'x'")} ALTER TABLE target ALTER note SET DEFAULT trap();`,
  },
  {
    what: 'a check constraint',
    set: (roles) => `${trapFunction(roles, 'boolean', 'true')} ALTER TABLE target ADD CHECK (trap());`,
  },
  {
    what: 'a domain',
    set: (roles) => `${trapFunction(roles, 'boolean', 'true')}
      CREATE DOMAIN trapped AS text CHECK (trap());
      ALTER TABLE target ALTER note TYPE trapped;`,
  },
  {
    what: 'an index expression',
    set: ({ mallory }) => `
      SET LOCAL ROLE ${mallory};
      CREATE FUNCTION act() RETURNS void LANGUAGE plpgsql AS $$
        BEGIN RESET ROLE; INSERT INTO seen VALUES (current_user); END $$;
      CREATE FUNCTION trap(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
        BEGIN IF $1 = 'b' THEN PERFORM public.act(); END IF; RETURN $1; END $$;
      RESET ROLE;
      CREATE INDEX ON target (trap(note));`,
  },
]

for (const { what, set } of traps) {
  test(`F38 ${what} that comes after consume_begin does not run as the daemon`, async (t) => {
    const { db, roles, asOwner, topic } = await setUp(t)
    await asOwner.query('CREATE TABLE target (n int, note text)')
    await db.query('CREATE TABLE seen (role text); GRANT INSERT ON seen TO PUBLIC')
    await produce(topic, [{ value: '1\ta' }])
    await beginAsOwner(db, roles, topic, 'target')
    await untilPassed(db, topic, 1)
    await db.query(`BEGIN; ${set(roles)} COMMIT`)
    await db.query('TRUNCATE seen')
    await produce(topic, [{ value: '2\tb' }])
    const failed = await untilState(db, topic, 'failed')
    assert.equal(failed.error_code, 'target-refused')
    assert.match(failed.error_message ?? '', /trap/)
    await untilRows(db, 'SELECT role FROM seen', [])
    await untilRows(db, 'SELECT n FROM target', [[1]])
    assert.deepEqual(await positionsOf(db, topic), { 0: 1 })
  })
}

test("F38 another role's trigger on a table of the daemon's own does not run as the daemon", async (t) => {
  const { db, roles, topic } = await setUp(t)
  await db.query(`CREATE TABLE target (n int, note text); ALTER TABLE target OWNER TO ${roles.daemon};
    CREATE TABLE seen (role text); GRANT INSERT ON seen TO PUBLIC`)
  const connectionString = db.urlAs(roles.daemon, roles.password)
  await produce(topic, [{ value: '1\ta' }])
  await begin({ client: () => db.client({ connectionString }) }, topic, 'target', { start_offset: -2 })
  await untilPassed(db, topic, 1)
  await db.query(`BEGIN; ${traps[0]!.set(roles)} COMMIT`)
  await produce(topic, [{ value: '2\tb' }])
  const failed = await untilState(db, topic, 'failed')
  assert.equal(failed.error_code, 'target-refused')
  await untilRows(db, 'SELECT role FROM seen', [])
})

test('a role that does not own the schema may not run the daemon', async (t) => {
  const db = await databaseFor(t)
  const roles = await rolesFor(t, db)
  const daemon = await promptDaemon(t, { url: db.urlAs(roles.mallory, roles.password) })
  const { code } = await daemon.exited
  assert.equal(code, 4)
  assert.match(daemon.output(), /not-daemon-role/)
})
