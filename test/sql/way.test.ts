// Which relations are loaded by way of a staging table, what that takes, and what neither way can load.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ownedDatabase } from '../support/owned-database.ts'

async function prepared(t: Parameters<typeof ownedDatabase>[0]) {
  const db = await ownedDatabase(t)
  const owner = await db.as(db.roles.owner)
  const alice = await db.as(db.roles.alice)
  await owner.run(
    `SELECT millrace.add_cluster('default', 'localhost'), millrace.grant_topic('topic', '${db.roles.alice}')`,
  )
  const way = async (name: string, role = db.roles.alice, staged = false): Promise<string> => {
    const { rows } = await owner.run(
      'SELECT way, code FROM millrace.loading_way($1, $2, (SELECT oid FROM pg_roles WHERE rolname = $3), $4)',
      ['public', name, role, staged],
    )
    assert.equal(rows.length, 1)
    return [rows[0]!.way, rows[0]!.code].filter((part) => part !== null).join(' ')
  }
  return { ...db, owner, alice, way }
}

describe('loading_way', () => {
  test('is direct where nothing is in the way and nothing else was asked for', async (t) => {
    const { alice, way } = await prepared(t)
    await alice.run('CREATE TABLE t (a int)')
    assert.equal(await way('t'), 'direct')
    assert.equal(await way('t', undefined, true), 'staged')
    assert.equal(await way('missing', undefined, true), 'refused relation-missing')
  })

  test('of nothing, or for nobody, is refused with a code', async (t) => {
    const { owner, alice, roles } = await prepared(t)
    await alice.run('CREATE TABLE t (a int)')
    const refusal = (args: string) => owner.refusal(`SELECT millrace.loading_way(${args})`)
    const role = `'${roles.alice}'::regrole`
    assert.equal(await refusal(`NULL, 't', ${role}`), 'relation-missing 42P01')
    assert.equal(await refusal(`'public', NULL, ${role}`), 'relation-missing 42P01')
    assert.equal(await refusal(`'public', 't', NULL`), 'role-missing 42704')
    assert.equal(await refusal(`'public', 't', 1`), 'role-missing 42704')
    const { rows } = await owner.run(`SELECT way FROM millrace.loading_way('public', 't', ${role}, NULL)`)
    assert.deepEqual(rows, [{ way: 'direct' }])
  })

  test('is staged for row-level security, for an ordinary role’s code, and without a right to lock', async (t) => {
    const { owner, alice, way, roles } = await prepared(t)
    await owner.run(`CREATE TABLE policies (a int); ALTER TABLE policies ENABLE ROW LEVEL SECURITY;
      CREATE POLICY p ON policies USING (a > 0); GRANT INSERT ON policies TO ${roles.alice}`)
    assert.equal(await way('policies'), 'staged relation-row-security')
    await alice.run(`CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
      CREATE TABLE triggered (a int); CREATE TRIGGER t AFTER INSERT ON triggered FOR EACH ROW EXECUTE FUNCTION f();
      CREATE TABLE hers (a int); GRANT INSERT ON hers TO ${roles.bob}`)
    assert.equal(await way('triggered'), 'staged relation-runs-code')
    assert.equal(await way('hers', roles.bob), 'staged lock-denied')
  })

  test('of a view is staged where the view updates its one table', async (t) => {
    const { alice, way } = await prepared(t)
    await alice.run(`CREATE TABLE t (a int, b int); CREATE UNLOGGED TABLE u (a int);
      CREATE VIEW simple AS SELECT a FROM t WHERE b > 0 WITH CHECK OPTION; CREATE VIEW nested AS SELECT a FROM simple;
      CREATE VIEW grouped AS SELECT a FROM t GROUP BY a; CREATE VIEW joined AS SELECT t.a FROM t, t AS s;
      CREATE VIEW unsafe AS SELECT a FROM u; CREATE VIEW unsafe_too AS SELECT a FROM unsafe`)
    for (const name of ['simple', 'nested'])
      assert.equal(await way(name), 'staged view-without-trigger', name)
    for (const name of ['grouped', 'joined'])
      assert.equal(await way(name), 'refused view-without-trigger', name)
    for (const name of ['unsafe', 'unsafe_too'])
      assert.equal(await way(name), 'refused relation-unlogged', name)
  })

  test('staged needs the right to make temporary tables', async (t) => {
    const { superuser, owner, alice, way, database, roles } = await prepared(t)
    await owner.run(`CREATE TABLE t (a int PRIMARY KEY); GRANT ALL ON t TO ${roles.alice}`)
    await superuser.run(`REVOKE TEMPORARY ON DATABASE ${database.name} FROM PUBLIC`)
    assert.equal(await way('t'), 'direct')
    assert.equal(await way('t', undefined, true), 'refused owner-needs-temp')
    const consume = (rest: string): string => `SELECT millrace.consume('topic', 't'${rest})`
    for (const rest of [
      `, mode := 'upsert'`,
      `, mode := 'changes'`,
      `, transform := 'SELECT 1'`,
      `, on_error := 'skip'`,
      `, on_error := 'dead_letter'`,
    ]) {
      assert.equal(await alice.refusal(consume(rest)), 'owner-needs-temp 42501', rest)
    }
    assert.equal(
      await alice.refusal(`SELECT millrace.consume('topic', route_by_key := true)`),
      'owner-needs-temp 42501',
    )
    assert.equal(await alice.refusal(consume('')), null)
    await superuser.run(`GRANT TEMPORARY ON DATABASE ${database.name} TO ${roles.alice}`)
    await alice.run(`SELECT millrace.alter_consumer(millrace.consumer_id('topic', 't'), mode := 'upsert')`)
    assert.equal(await alice.value('SELECT way FROM millrace.consumers'), 'staged')
  })

  // Before 18 such a trigger fires with whatever role there is at COMMIT: the daemon's. From 18 on it can leave a cursor
  // for COMMIT to fill.
  test('F38 deferred code of others is refused where it would run as the daemon', async (t) => {
    const { alice, way, roles } = await prepared(t)
    await alice.run(`CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
      CREATE TABLE t (a int); CREATE CONSTRAINT TRIGGER c AFTER INSERT ON t DEFERRABLE FOR EACH ROW EXECUTE FUNCTION f();
      CREATE TABLE x (a int, EXCLUDE USING btree ((a + 1) WITH =) DEFERRABLE); CREATE VIEW v AS SELECT * FROM t;
      CREATE TABLE p (a int) PARTITION BY LIST (a); CREATE TABLE part PARTITION OF p DEFAULT;
      CREATE CONSTRAINT TRIGGER c AFTER INSERT ON part DEFERRABLE FOR EACH ROW EXECUTE FUNCTION f();
      CREATE TABLE plain (a int UNIQUE DEFERRABLE)`)
    const refused = 'refused relation-defers-code'
    for (const name of ['t', 'v', 'p']) assert.equal(await way(name), refused)
    assert.equal(await way('x', undefined, true), refused)
    assert.equal(await way('plain', undefined, true), 'staged')
    // and what a trigger wrote to elsewhere is found before the COMMIT
    await alice.run('BEGIN; INSERT INTO t VALUES (1)')
    const found = await alice.column(`SELECT code FROM millrace.deferred_code('${roles.alice}'::regrole)`)
    assert.deepEqual(found, ['relation-defers-code'])
    await alice.run('ROLLBACK; BEGIN; SELECT * FROM t; INSERT INTO plain VALUES (1)')
    assert.deepEqual(
      await alice.column(`SELECT code FROM millrace.deferred_code('${roles.alice}'::regrole)`),
      [],
    )
    await alice.run('ROLLBACK')
  })
})

test('a consumer is begun as staged, with the reason, and as direct again when that is gone', async (t) => {
  const { owner, alice, roles } = await prepared(t)
  await owner.run(
    `CREATE TABLE t (a int); ALTER TABLE t ENABLE ROW LEVEL SECURITY; GRANT INSERT, DELETE ON t TO ${roles.alice}`,
  )
  await alice.run(`SELECT millrace.consume('topic', 't')`)
  const seen = async (): Promise<unknown[]> =>
    Object.values((await alice.run('SELECT way, way_reason FROM millrace.consumers')).rows[0]!)
  assert.deepEqual(await seen(), [
    'staged',
    `relation-row-security: public.t is under row-level security for role ${roles.alice}`,
  ])
  await owner.run('ALTER TABLE t DISABLE ROW LEVEL SECURITY')
  await alice.run('SELECT millrace.pause(id), millrace.resume(id) FROM millrace.consumers')
  assert.deepEqual(await seen(), ['direct', null])
})

test('upsert and changes need the rights that they use', async (t) => {
  const { owner, alice, roles } = await prepared(t)
  await owner.run(`CREATE TABLE t (a int PRIMARY KEY, b int); GRANT INSERT ON t TO ${roles.alice}`)
  const begin = (rest: string): string => `SELECT millrace.consume('topic', 't', ${rest})`
  for (const right of ['SELECT', 'UPDATE']) {
    assert.equal(
      await alice.refusal(begin(`mode := 'upsert', tombstone := 'skip'`)),
      'write-denied 42501',
      right,
    )
    await owner.run(`GRANT ${right} ON t TO ${roles.alice}`)
  }
  assert.equal(await alice.refusal(begin(`mode := 'upsert'`)), 'write-denied 42501')
  assert.equal(await alice.refusal(begin(`mode := 'changes'`)), 'write-denied 42501')
  assert.equal(await alice.refusal(begin(`mode := 'upsert', tombstone := 'skip'`)), null)
  await owner.run(`GRANT DELETE ON t TO ${roles.alice}`)
  assert.equal(
    await alice.refusal(`SELECT millrace.alter_consumer(id, reset := '{tombstone}') FROM millrace.consumers`),
    null,
  )
})

test('key_columns finds the key that ON CONFLICT can use', async (t) => {
  const { owner } = await prepared(t)
  const key = async (sql: string, asked: string | null): Promise<unknown> => {
    await owner.run(`BEGIN; ${sql}`)
    const found = await owner.value(`SELECT millrace.key_columns('t'::regclass, $1::text[])`, [asked])
    await owner.run('ROLLBACK')
    return found
  }
  const cases: [string, string | null, string[] | null][] = [
    ['CREATE TABLE t (a int, b int, PRIMARY KEY (b, a))', null, ['b', 'a']],
    ['CREATE TABLE t (a int, b int, PRIMARY KEY (b, a))', '{a,b}', ['b', 'a']],
    ['CREATE TABLE t (a int, b int, PRIMARY KEY (b, a))', '{a}', null],
    ['CREATE TABLE t (a int PRIMARY KEY, b int, c int, UNIQUE (b) INCLUDE (c))', '{b}', ['b']],
    ['CREATE TABLE t (a int UNIQUE)', null, null],
    ['CREATE TABLE t (a int PRIMARY KEY DEFERRABLE)', null, null],
    ['CREATE TABLE t (a int); CREATE UNIQUE INDEX ON t ((a + 1))', '{a}', null],
    ['CREATE TABLE t (a int); CREATE UNIQUE INDEX ON t (a) WHERE a > 0', '{a}', null],
    ['CREATE TABLE t (a int); CREATE INDEX ON t (a)', '{a}', null],
    ['CREATE TABLE t (a int PRIMARY KEY) PARTITION BY LIST (a)', null, ['a']],
  ]
  for (const [sql, asked, expected] of cases)
    assert.deepEqual(await key(sql, asked), expected, `${sql} ${asked}`)
})

test('staging_type lets the daemon read no code of users', async (t) => {
  const { owner } = await prepared(t)
  await owner.run(`CREATE DOMAIN d AS varchar(10) CHECK (VALUE <> ''); CREATE DOMAIN dd AS d; CREATE TYPE c AS (x d);
    CREATE TYPE e AS ENUM ('a'); CREATE TYPE r AS RANGE (subtype = d);
    CREATE TABLE t (i int, n numeric(9,2), v varchar(3), a int[], d d, dd dd, da d[], c c, ca c[], e e, ea e[], r r, j jsonb)`)
  const { rows } =
    await owner.run(`SELECT attname, millrace.staging_type(atttypid, atttypmod) AS type FROM pg_attribute
    WHERE attrelid = 't'::regclass AND attnum > 0 ORDER BY attnum`)
  assert.deepEqual(Object.fromEntries(rows.map(({ attname, type }) => [attname, type])), {
    ...{ i: 'integer', n: 'numeric(9,2)', v: 'character varying(3)', a: 'integer[]' },
    ...{ d: 'character varying(10)', dd: 'character varying(10)', da: 'text', c: 'text', ca: 'text' },
    ...{ e: 'public.e', ea: 'public.e[]', r: 'text', j: 'jsonb' },
  })
})
