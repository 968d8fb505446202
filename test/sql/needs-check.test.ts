// Every batch asks whether its relation has to be locked and checked. The answer no is for what the daemon's role
// has for itself; whatever brings in somebody else, before or after the consumer began, changes it to yes.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ownedDatabase } from '../support/owned-database.ts'

async function prepared(t: Parameters<typeof ownedDatabase>[0]) {
  const db = await ownedDatabase(t)
  const owner = await db.as(db.roles.owner)
  const alice = await db.as(db.roles.alice)
  await owner.run(`CREATE TABLE target (id bigserial PRIMARY KEY, a int NOT NULL, b text DEFAULT 'x',
      c timestamptz DEFAULT now(), d uuid DEFAULT gen_random_uuid(), e int GENERATED ALWAYS AS (a * 2) STORED);
    CREATE INDEX ON target (b)`)
  await alice.run('CREATE TABLE hers (a int)')
  const asked = (role: string, name = 'target', schema = 'public'): Promise<unknown> =>
    db.superuser.value('SELECT millrace.needs_check($1, $2, (SELECT oid FROM pg_roles WHERE rolname = $3))', [
      schema,
      name,
      role,
    ])
  return { ...db, owner, alice, asked }
}

test('a plain table of the daemon’s role needs no check for a consumer of that role or a superuser', async (t) => {
  const { asked, roles, superuser } = await prepared(t)
  assert.equal(await asked(roles.owner), false)
  assert.equal(await asked(String(await superuser.value('SELECT current_user'))), false)
})

test('a check is needed for others, and for what is not there', async (t) => {
  const { asked, roles } = await prepared(t)
  assert.equal(await asked(roles.alice), true)
  assert.equal(await asked(roles.admin), true)
  assert.equal(await asked(roles.owner, 'hers'), true)
  assert.equal(await asked(roles.owner, 'missing'), true)
  assert.equal(await asked(roles.owner, 'target', 'no_schema'), true)
})

test('a check is needed after whatever could have changed hands', async (t) => {
  const { asked, superuser, database, roles } = await prepared(t)
  const { owner, alice, bob } = roles
  const code = `CREATE FUNCTION code() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION fires() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';`
  const changes = [
    `GRANT TRIGGER ON target TO ${alice}`,
    'GRANT TRIGGER ON target TO PUBLIC',
    `GRANT ALL ON target TO ${alice}`,
    `${code} CREATE TRIGGER t BEFORE INSERT ON target FOR EACH ROW EXECUTE FUNCTION fires()`,
    'ALTER TABLE target ADD FOREIGN KEY (e) REFERENCES target',
    `ALTER TABLE target OWNER TO ${alice}`,
    `ALTER SCHEMA public OWNER TO ${alice}`,
    `ALTER DATABASE ${database.name} OWNER TO ${bob}`,
    'ALTER TABLE target ADD CHECK (a > 0)',
    `${code} ALTER TABLE target ALTER a SET DEFAULT code()`,
    `${code} CREATE INDEX ON target ((a + code()))`,
    `${code} CREATE INDEX ON target (a) WHERE a > code()`,
    'ALTER TABLE target ADD EXCLUDE USING btree (a WITH =)',
    'CREATE DOMAIN dom AS int; ALTER TABLE target ADD f dom',
    `CREATE TYPE mood AS ENUM ('good'); ALTER TABLE target ADD f mood`,
    `CREATE DOMAIN dom AS text; ALTER TABLE target ALTER b SET DEFAULT ('x'::dom)::text`,
    'ALTER TABLE target ENABLE ROW LEVEL SECURITY',
    'ALTER SEQUENCE target_id_seq OWNED BY NONE; ALTER TABLE target SET UNLOGGED',
    `CREATE TABLE whole (LIKE target INCLUDING GENERATED) PARTITION BY LIST (a); ALTER TABLE whole OWNER TO ${alice};
      ALTER TABLE whole ATTACH PARTITION target DEFAULT`,
    'DROP TABLE target; CREATE VIEW target AS SELECT 1 AS a',
    'DROP TABLE target; CREATE TABLE target (a int) PARTITION BY LIST (a)',
  ]
  for (const change of changes) {
    await superuser.run('BEGIN')
    await superuser.run(change)
    assert.equal(await asked(owner), true, change)
    await superuser.run('ROLLBACK')
    assert.equal(await asked(owner), false)
  }
  await superuser.run(`GRANT SELECT, INSERT, UPDATE, DELETE ON target TO ${alice}; ANALYZE target`)
  assert.equal(await asked(owner), false)
})

test('the answer takes a fraction of a millisecond', async (t) => {
  const { owner, roles } = await prepared(t)
  await owner.run(`DO $$ BEGIN FOR i IN 1..200 LOOP
    EXECUTE format('CREATE TABLE other_%s (a int DEFAULT 1, b timestamptz DEFAULT now())', i); END LOOP; END $$`)
  const microseconds = await owner.run(`
    CREATE FUNCTION took() RETURNS numeric LANGUAGE plpgsql AS $$
      DECLARE begun timestamptz := clock_timestamp();
      BEGIN
        FOR i IN 1..100 LOOP PERFORM millrace.needs_check('public', 'target', '${roles.owner}'::regrole); END LOOP;
        RETURN extract(epoch FROM clock_timestamp() - begun) * 1e4;
      END $$;
    SELECT min(took()) AS each FROM generate_series(1, 21)`)
  const each = Number(microseconds.rows[0]!.each)
  t.diagnostic(`${each} microseconds`)
  assert.ok(each < 200, `${each} microseconds`)
})
