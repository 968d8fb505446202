// A publication gives nobody a right that they do not have: what is a user's in it runs as the table's owner.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { publishedDatabase } from '../support/published.ts'

const table = 'CREATE TABLE t (id int PRIMARY KEY, v text)'

test('F37 a writer without any right but to the table', async (t) => {
  const { alice, bob, superuser, roles, lines } = await publishedDatabase(t)
  await superuser.run(
    `REVOKE ALL ON SCHEMA millrace FROM PUBLIC; GRANT USAGE ON SCHEMA millrace TO ${roles.alice}`,
  )
  await alice.run(`${table}; SELECT millrace.publish('t', filter := 'id > 0'), millrace.publish('t', 'rows', capture := 'row', envelope := 'debezium');
    GRANT INSERT, UPDATE, DELETE, SELECT, TRUNCATE ON t TO ${roles.bob}`)
  await bob.run(
    `INSERT INTO t VALUES (1, 'a'); UPDATE t SET id = 2; DELETE FROM t; INSERT INTO t VALUES (3, 'b'); TRUNCATE t`,
  )
  assert.equal((await lines()).length, 14)
  assert.deepEqual(await superuser.column('SELECT DISTINCT owner::text FROM millrace.outbox'), [roles.alice])
})

describe("F38 code of users runs as the table's owner", () => {
  const told = (roles: { alice: string }) => `CREATE TABLE ran (what text, as_role text);
    CREATE FUNCTION told(what text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.ran VALUES (what, current_user); RETURN true; END $$;
    GRANT INSERT ON ran TO ${roles.alice}`

  test('in a filter, a cast to json, a virtual way to break out of the text', async (t) => {
    const { alice, superuser, roles } = await publishedDatabase(t)
    await alice.run(`${told(roles)}; CREATE TYPE mood AS ENUM ('fine');
      CREATE FUNCTION mood_json(mood) RETURNS json LANGUAGE plpgsql AS $$ BEGIN PERFORM public.told('cast'); RETURN '1'; END $$;
      CREATE CAST (mood AS json) WITH FUNCTION mood_json(mood);
      CREATE TABLE moods (id int PRIMARY KEY, mood mood); INSERT INTO moods VALUES (1, 'fine');
      SELECT millrace.publish('moods', filter := 'public.told(''filter'')'), millrace.publish('moods', 'rows', capture := 'row', filter := 'public.told(''filter'')');
      GRANT INSERT ON moods TO ${roles.bob}; TRUNCATE ran`)
    await superuser.run(
      `SET ROLE ${roles.bob}; SET search_path = public; INSERT INTO moods VALUES (2, 'fine'); RESET ROLE`,
    )
    await superuser.run('INSERT INTO moods VALUES (3, $1)', ['fine'])
    assert.deepEqual((await superuser.run('SELECT DISTINCT what, as_role FROM ran ORDER BY 1')).rows, [
      { what: 'cast', as_role: roles.alice },
      { what: 'filter', as_role: roles.alice },
    ])
  })

  test('also what breaks out of the text of a filter, and nothing of it while publishing', async (t) => {
    const { alice, superuser, roles } = await publishedDatabase(t)
    await alice.run(`${told(roles)}; ${table}`)
    const hostile = [
      `true) IS TRUE LIMIT 0; SELECT public.told('out'); SELECT ((true`,
      `true); PERFORM public.told('out'); PERFORM (SELECT true`,
      `true $body$; SELECT public.told('out'); --`,
    ]
    for (const filter of hostile)
      await alice.refusal('SELECT millrace.publish($1, filter := $2, snapshot := false)', ['t', filter])
    // past the function, as far as the rights to the table of publications go
    for (const [i, filter] of hostile.entries()) {
      await alice.run(
        `INSERT INTO millrace.publication (relation, name, owner, cluster, topic, key_columns, filter, filter_columns, column_numbers,
           envelope, with_schema, truncate, capture)
         VALUES ('t', 'public.t', $1::regrole, 'default', $2, '{id}', $3, '{}', '{"id": 1}', 'row', false, 'delete', 'statement')`,
        [roles.alice, `topic-${i}`, filter],
      )
      await alice.run('SELECT millrace.make_capture(max(id)) FROM millrace.publication')
    }
    const others = await superuser.column(
      `SELECT DISTINCT as_role FROM ran WHERE as_role <> '${roles.alice}'`,
    )
    assert.deepEqual(others, [])
    assert.deepEqual(
      await superuser.column(
        `SELECT DISTINCT proowner::regrole::text FROM pg_proc WHERE proname ~ '^publication \\d+'`,
      ),
      [roles.alice],
    )
    assert.equal(
      await superuser.value(`SELECT has_schema_privilege('${roles.alice}', 'millrace', 'CREATE')`),
      false,
    )
  })
})

describe('nobody else has anything of a publication', () => {
  test('not its function, not its row, not its triggers, not its snapshot', async (t) => {
    const { alice, bob, superuser, roles, lines } = await publishedDatabase(t)
    await alice.run(`${table}; SELECT millrace.publish('t')`)
    await bob.run('CREATE TABLE forged (id int PRIMARY KEY, v text)')
    assert.match(
      String(
        await bob.refusal(
          'CREATE TRIGGER x AFTER INSERT ON forged REFERENCING NEW TABLE AS new_rows EXECUTE FUNCTION millrace."publication 1"()',
        ),
      ),
      /permission denied for function/,
    )
    assert.match(
      String(await bob.refusal(`SELECT * FROM millrace."publication 1 snapshot"('t'::regclass, 0, 1, '{}')`)),
      /permission denied for function/,
    )
    assert.equal(await bob.refusal(`SELECT millrace.unpublish('t')`), 'publication-missing 42704')
    assert.equal(await bob.refusal('SELECT millrace.drop_publication(1)'), 'publication-missing 42704')
    await bob.run('SELECT millrace.forget_publication(1), millrace.make_capture(1)')
    assert.deepEqual(await bob.column('SELECT id FROM millrace.publications'), [])
    const forged = `INSERT INTO millrace.publication (relation, name, owner, cluster, topic, key_columns, filter_columns, column_numbers, envelope,
      with_schema, truncate, capture) VALUES ('forged', 'public.forged', '${roles.alice}', 'default', 'x', '{}', '{}', '{}', 'row', false, 'skip', 'row')`
    assert.match(String(await bob.refusal(forged)), /row-level security/)
    assert.match(String(await bob.refusal(`DELETE FROM millrace.publication`)), /permission denied/)
    // what bob says of himself gives him no topic
    await bob.run(forged.replace(roles.alice, roles.bob))
    assert.equal(
      await bob.refusal(
        `INSERT INTO millrace.outbox_0 (owner, cluster, topic, value) VALUES ('${roles.bob}', 'default', 'x', 'v')`,
      ),
      'topic-not-granted 42501',
    )
    assert.match(
      String(
        await bob.refusal(
          `INSERT INTO millrace.outbox_0 (owner, cluster, topic, value) VALUES ('${roles.alice}', 'default', 'x', 'v')`,
        ),
      ),
      /row-level security/,
    )
    await alice.run(`INSERT INTO t VALUES (1, 'a')`)
    assert.deepEqual(await lines(), ['1={"id":1,"v":"a"}'])
    assert.equal(await superuser.value('SELECT count(*)::int FROM millrace.outbox'), 1)
  })

  test('a role that the daemon cannot act as publishes nothing', async (t) => {
    const { bob, owner, roles } = await publishedDatabase(t)
    await owner.run(`SELECT millrace.grant_topic('*', '${roles.bob}', action := 'produce')`)
    await bob.run(table)
    assert.equal(await bob.refusal(`SELECT millrace.publish('t')`), 'role-not-served 42501')
  })
})

test('a grant that is taken back stops writes, says so, and can be given again', async (t) => {
  const { alice, owner, roles, lines, problems, superuser } = await publishedDatabase(t)
  await alice.run(`${table}; SELECT millrace.publish('t')`)
  await owner.run(`SELECT millrace.revoke_topic('*', '${roles.alice}')`)
  assert.deepEqual(await problems(), ['topic-not-granted'])
  assert.equal(await alice.refusal(`INSERT INTO t VALUES (1, 'a')`), 'topic-not-granted 42501')
  assert.equal(await superuser.value('SELECT count(*)::int FROM t'), 0)
  await owner.run(`SELECT millrace.grant_topic('public.t', '${roles.alice}', action := 'produce')`)
  await alice.run(`INSERT INTO t VALUES (1, 'a')`)
  assert.deepEqual(await lines(), ['1={"id":1,"v":"a"}'])
  await owner.run(`SELECT millrace.revoke_topic('public.t', '${roles.alice}')`)
  await alice.run(`SELECT millrace.unpublish('t'); INSERT INTO t VALUES (2, 'b')`)
  assert.deepEqual(await lines(), [])
})

test('F36 a hostile schema and hostile settings on the path of the writer', async (t) => {
  const { alice, bob, superuser, roles, lines } = await publishedDatabase(t)
  await alice.run(`${table}; SELECT millrace.publish('t'); GRANT INSERT ON t TO ${roles.bob}`)
  await superuser.run(`CREATE SCHEMA hostile AUTHORIZATION ${roles.bob}`)
  await bob.run(`CREATE FUNCTION hostile.convert_to(text, name) RETURNS bytea LANGUAGE sql AS 'SELECT ''fooled''::bytea';
    CREATE FUNCTION hostile.row_to_json(anyelement) RETURNS json LANGUAGE sql AS 'SELECT ''"fooled"''::json';
    CREATE TEMPORARY TABLE new_rows (id int, v text); SET search_path = hostile, pg_temp, pg_catalog; INSERT INTO public.t VALUES (1, 'a')`)
  assert.deepEqual(await lines(), ['1={"id":1,"v":"a"}'])
})

for (const capture of ['statement', 'row']) {
  test(`F38 captured by ${capture}, a new owner of a table cannot act as the former one`, async (t) => {
    const { alice, bob, superuser, roles } = await publishedDatabase(t)
    await alice.run(`CREATE TYPE mood AS ENUM ('fine'); CREATE TABLE moods (id int PRIMARY KEY, mood mood);
      CREATE TABLE ran (as_role text); GRANT INSERT ON ran TO PUBLIC; SELECT millrace.publish('moods', capture := '${capture}')`)
    await superuser.run(
      `ALTER TYPE mood OWNER TO ${roles.bob}; ALTER TABLE moods OWNER TO ${roles.bob}; GRANT CREATE ON SCHEMA public TO ${roles.bob}`,
    )
    await bob.run(`SET search_path = public; CREATE FUNCTION told(mood) RETURNS json LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO public.ran VALUES (current_user); RETURN '1'; END $$;
      CREATE CAST (mood AS json) WITH FUNCTION told(mood)`)
    await assert.rejects(bob.run(`INSERT INTO moods VALUES (1, 'fine')`), /belongs to another role/)
    assert.deepEqual(await superuser.column('SELECT as_role FROM ran'), [])
  })
}

for (const [kind, table, column] of [
  ['table', 'CREATE TABLE moods (id int PRIMARY KEY, mood mood)', 'mood'],
  [
    'partitioned table',
    'CREATE TABLE moods (id int PRIMARY KEY, mood mood) PARTITION BY RANGE (id); CREATE TABLE part PARTITION OF moods DEFAULT',
    'mood',
  ],
  ['table that gets such a column later', 'CREATE TABLE moods (id int PRIMARY KEY)', null],
  [
    'partitioned table that gets such a column later',
    'CREATE TABLE moods (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE part PARTITION OF moods DEFAULT',
    null,
  ],
] as const) {
  for (const within of ['session', 'transaction'])
    test(`F38 nor in a ${within} that has written to the ${kind} by row before`, async (t) => {
      const { alice, superuser, roles } = await publishedDatabase(t)
      await alice.run(`CREATE TYPE mood AS ENUM ('fine'); ${table}; CREATE TABLE ran (as_role text); GRANT INSERT ON ran TO PUBLIC;
        SELECT millrace.publish('moods', capture := 'row', snapshot := false); GRANT INSERT ON moods TO ${roles.bob}`)
      await superuser.run(`GRANT CREATE ON SCHEMA public TO ${roles.bob}; SET search_path = public;
        SET ROLE ${roles.bob}; ${within === 'transaction' ? 'BEGIN;' : ''} INSERT INTO moods (id) VALUES (1), (2); RESET ROLE`)
      await superuser.run(`ALTER TYPE mood OWNER TO ${roles.bob}; ALTER TABLE moods OWNER TO ${roles.bob}; SET ROLE ${roles.bob};
        CREATE FUNCTION told(mood) RETURNS json LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.ran VALUES (current_user); RETURN '1'; END $$;
        CREATE CAST (mood AS json) WITH FUNCTION told(mood)`)
      if (column === null)
        await superuser.run(`RESET ROLE; ALTER TABLE moods ADD COLUMN mood mood; SET ROLE ${roles.bob}`)
      await assert.rejects(superuser.run(`INSERT INTO moods VALUES (3, 'fine')`), /belongs to another role/)
      await superuser.run('ROLLBACK; RESET ROLE')
      assert.deepEqual(await superuser.column('SELECT as_role FROM ran'), [])
    })
}
