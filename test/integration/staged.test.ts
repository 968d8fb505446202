// What COPY may not load directly goes by way of a staging table and a function of the consumer's owner. Code that runs
// there is the owner's affair: none of it gets hold of the daemon.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type pg from 'pg'
import type { Cleanup } from '../support/cleanup.ts'
import { consume, consumerOf, promptDaemon, untilPassed, untilRows, untilState } from '../support/flow.ts'
import { plainRoles } from '../support/plain-roles.ts'
import { produce, topicFor } from '../support/topic.ts'

async function setUp(t: Cleanup) {
  const roles = await plainRoles(t)
  const as = (role: string): Promise<pg.Client> => roles.db.client({ connectionString: roles.urlOf(role) })
  const asOwner = await as(roles.owner)
  const daemon = await promptDaemon(t, { url: roles.urlOf(roles.daemon) })
  const topic = await topicFor(t, { partitions: 1 })
  return { db: roles.db, roles, as, asOwner, daemon, topic }
}

test('a table under row-level security: policies hold for the rows', async (t) => {
  const { db, roles, asOwner, topic } = await setUp(t)
  await db.query(`CREATE TABLE target (n int, who text DEFAULT current_user);
    ALTER TABLE target ENABLE ROW LEVEL SECURITY;
    CREATE POLICY few ON target FOR INSERT WITH CHECK (n < 10);
    GRANT INSERT ON target TO ${roles.owner}`)
  await produce(
    topic,
    ['{"n": 1}', '{"n": 11}', '{"n": 2}'].map((value) => ({ value })),
  )
  await consume(asOwner, topic, 'target', { on_error: 'dead_letter' })
  await untilPassed(db, topic, 3)
  await untilRows(db, 'SELECT n, who FROM target ORDER BY n', [
    [1, roles.owner],
    [2, roles.owner],
  ])
  await untilRows(db, `SELECT "offset"::int, sqlstate FROM millrace.dead_letter`, [[1, '42501']])
})

test('a view that updates itself', async (t) => {
  const { db, asOwner, topic } = await setUp(t)
  await asOwner.query(`CREATE TABLE base (n int, note text DEFAULT 'base');
    CREATE VIEW target AS SELECT n, note FROM base WHERE n > 0 WITH CHECK OPTION`)
  await produce(
    topic,
    ['1\tx', '-1\ty', '2\t\\N'].map((value) => ({ value })),
  )
  await consume(asOwner, topic, 'target', { format: 'text', on_error: 'dead_letter' })
  await untilPassed(db, topic, 3)
  await untilRows(db, 'SELECT n, note FROM base ORDER BY n', [
    [1, 'x'],
    [2, null],
  ])
  await untilRows(db, `SELECT "offset"::int, sqlstate FROM millrace.dead_letter`, [[1, '44000']])
})

test('defaults, identities and generated columns are as COPY would make them', async (t) => {
  const { db, asOwner, topic } = await setUp(t)
  await asOwner.query(`CREATE FUNCTION stamp() RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT 'by ' || current_user $$;
    CREATE DOMAIN label AS varchar(5) DEFAULT 'dom' CHECK (VALUE <> 'bad');
    CREATE TABLE target (id bigint GENERATED ALWAYS AS IDENTITY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED,
      who text DEFAULT stamp(), l label, d jsonb)`)
  await produce(
    topic,
    ['{"n": 1}', '{"n": 2, "who": null, "l": "x"}', '{"id": 100, "n": 3, "who": "w", "d": {"a": 1.10}}'].map(
      (value) => ({ value }),
    ),
  )
  await consume(asOwner, topic, 'target')
  await untilPassed(db, topic, 3)
  const { rows } = await db.query('SELECT id::int, n, twice, who, l, d::text FROM target ORDER BY n')
  const { rows: owner } = await asOwner.query('SELECT current_user AS name')
  assert.deepEqual(
    rows.map((row) => Object.values(row)),
    [
      [1, 1, 2, `by ${owner[0].name}`, 'dom', null],
      [2, 2, 4, null, 'x', null],
      [100, 3, 6, 'w', 'dom', '{"a": 1.10}'],
    ],
  )
})

interface Attack {
  what: string
  /** PL/pgSQL of a trigger of the owner's, on a table of the owner's; `seen` takes who it runs as. */
  body: string
  /** The message that fails by it, if it does. */
  fails?: string
  before?: string
}

const gotOut = `INSERT INTO public.seen VALUES (current_user::text, session_user::text, 'ran')`
const attempt = (statement: string) =>
  `BEGIN ${statement}; ${gotOut}; EXCEPTION WHEN OTHERS THEN INSERT INTO public.seen VALUES (current_user::text, session_user::text, SQLERRM); END`

const attacks: Attack[] = [
  { what: 'RESET ROLE', body: attempt('RESET ROLE') },
  { what: 'SET ROLE to the daemon', body: attempt(`EXECUTE 'SET ROLE ' || quote_ident(session_user)`) },
  {
    what: 'SET SESSION AUTHORIZATION',
    body: attempt(`EXECUTE 'SET SESSION AUTHORIZATION ' || quote_ident(session_user)`),
  },
  {
    what: 'a cursor that is filled at COMMIT',
    before: `CREATE FUNCTION evil() RETURNS int LANGUAGE plpgsql AS $$ BEGIN ${gotOut}; RETURN 1; END $$`,
    body: `EXECUTE 'DECLARE c CURSOR WITH HOLD FOR SELECT evil()'`,
  },
  {
    what: 'operators on the search path of the session',
    before: `CREATE FUNCTION evil.equal(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
      ${gotOut}; RETURN true; END $$;
      CREATE OPERATOR evil.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.equal);
      CREATE FUNCTION evil.equal(int, int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN ${gotOut}; RETURN true; END $$;
      CREATE OPERATOR evil.= (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.equal)`,
    body: `PERFORM set_config('search_path', 'evil, pg_catalog', false)`,
  },
  {
    what: 'settings of the session',
    body: `PERFORM set_config('standard_conforming_strings', 'off', false), set_config('client_encoding', 'LATIN1', false),
      set_config('lock_timeout', '1', false), set_config('default_transaction_read_only', 'on', false)`,
  },
  {
    what: 'another body for the function that runs it',
    body: `DECLARE f regprocedure; BEGIN
      FOR f IN SELECT p.oid FROM pg_proc AS p WHERE p.pronamespace = pg_my_temp_schema() AND p.proowner = current_user::regrole LOOP
        EXECUTE format('ALTER FUNCTION %s SECURITY INVOKER', f);
      END LOOP; END`,
  },
  {
    what: 'a table that hides another',
    before: 'CREATE TABLE rates (n int)',
    body: `CREATE TEMP TABLE IF NOT EXISTS "position" (consumer_id bigint)`,
  },
]

describe('F38 code of the owner that tries to act as the daemon', () => {
  for (const { what, before, body } of attacks) {
    test(what, async (t) => {
      const { db, roles, as, asOwner, topic } = await setUp(t)
      await db.query(`CREATE SCHEMA evil AUTHORIZATION ${roles.owner}`)
      await asOwner.query(`CREATE TABLE seen (who text, session text, what text); CREATE TABLE target (n int);
        GRANT INSERT ON seen TO PUBLIC;
        ${before ?? ''};
        CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${body}; RETURN NEW; END $$;
        CREATE TRIGGER trap BEFORE INSERT ON target FOR EACH ROW EXECUTE FUNCTION trap()`)
      const second = await topicFor(t, { partitions: 1 })
      const asDaemon = await as(roles.daemon)
      await db.query(`CREATE TABLE other (n int); ALTER TABLE other OWNER TO ${roles.daemon}`)
      await consume(asOwner, topic, 'target')
      await consume(asDaemon, second, 'other')
      for (let n = 0; n < 3; n++) {
        await produce(topic, [{ value: `{"n": ${n}}` }])
        await untilPassed(db, topic, n + 1)
        await produce(second, [{ value: `{"n": ${n}}` }])
        await untilPassed(db, second, n + 1)
      }
      await untilRows(db, 'SELECT n FROM target ORDER BY n', [[0], [1], [2]])
      await untilRows(db, 'SELECT n FROM other ORDER BY n', [[0], [1], [2]])
      const { rows } = await db.query('SELECT DISTINCT who FROM seen WHERE who <> $1', [roles.owner])
      assert.deepEqual(rows, [])
      // a session that was tampered with is given up, and the batch tried again in another
      assert.match((await consumerOf(db, topic)).state, /^(running|retrying)$/)
    })
  }

  test('a constraint trigger that waits for COMMIT is refused at once, and where it is met only during a load', async (t) => {
    const { db, roles, asOwner, topic } = await setUp(t)
    await asOwner.query(`CREATE TABLE seen (who text, session text, what text); GRANT INSERT ON seen TO PUBLIC;
      CREATE TABLE trapped (n int); CREATE TABLE target (n int); CREATE TABLE direct (n int);
      CREATE FUNCTION steal() RETURNS int LANGUAGE plpgsql AS $$ BEGIN ${gotOut}; RETURN 1; END $$;
      CREATE FUNCTION evil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        EXECUTE 'DECLARE c CURSOR WITH HOLD FOR SELECT public.steal()'; RETURN NEW; END $$;
      CREATE CONSTRAINT TRIGGER evil AFTER INSERT ON trapped DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION evil();
      CREATE FUNCTION requeue() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        SET CONSTRAINTS ALL DEFERRED; INSERT INTO trapped VALUES (NEW.n); RETURN NULL; END $$;
      CREATE CONSTRAINT TRIGGER requeue AFTER INSERT ON direct DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION requeue();
      CREATE TRIGGER requeue AFTER INSERT ON target FOR EACH ROW EXECUTE FUNCTION requeue()`)
    await assert.rejects(consume(asOwner, topic, 'direct'), ({ detail }: { detail?: string }) =>
      /relation-defers-code/.test(detail ?? ''),
    )
    await produce(topic, [{ value: '{"n": 1}' }])
    await consume(asOwner, topic, 'target')
    const failed = await untilState(db, topic, 'failed')
    assert.equal(failed.error_code, 'relation-defers-code')
    const { rows } = await db.query('SELECT DISTINCT who FROM seen WHERE who <> $1', [roles.owner])
    assert.deepEqual(rows, [])
  })

  test('a table in the place of the staging table', async (t) => {
    const { db, roles, asOwner, topic } = await setUp(t)
    await asOwner.query(`CREATE TABLE seen (who text, session text, what text); GRANT INSERT ON seen TO PUBLIC;
      CREATE TABLE target (n int);
      CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${gotOut}; RETURN OLD; END $$;
      CREATE FUNCTION plant() RETURNS void LANGUAGE plpgsql AS $$
      DECLARE names text[] := ARRAY(SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema() AND relname LIKE 'millrace%');
        name text; BEGIN
        DISCARD TEMP;
        FOREACH name IN ARRAY names LOOP
          EXECUTE format('CREATE TEMP TABLE %I (n int)', name);
          EXECUTE format('GRANT ALL ON %I TO PUBLIC', name);
          EXECUTE format('CREATE TRIGGER t BEFORE INSERT OR DELETE ON %I FOR EACH STATEMENT EXECUTE FUNCTION public.trap()', name);
        END LOOP; END $$`)
    await consume(asOwner, topic, 'target', {
      transform: `SELECT (value ->> 'n')::int FROM batch; PERFORM public.plant()`,
      on_error: 'dead_letter',
    })
    for (let n = 0; n < 3; n++) {
      await produce(topic, [{ value: `{"n": ${n}}` }])
      await untilPassed(db, topic, n + 1)
    }
    await untilRows(db, 'SELECT n FROM target ORDER BY n', [[0], [1], [2]])
    const { rows } = await db.query('SELECT DISTINCT who FROM seen WHERE who <> $1', [roles.owner])
    assert.deepEqual(rows, [])
  })
})

test('F38 a transform that tries to act as the daemon', async (t) => {
  const { db, roles, asOwner, topic } = await setUp(t)
  await asOwner.query(`CREATE TABLE seen (who text); GRANT INSERT ON seen TO PUBLIC; CREATE TABLE target (n int);
    CREATE FUNCTION evil(v jsonb) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
      BEGIN RESET ROLE; EXCEPTION WHEN OTHERS THEN NULL; END;
      INSERT INTO seen VALUES (current_user); RETURN (v ->> 'n')::int; END $$`)
  await produce(topic, [{ value: '{"n": 1}' }])
  await consume(asOwner, topic, 'target', { transform: 'SELECT evil(value) FROM batch' })
  await untilPassed(db, topic, 1)
  await untilRows(db, 'SELECT who FROM seen', [[roles.owner]])
  await untilRows(db, 'SELECT n FROM target', [[1]])
})

test('a relation that comes to run code of others is loaded by way of staging from then on', async (t) => {
  const { db, roles, asOwner, topic } = await setUp(t)
  await db.query(`ALTER SCHEMA public OWNER TO ${roles.daemon}; CREATE TABLE target (n int);
    ALTER TABLE target OWNER TO ${roles.daemon}; GRANT INSERT ON target TO ${roles.owner}`)
  await produce(topic, [{ value: '1' }])
  await consume(asOwner, topic, 'target', { format: 'text' })
  await untilPassed(db, topic, 1)
  await untilRows(db, 'SELECT way FROM millrace.consumers', [['direct']])
  await db.query(`CREATE TABLE seen (who text); GRANT INSERT ON seen TO PUBLIC;
    CREATE FUNCTION theirs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.seen VALUES (current_user); RETURN NEW; END $$;
    ALTER FUNCTION theirs() OWNER TO ${roles.mallory};
    CREATE TRIGGER theirs BEFORE INSERT ON target FOR EACH ROW EXECUTE FUNCTION theirs()`)
  await produce(topic, [{ value: '2' }])
  await untilPassed(db, topic, 2)
  await untilRows(db, 'SELECT n FROM target ORDER BY n', [[1], [2]])
  await untilRows(db, 'SELECT who FROM seen', [[roles.owner]])
})

test('F38 between the daemon and a consumer of its own role staging is no boundary: refused', async (t) => {
  const { db, roles, as, topic } = await setUp(t)
  const asDaemon = await as(roles.daemon)
  await db.query(`CREATE TABLE target (n int PRIMARY KEY, t text); ALTER TABLE target OWNER TO ${roles.daemon};
    CREATE TABLE base (n int); ALTER TABLE base OWNER TO ${roles.daemon};
    CREATE FUNCTION theirs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
    ALTER FUNCTION theirs() OWNER TO ${roles.mallory};
    CREATE TRIGGER theirs BEFORE INSERT ON base FOR EACH ROW EXECUTE FUNCTION theirs()`)
  await asDaemon.query('CREATE VIEW view AS SELECT * FROM base')
  for (const [relation, options] of [
    ['view', {}],
    ['base', {}],
    ['base', { transform: 'SELECT 1 FROM batch' }],
  ] as const) {
    await assert.rejects(consume(asDaemon, topic, relation, options), ({ detail }: { detail?: string }) =>
      /relation-runs-code/.test(detail ?? ''),
    )
  }
  // and where such code comes later
  await produce(topic, [{ value: '{"n": 1}' }])
  await consume(asDaemon, topic, 'target', { mode: 'upsert' })
  await untilPassed(db, topic, 1)
  await db.query('CREATE TRIGGER theirs BEFORE INSERT ON target FOR EACH ROW EXECUTE FUNCTION theirs()')
  await produce(topic, [{ value: '{"n": 2}' }])
  const failed = await untilState(db, topic, 'failed')
  assert.equal(failed.error_code, 'target-refused')
  await untilRows(db, 'SELECT n FROM target', [[1]])
})

test('F38 a cast of the owner’s does not run as the daemon, and changes no value, where many messages fail', async (t) => {
  const { db, roles, asOwner, topic } = await setUp(t)
  await asOwner.query(`CREATE TABLE seen (who text); GRANT INSERT ON seen TO PUBLIC;
    CREATE TYPE mood AS ENUM ('happy', 'sad');
    CREATE FUNCTION evil(value text) RETURNS mood LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO public.seen VALUES (current_user); RETURN 'happy'::public.mood; END $$;
    CREATE CAST (text AS mood) WITH FUNCTION evil(text) AS ASSIGNMENT;
    CREATE TABLE target (n int, m mood, several mood[])`)
  const bad = Array.from({ length: 20 }, () => '{"n": "x", "m": "sad"}')
  const values = [...bad, `{"n": 1, "m": "sad", "several": ["sad", "happy"]}`, `{"n": 2, "m": "it's"}`]
  await produce(
    topic,
    values.map((value) => ({ value })),
  )
  await consume(asOwner, topic, 'target', { on_error: 'dead_letter' })
  await untilPassed(db, topic, values.length)
  await untilRows(db, 'SELECT n, m::text, several::text FROM target', [[1, 'sad', '{sad,happy}']])
  await untilRows(db, 'SELECT count(*)::int FROM millrace.dead_letter', [[21]])
  const { rows } = await db.query('SELECT who FROM seen WHERE who <> $1', [roles.owner])
  assert.deepEqual(rows, [])
})

test('F38 a domain that takes the name of a column’s type does not run as the daemon', async (t) => {
  const { db, roles, asOwner, topic } = await setUp(t)
  // a sequence remembers what is rolled back
  await asOwner.query(`CREATE SEQUENCE escaped; GRANT ALL ON SEQUENCE escaped TO PUBLIC;
    CREATE TYPE mood AS ENUM ('good'); CREATE TABLE target (n int PRIMARY KEY, m mood);
    CREATE FUNCTION evil(v text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
      IF current_user <> '${roles.owner}' THEN PERFORM nextval('public.escaped'); END IF; RETURN true; END $$;
    GRANT EXECUTE ON FUNCTION evil(text) TO PUBLIC`)
  await consume(asOwner, topic, 'target', { mode: 'upsert', on_error: 'dead_letter' })
  await produce(topic, [{ value: '{"n": 0, "m": "good"}' }])
  await untilPassed(db, topic, 1)
  await asOwner.query(
    'BEGIN; ALTER TYPE mood RENAME TO was_mood; CREATE DOMAIN mood AS text CHECK (evil(VALUE)); COMMIT',
  )
  // everything is made anew, from the plan that was made before
  await db.query(`SELECT pg_terminate_backend(owner_pid) FROM millrace.position`)
  await produce(topic, [{ value: '{"n": 1, "m": "good"}' }])
  await untilPassed(db, topic, 2)
  await untilRows(db, 'SELECT n, m::text FROM target ORDER BY n', [
    [0, 'good'],
    [1, 'good'],
  ])
  await untilRows(db, 'SELECT is_called FROM escaped', [[false]])
})

test('an error whose text is longer than a string can be ends one connection, and the daemon goes on', async (t) => {
  const { db, roles, as, asOwner, topic } = await setUp(t)
  // what the server does with half a gigabyte of text takes a while, and its log need not have it
  await db.query(`ALTER DATABASE "${db.name}" SET log_min_messages = 'panic'`)
  await asOwner.query(`CREATE TABLE target (n int); CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF NEW.n = 1 THEN RAISE EXCEPTION '%', repeat('x', 540000000); END IF;
      RAISE NOTICE '%', repeat('x', 5000000); RETURN NEW; END $$;
    CREATE TRIGGER shout BEFORE INSERT ON target FOR EACH ROW EXECUTE FUNCTION shout()`)
  await produce(topic, [{ value: '{"n": 1}' }])
  await consume(asOwner, topic, 'target')
  const retrying = await untilState(db, topic, 'retrying', { deadline: 120_000 })
  assert.match(retrying.error_message ?? '', /began a message of \d+ bytes|connection|terminated/i)
  const asDaemon = await as(roles.daemon)
  await db.query(`CREATE TABLE other (n int); ALTER TABLE other OWNER TO ${roles.daemon}`)
  const second = await topicFor(t, { partitions: 1 })
  await produce(second, [{ value: '{"n": 1}' }])
  await consume(asDaemon, second, 'other')
  await untilRows(db, 'SELECT n FROM other', [[1]])
})
