// The extension holds the same objects as the installation over a connection, word for word, and each can take
// the place of the other without touching the core's data.

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { connect } from '../../src/postgres/connection.ts'
import { installDialect } from '../../src/postgres/dialect.ts'
import { extensionFiles } from '../../src/postgres/extension.ts'
import { dialectNames, readDialect } from '../../src/postgres/sql-folder.ts'
import { millrace } from '../support/millrace.ts'
import { type OwnedDatabase, ownedDatabase, type RoleSession } from '../support/owned-database.ts'

const folder = join(import.meta.dirname, '../../extension')

const dialects = dialectNames().map(readDialect)

/** Of a dialect's schema, and of what is in public. */
const definitionsOf = (schema: string): string => `
  SELECT pg_get_functiondef(p.oid) || coalesce(obj_description(p.oid, 'pg_proc'), '') || coalesce(proacl::text, '') AS text
  FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = pronamespace WHERE nspname IN ('public', '${schema}')
  UNION ALL
  SELECT c.oid::regclass || coalesce(reloptions::text, '') || pg_get_viewdef(c.oid) || relacl::text
      || obj_description(c.oid, 'pg_class')
      || (SELECT string_agg(attname || col_description(c.oid, attnum), '|' ORDER BY attnum) FROM pg_attribute WHERE attrelid = c.oid)
      || coalesce((SELECT string_agg(pg_get_triggerdef(t.oid), '|') FROM pg_trigger AS t WHERE tgrelid = c.oid), '')
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace WHERE nspname IN ('public', '${schema}')
  ORDER BY 1`

/** With the core and without any dialect that can be created as an extension. */
async function withoutDialect(
  t: Parameters<typeof ownedDatabase>[0],
): Promise<OwnedDatabase & { owner: RoleSession }> {
  const db = await ownedDatabase(t)
  const owner = await db.as(db.roles.owner)
  for (const { extension, objects } of dialects) {
    const drops = [...objects].reverse().map((object) => `DROP ${object};`)
    await owner.run(`${drops.join('\n')} DROP SCHEMA ${extension}`)
  }
  return { ...db, owner }
}

const membersOf = (
  extension: string,
): string => `SELECT count(*)::int FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
  AND classid IN ('pg_proc'::regclass, 'pg_class'::regclass)
  AND refobjid = (SELECT oid FROM pg_extension WHERE extname = '${extension}')`
const members = membersOf('pipeline_kafka')

test('extension/ is what scripts/build-extension.ts makes', () => {
  const made = extensionFiles()
  assert.deepEqual(readdirSync(folder).sort(), made.map(({ name }) => name).sort())
  for (const { name, text } of made) assert.equal(readFileSync(join(folder, name), 'utf8'), text, name)
})

for (const { extension, objects } of dialects) {
  test(`the script of ${extension} makes what its list says, and nothing else`, async (t) => {
    const { owner } = await withoutDialect(t)
    await owner.run(`CREATE EXTENSION ${extension}`)
    const made = await owner.column(`
    SELECT upper(i.type) || ' ' || CASE i.type WHEN 'function' THEN replace(replace(i.identity, ',', ', '), 'pg_catalog.', '') ELSE i.identity END
    FROM pg_depend AS d, pg_identify_object(d.classid, d.objid, d.objsubid) AS i
    WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND i.type IN ('function', 'view')
      AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = '${extension}')`)
    assert.deepEqual(made.sort(), [...objects].sort())
  })

  test(`CREATE EXTENSION ${extension} by the owner of the database makes the same objects, word for word`, async (t) => {
    const { owner } = await withoutDialect(t)
    const definitions = definitionsOf(extension)
    await owner.run(`CREATE EXTENSION ${extension}`)
    const asExtension = await owner.column(definitions)
    assert.ok(asExtension.length >= objects.length)
    await owner.run(`DROP EXTENSION ${extension}`)
    assert.deepEqual(await owner.column(definitions), [])
    await owner.run(`CREATE EXTENSION ${extension}`)
    await owner.run(`DROP SCHEMA ${extension} CASCADE`)
    assert.deepEqual(await owner.column(definitions), [])
    assert.deepEqual(await owner.column(`SELECT FROM pg_extension WHERE extname = '${extension}'`), [])
    const plain = await withoutDialect(t)
    const client = await connect(plain.database.url)
    t.after(() => client.end())
    await installDialect(client, dialects.find((dialect) => dialect.extension === extension)!.name)
    const overConnection = await plain.owner.column(definitions)
    const anonymous = (texts: unknown[]): string =>
      texts.join('\n').replaceAll(/(app|admin)_[0-9a-f]{8}/g, 'owner')
    assert.equal(anonymous(asExtension), anonymous(overConnection))
  })
}

test('CREATE EXTENSION works from a hostile search_path', async (t) => {
  const { owner, superuser } = await withoutDialect(t)
  await superuser.run(`CREATE SCHEMA hostile; GRANT USAGE ON SCHEMA hostile TO PUBLIC;
    CREATE FUNCTION hostile.to_regclass(text) RETURNS regclass LANGUAGE plpgsql AS $$ BEGIN RAISE 'fooled'; END $$;
    CREATE FUNCTION hostile.equal(name, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'fooled'; END $$;
    CREATE OPERATOR hostile.= (LEFTARG = name, RIGHTARG = text, FUNCTION = hostile.equal)`)
  await owner.run(
    'SET search_path = hostile, pg_catalog; CREATE EXTENSION pipeline_kafka; CREATE EXTENSION kafka',
  )
})

test('CREATE EXTENSION without the core says which command installs it', async (t) => {
  const { as, roles } = await ownedDatabase(t, { installed: false })
  const owner = await as(roles.owner)
  assert.equal(await owner.refusal('CREATE EXTENSION pipeline_kafka'), 'schema-missing 55000')
  // Somebody else's schema of that name is not given a chance to run anything.
  await owner.run(`CREATE SCHEMA millrace; CREATE FUNCTION millrace.boom() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE 'ran'; END $$;
    CREATE VIEW millrace.migration AS SELECT millrace.boom() AS version`)
  assert.equal(await owner.refusal('CREATE EXTENSION pipeline_kafka'), 'schema-missing 55000')
})

test('CREATE EXTENSION with an older core says so', async (t) => {
  const { owner } = await withoutDialect(t)
  await owner.run('UPDATE millrace.migration SET version = 0')
  assert.equal(await owner.refusal('CREATE EXTENSION pipeline_kafka'), 'schema-older 55000')
})

for (const who of ['owner', 'superuser'] as const) {
  test(`CREATE EXTENSION by the ${who} takes over what was installed over a connection`, async (t) => {
    const db = await ownedDatabase(t)
    const owner = await db.as(db.roles.owner)
    await owner.run(`SELECT pipeline_kafka.add_broker('localhost:9092'); CREATE TABLE t (a int);
      SELECT pipeline_kafka.consume_begin('topic', 't'); CREATE VIEW mine AS SELECT * FROM pipeline_kafka.consumers;
      GRANT SELECT ON mine TO PUBLIC`)
    await (who === 'owner' ? owner : db.superuser).run('CREATE EXTENSION pipeline_kafka')
    assert.equal(await owner.value(members), readDialect('pipeline_kafka').objects.length)
    assert.equal(await owner.value('SELECT relation FROM mine'), 't')
    assert.equal(await owner.value(`SELECT pipeline_kafka.consume_end('topic', 't')`), 'success')
  })
}

test('DROP EXTENSION leaves the core and its data, and the dialect can come back', async (t) => {
  const { owner } = await withoutDialect(t)
  await owner.run(`CREATE EXTENSION pipeline_kafka; SELECT pipeline_kafka.add_broker('localhost:9092');
    CREATE TABLE t (a int); SELECT pipeline_kafka.consume_begin('topic', 't'); DROP EXTENSION pipeline_kafka`)
  assert.deepEqual(await owner.column('SELECT target FROM millrace.consumers'), ['public.t'])
  await owner.run('CREATE EXTENSION pipeline_kafka')
  assert.deepEqual(await owner.column('SELECT relation FROM pipeline_kafka.consumers'), ['t'])
})

test('objects of somebody else in its place are not taken over', async (t) => {
  const { owner, as, roles, superuser } = await withoutDialect(t)
  const bob = await as(roles.bob)
  await bob.run(`CREATE FUNCTION public.kafka_consume_end() RETURNS text LANGUAGE sql AS $$ SELECT 'trap' $$`)
  assert.equal(await owner.refusal('CREATE EXTENSION pipeline_kafka'), 'dialect-name-taken 42710')
  assert.equal(await superuser.refusal('CREATE EXTENSION pipeline_kafka'), 'dialect-name-taken 42710')
  await bob.run('DROP FUNCTION public.kafka_consume_end()')
  await superuser.run(`CREATE SCHEMA pipeline_kafka AUTHORIZATION ${roles.bob}`)
  for (const session of [superuser, owner]) {
    assert.equal(await session.refusal('CREATE EXTENSION pipeline_kafka'), 'dialect-name-taken 42710')
  }
})

test('millrace install leaves an extension as it is, uninstall drops it', async (t) => {
  const { owner, superuser, database, roles } = await withoutDialect(t)
  await owner.run('CREATE EXTENSION pipeline_kafka')
  await superuser.run(`ALTER ROLE ${roles.owner} PASSWORD 'secret-of-test'`)
  const url = database.urlAs(roles.owner, 'secret-of-test')
  const installed = await millrace(['install', '--all', '--database', url])
  assert.match(installed.stdout, /dialect pipeline_kafka: is there as an extension, left as it is/)
  assert.equal(await owner.value(members), readDialect('pipeline_kafka').objects.length)
  const removed = await millrace(['uninstall', '--database', url])
  assert.match(removed.stdout, /dialect pipeline_kafka: removed \(it was an extension\)/)
  assert.deepEqual(
    await owner.column(`SELECT nspname FROM pg_namespace WHERE nspname IN ('millrace', 'pipeline_kafka')`),
    [],
  )
})
