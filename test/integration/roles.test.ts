// The daemon acts for whoever asked, not above them: rows are inserted as the consumer's owner, and code of other
// roles never runs in the daemon's session.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Cleanup } from '../support/cleanup.ts'
import { begin, promptDaemon, untilPassed, untilRows, untilState } from '../support/flow.ts'
import { type PlainRoles, plainRoles } from '../support/plain-roles.ts'
import { produce, topicFor } from '../support/topic.ts'

async function setUp(t: Cleanup) {
  const roles = await plainRoles(t)
  const asOwner = await roles.db.client({ connectionString: roles.urlOf(roles.owner) })
  const daemon = await promptDaemon(t, { url: roles.urlOf(roles.daemon) })
  const topic = await topicFor(t, { partitions: 1 })
  return { db: roles.db, roles, asOwner, daemon, topic }
}

/** consume_begin from the beginning, as one of the roles. */
function beginAs(role: string, { db, urlOf }: PlainRoles, topic: string, relation: string, options = {}) {
  const client = () => db.client({ connectionString: urlOf(role) })
  return begin({ client }, topic, relation, { start_offset: -2, ...options })
}

test('a daemon without superuser loads as the owner of the consumer', async (t) => {
  const { db, roles, asOwner, daemon, topic } = await setUp(t)
  await asOwner.query('CREATE TABLE target (n int, loaded_by text DEFAULT CURRENT_USER)')
  await asOwner.query('CREATE TABLE plain (n int)')
  const second = await topicFor(t, { partitions: 1 })
  await produce(second, [{ value: '{"n": 1}' }])
  await produce(topic, [{ value: '1' }])
  await beginAs(roles.owner, roles, second, 'target', { format: 'json' })
  await beginAs(roles.owner, roles, topic, 'plain')
  await untilRows(db, 'SELECT n, loaded_by FROM target', [[1, roles.owner]])
  await untilRows(db, 'SELECT n FROM plain', [[1]])
  assert.doesNotMatch(daemon.output(), /superuser/)
  assert.doesNotMatch(daemon.output(), new RegExp(roles.password))
})

test('a right that is taken away later stops the consumer', async (t) => {
  const { db, roles, topic } = await setUp(t)
  await db.query(`CREATE TABLE target (n int); GRANT INSERT ON target TO ${roles.owner}`)
  await produce(topic, [{ value: '1' }])
  await beginAs(roles.owner, roles, topic, 'target')
  await untilPassed(db, topic, 1)
  await db.query(`REVOKE INSERT ON target FROM ${roles.owner}`)
  await produce(topic, [{ value: '2' }])
  const failed = await untilState(db, topic, 'failed')
  assert.equal(failed.error_code, 'target-refused')
  assert.match(failed.error_message ?? '', /permission denied for table target/)
  await untilRows(db, 'SELECT n FROM target', [[1]])
})

test('the database shows a consumer to its owner and to nobody else', async (t) => {
  const { db, roles, asOwner, topic } = await setUp(t)
  await asOwner.query('CREATE TABLE target (n int)')
  await produce(topic, [{ value: '1' }])
  await beginAs(roles.owner, roles, topic, 'target')
  await untilPassed(db, topic, 1)
  const asMallory = await db.client({ connectionString: roles.urlOf(roles.mallory) })
  const visible = async (client: typeof asOwner) => {
    const consumers = await client.query('SELECT FROM millrace.consumers')
    const positions = await client.query('SELECT FROM pipeline_kafka.offsets')
    return [consumers.rowCount, positions.rowCount]
  }
  assert.deepEqual(await visible(asOwner), [1, 1])
  assert.deepEqual(await visible(asMallory), [0, 0])
  await assert.rejects(asMallory.query('UPDATE millrace.position SET next_offset = 0'), /permission denied/)
})

interface Trap {
  what: string
  /** Makes `target` run mallory's code. */
  set: (roles: PlainRoles) => string
}

const trapFunction = ({ mallory }: PlainRoles, returns: string, result: string) => `
  SET LOCAL ROLE ${mallory};
  CREATE FUNCTION trap() RETURNS ${returns} LANGUAGE plpgsql AS $$
    BEGIN BEGIN RESET ROLE; EXCEPTION WHEN OTHERS THEN NULL; END;
      INSERT INTO public.seen VALUES (current_user); RETURN ${result}; END $$;
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
        BEGIN BEGIN RESET ROLE; EXCEPTION WHEN OTHERS THEN NULL; END;
          INSERT INTO public.seen VALUES (current_user); RETURN NEW; END $$;
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
        BEGIN BEGIN RESET ROLE; EXCEPTION WHEN OTHERS THEN NULL; END;
          INSERT INTO public.seen VALUES (current_user); END $$;
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
    await beginAs(roles.owner, roles, topic, 'target')
    await untilPassed(db, topic, 1)
    await db.query(`BEGIN; ${set(roles)} COMMIT`)
    await db.query('TRUNCATE seen')
    await produce(topic, [{ value: '2\tb' }])
    await untilPassed(db, topic, 2)
    await untilRows(db, `SELECT DISTINCT role FROM seen WHERE role <> '${roles.owner}'`, [])
    await untilRows(db, 'SELECT n FROM target ORDER BY n', [[1], [2]])
  })
}

test("F38 another role's trigger on a table of the daemon's own does not run as the daemon", async (t) => {
  const { db, roles, topic } = await setUp(t)
  await db.query(`CREATE TABLE target (n int, note text); ALTER TABLE target OWNER TO ${roles.daemon};
    CREATE TABLE seen (role text); GRANT INSERT ON seen TO PUBLIC`)
  await produce(topic, [{ value: '1\ta' }])
  await beginAs(roles.daemon, roles, topic, 'target')
  await untilPassed(db, topic, 1)
  await db.query(`BEGIN; ${traps[0]!.set(roles)} COMMIT`)
  await produce(topic, [{ value: '2\tb' }])
  // the consumer's owner is the daemon's role itself: whatever ran for it would run with its rights
  const failed = await untilState(db, topic, 'failed')
  assert.equal(failed.error_code, 'target-refused')
  await untilRows(db, 'SELECT role FROM seen', [])
})

test('a role that does not own the schema may not run the daemon', async (t) => {
  const { mallory, urlOf } = await plainRoles(t)
  const daemon = await promptDaemon(t, { url: urlOf(mallory) })
  const { code } = await daemon.exited
  assert.equal(code, 4)
  assert.match(daemon.output(), /not-daemon-role/)
})
