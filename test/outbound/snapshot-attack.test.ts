// F38 A snapshot's writer is code of a table's owner, and what it calls (casts to JSON, functions of generated columns) may be,
// too: it runs as that owner, never as the daemon, whatever it leaves behind in the session.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Cleanup } from '../support/cleanup.ts'
import { eventually } from '../support/eventually.ts'
import { promptDaemon } from '../support/flow.ts'
import { plainRoles } from '../support/plain-roles.ts'
import { snapshotOf, untilSnapshot } from '../support/snapshot.ts'

async function setUp(t: Cleanup) {
  const roles = await plainRoles(t)
  const asOwner = await roles.db.client({ connectionString: roles.urlOf(roles.owner) })
  await roles.db.query(`CREATE SCHEMA evil AUTHORIZATION ${roles.owner}`)
  await asOwner.query(`CREATE TABLE seen (who text, what text); GRANT INSERT ON seen TO PUBLIC; CREATE TABLE items (n int);
    INSERT INTO items SELECT generate_series(1, 5000); CREATE SEQUENCE calls`)
  const daemon = () => promptDaemon(t, { url: roles.urlOf(roles.daemon) })
  const onlyOwnerRan = async () => {
    const { rows } = await roles.db.query('SELECT * FROM seen WHERE who <> $1', [roles.owner])
    assert.deepEqual(rows, [])
  }
  return { ...roles, asOwner, startDaemon: daemon, onlyOwnerRan }
}

const ran = `INSERT INTO public.seen VALUES (current_user::text, 'ran')`
const attempt = (statement: string) =>
  `BEGIN ${statement}; ${ran}; EXCEPTION WHEN OTHERS THEN INSERT INTO public.seen VALUES (current_user::text, SQLERRM); END`

const signature = 'relation oid, first_block bigint, end_block bigint, again tid[]'
const returning = 'RETURNS TABLE (written bigint, skipped tid[]) LANGUAGE plpgsql'
const begin =
  "SELECT millrace.begin_snapshot('items', 'evil.writer(oid, bigint, bigint, tid[])'::regprocedure)"

const attacks: { what: string; before?: string; body: string }[] = [
  { what: 'RESET ROLE', body: attempt('RESET ROLE') },
  { what: 'SET ROLE to the daemon', body: attempt(`EXECUTE 'SET ROLE ' || quote_ident(session_user)`) },
  {
    what: 'SET SESSION AUTHORIZATION',
    body: attempt(`EXECUTE 'SET SESSION AUTHORIZATION ' || quote_ident(session_user)`),
  },
  {
    what: 'a cursor that is filled at COMMIT',
    body: `EXECUTE 'DECLARE c' || nextval('public.calls') || ' CURSOR WITH HOLD FOR SELECT evil.steal()'`,
  },
  {
    what: 'a trigger that waits for COMMIT and leaves such a cursor',
    before: `CREATE TABLE evil.trapped (n int);
      CREATE FUNCTION evil.trap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        EXECUTE 'DECLARE c CURSOR WITH HOLD FOR SELECT evil.steal()'; RETURN NULL; END $$;
      CREATE CONSTRAINT TRIGGER trap AFTER INSERT ON evil.trapped DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION evil.trap()`,
    body: 'INSERT INTO evil.trapped VALUES (1)',
  },
  {
    what: 'operators on the search path of the session',
    before: `CREATE FUNCTION evil.equal(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN ${ran}; RETURN true; END $$;
      CREATE OPERATOR evil.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.equal);
      CREATE FUNCTION evil.equal(oid, oid) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN ${ran}; RETURN true; END $$;
      CREATE OPERATOR evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = evil.equal)`,
    body: `PERFORM set_config('search_path', 'evil, pg_catalog', false)`,
  },
  {
    what: 'settings of the session',
    body: `PERFORM set_config('standard_conforming_strings', 'off', false), set_config('lock_timeout', '1', false),
      set_config('statement_timeout', '1', false), set_config('default_transaction_read_only', 'on', false)`,
  },
  {
    what: 'another body for the function that calls it',
    body: `DECLARE f regprocedure; BEGIN
      FOR f IN SELECT p.oid FROM pg_proc AS p WHERE p.pronamespace = pg_my_temp_schema() LOOP
        EXECUTE format('ALTER FUNCTION %s SECURITY INVOKER', f);
      END LOOP; END`,
  },
  {
    what: 'a function in the place of the one that calls it',
    body: `DISCARD TEMP;
      EXECUTE 'CREATE FUNCTION pg_temp."millrace snapshot ' || current_user::regrole::oid || '"(writer text, relation oid, a bigint, b bigint, c tid[])
        ${returning} AS $x$ BEGIN PERFORM evil.steal(); RETURN QUERY SELECT 0::bigint, ARRAY[]::tid[]; END $x$'`,
  },
  {
    what: 'another function of its name beside it',
    body: `EXECUTE 'CREATE OR REPLACE FUNCTION pg_temp."millrace snapshot ' || current_user::regrole::oid || '"(a text, b oid, c int, d int, e tid[])
        ${returning} AS $x$ BEGIN PERFORM evil.steal(); RETURN QUERY SELECT 0::bigint, ARRAY[]::tid[]; END $x$'`,
  },
  {
    what: 'a table that hides another',
    body: 'CREATE TEMP TABLE IF NOT EXISTS snapshot (snapshot_id bigint)',
  },
]

describe('F38 a writer that tries to act as the daemon', () => {
  for (const { what, before, body } of attacks) {
    test(what, async (t) => {
      const { db, asOwner, startDaemon, onlyOwnerRan } = await setUp(t)
      await asOwner.query(`CREATE FUNCTION evil.steal() RETURNS int LANGUAGE plpgsql AS $$ BEGIN ${ran}; RETURN 1; END $$;
        ${before ?? ''};
        CREATE FUNCTION evil.writer(${signature}) ${returning} AS $$ BEGIN
          PERFORM nextval('public.calls'); ${ran}; ${body}; RETURN QUERY SELECT 1::bigint, ARRAY[]::tid[]; END $$; ${begin}`)
      await startDaemon()
      // the snapshot goes on, or says what is wrong with it
      await eventually('it was called and that was noted', async () => {
        const { state, rows, error_code } = await snapshotOf(db)
        return state === 'done' || Number(rows) > 1 || error_code !== null
      })
      assert.ok((await db.query('SELECT is_called FROM calls')).rows[0].is_called)
      await onlyOwnerRan()
    })
  }

  test('in a session that has served the daemon itself', async (t) => {
    const { db, asOwner, daemon: role, urlOf, onlyOwnerRan } = await setUp(t)
    await asOwner.query(`CREATE FUNCTION evil.writer(${signature}) ${returning} AS $$ BEGIN
      PERFORM nextval('public.calls'); ${ran}; RETURN QUERY SELECT 1::bigint, ARRAY[]::tid[]; END $$`)
    await db.query(`CREATE TABLE own (n int); INSERT INTO own VALUES (1); ALTER TABLE own OWNER TO ${role};
      CREATE FUNCTION own_writer(${signature}) ${returning} AS $$ BEGIN RETURN QUERY SELECT 1::bigint, ARRAY[]::tid[]; END $$;
      ALTER FUNCTION own_writer(${signature}) OWNER TO ${role}`)
    const asDaemon = await db.client({ connectionString: urlOf(role) })
    // one session for everybody
    await promptDaemon(t, { url: urlOf(role) }, { env: { MILLRACE_DATABASE_MAX_CONNECTIONS: '4' } })
    for (let n = 0; n < 3; n++) {
      await asDaemon.query("SELECT millrace.begin_snapshot('own', 'own_writer'::regproc)")
      await asOwner.query(begin)
      await eventually('both are done', async () => {
        const { rows } = await db.query("SELECT FROM millrace.snapshots WHERE state = 'done'")
        return rows.length === 2 * (n + 1)
      })
    }
    assert.ok((await db.query('SELECT is_called FROM calls')).rows[0].is_called)
    await onlyOwnerRan()
  })

  test('a cast that the documented writer calls', async (t) => {
    const { db, asOwner, startDaemon, onlyOwnerRan, owner } = await setUp(t)
    await db.query(`SELECT millrace.grant_topic('*', '${owner}', action := 'produce')`)
    await asOwner.query(`CREATE TYPE mood AS ENUM ('fine'); CREATE TABLE moods (id int, mood mood, pad text);
      CREATE FUNCTION told(mood) RETURNS json LANGUAGE plpgsql AS $$ BEGIN
        ${attempt('RESET ROLE')}; RETURN '1'; END $$;
      CREATE CAST (mood AS json) WITH FUNCTION told(mood);
      INSERT INTO moods SELECT i, 'fine', repeat('x', 3000) FROM generate_series(1, 2200) AS i;
      ALTER TABLE moods ALTER pad SET STORAGE PLAIN; UPDATE moods SET pad = pad || 'y' WHERE id < 2200;
      SELECT pg2kafka.setup('moods', 'id')`)
    await startDaemon()
    const { rows } = await untilSnapshot(db, 'done')
    assert.equal(rows, '2200')
    await onlyOwnerRan()
  })
})

describe('a writer that does not do as a writer does', () => {
  const answers: Record<string, [body: string, message: RegExp]> = {
    'no row': ['RETURN', /did not return how many/],
    NULL: ['RETURN QUERY SELECT NULL::bigint, NULL::tid[]', /did not return how many/],
    'a negative number': ['RETURN QUERY SELECT -1::bigint, ARRAY[]::tid[]', /did not return how many/],
    'more places than there are': [
      "RETURN QUERY SELECT 1::bigint, array_agg('(0,1)'::tid) FROM generate_series(1, 700000)",
      /did not return how many/,
    ],
    'an error': ["RAISE EXCEPTION 'of its own'", /of its own/],
    'a very long error': ["RAISE EXCEPTION '%', repeat('long', 100000)", /long/],
  }
  for (const [what, [body, message]] of Object.entries(answers)) {
    test(what, async (t) => {
      const { db, asOwner, startDaemon } = await setUp(t)
      await asOwner.query(
        `CREATE FUNCTION evil.writer(${signature}) ${returning} AS $$ BEGIN ${body}; END $$; ${begin}`,
      )
      const daemon = await startDaemon()
      const { error_code, error_message } = await untilSnapshot(db, 'failing')
      assert.equal(error_code, 'snapshot-failed')
      assert.match(error_message!, message)
      await asOwner.query(`CREATE OR REPLACE FUNCTION evil.writer(${signature}) ${returning} AS $$ BEGIN
        RETURN QUERY SELECT 7::bigint, ARRAY[]::tid[]; END $$`)
      await untilSnapshot(db, 'done')
      assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
    })
  }

  test('never returns: others go on, and the daemon still ends', async (t) => {
    const { db, asOwner, startDaemon, daemon: role, urlOf } = await setUp(t)
    await asOwner.query(`CREATE FUNCTION evil.writer(${signature}) ${returning} AS $$ BEGIN
      PERFORM nextval('public.calls'); PERFORM pg_sleep(100000); END $$; ${begin}`)
    const asDaemon = await db.client({ connectionString: urlOf(role) })
    await db.query(`CREATE TABLE own (n int); INSERT INTO own SELECT generate_series(1, 1000); ALTER TABLE own OWNER TO ${role};
      CREATE FUNCTION own_writer(${signature}) ${returning} AS $$ BEGIN
        RETURN QUERY SELECT * FROM millrace.write_chunk(relation, first_block, end_block, again,
          $m$'default', 'own', NULL::int, NULL::bytea, convert_to(t.n::text, 'UTF8'), NULL::bytea[], NULL::timestamptz, NULL::text$m$); END $$;
      ALTER FUNCTION own_writer(${signature}) OWNER TO ${role}`)
    const daemon = await startDaemon()
    await eventually(
      'it is called',
      async () => (await db.query('SELECT is_called FROM calls')).rows[0].is_called,
    )
    await asDaemon.query("SELECT millrace.begin_snapshot('own', 'own_writer'::regproc)")
    await eventually(
      'the other one is done',
      async () =>
        (await db.query("SELECT state, rows FROM millrace.snapshots WHERE relation = 'public.own'")).rows[0]
          .rows === '1000',
    )
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
  })
})

test('who may begin a snapshot, end it, and see it', async (t) => {
  const { db, asOwner, urlOf, mallory, daemon } = await setUp(t)
  const asMallory = await db.client({ connectionString: urlOf(mallory) })
  const refusal = async (client: typeof asOwner, sql: string): Promise<string> => {
    const error = await client.query(sql).then(
      () => null,
      (error) => error,
    )
    return /^code: (\S+)/.exec(error?.detail ?? '')?.[1] ?? String(error?.message)
  }
  await asOwner.query(`CREATE FUNCTION evil.writer(${signature}) ${returning} AS $$ BEGIN RETURN; END $$;
    CREATE TABLE forced (n int); ALTER TABLE forced ENABLE ROW LEVEL SECURITY; ALTER TABLE forced FORCE ROW LEVEL SECURITY;
    GRANT USAGE ON SCHEMA evil TO PUBLIC; ${begin}`)
  const beginOf = (table: string) =>
    `SELECT millrace.begin_snapshot('${table}', 'evil.writer(oid, bigint, bigint, tid[])'::regprocedure)`
  assert.equal(await refusal(asMallory, begin), 'relation-not-yours')
  assert.equal(await refusal(asOwner, beginOf('forced')), 'snapshot-row-security')
  await asOwner.query('CREATE TEMP TABLE passing (n int)')
  assert.equal(await refusal(asOwner, beginOf('passing')), 'snapshot-unreadable')
  await asMallory.query('CREATE TABLE hers (n int)')
  assert.equal(await refusal(asMallory, beginOf('hers')), 'role-not-served')
  assert.match(
    await refusal(asOwner, 'UPDATE millrace.snapshot SET next_block = 0'),
    /permission denied for table snapshot/,
  )
  const seen = 'SELECT count(*)::int AS count FROM millrace.snapshots'
  assert.equal((await asMallory.query(seen)).rows[0].count, 0)
  assert.equal((await asOwner.query(seen)).rows[0].count, 1)
  await asMallory.query('SELECT millrace.end_snapshot(id) FROM generate_series(1, 10) AS id')
  assert.equal((await snapshotOf(db)).state, 'pending')
  // a writer of somebody else's is not dropped with the snapshot, nor is anything that its name could be taken for
  await asOwner.query(`INSERT INTO millrace.snapshot (snapshot_id, root, relation, writer, drop_writer, first_block, end_block, to_end)
    VALUES (77, 'items', 'items', 'millrace.settle_snapshots(oid)', true, 0, 0, true)`)
  assert.equal(
    await refusal(
      asOwner,
      `INSERT INTO millrace.snapshot (snapshot_id, root, relation, writer, drop_writer, first_block, end_block, to_end)
       VALUES (78, 'items', 'items', 'evil.writer(oid); DROP TABLE items', true, 0, 0, true)`,
    ),
    'relation-missing',
  )
  await promptDaemon(t, { url: urlOf(daemon) })
  await eventually(
    'it is settled',
    async () =>
      (await db.query('SELECT settled FROM millrace.snapshot WHERE snapshot_id = 77')).rows[0].settled,
  )
  assert.equal(
    (await db.query("SELECT to_regprocedure('millrace.settle_snapshots(oid)') AS there")).rows[0].there,
    'millrace.settle_snapshots(oid)',
  )
})
