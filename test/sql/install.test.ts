// Installing, upgrading and uninstalling as a plain owner of a database, any number of times, by several at once.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { dumpFile, dumpSchema } from '../../scripts/dump-schema.ts'
import { connect } from '../../src/postgres/connection.ts'
import { installDialect } from '../../src/postgres/dialect.ts'
import { extensionFiles } from '../../src/postgres/extension.ts'
import { checkSchema, upgradeSchema } from '../../src/postgres/schema.ts'
import { millrace } from '../support/millrace.ts'
import { type OwnedDatabase, ownedDatabase } from '../support/owned-database.ts'

/** The owner logs in with its name: the program connects as a plain owner. */
async function emptyDatabase(t: Parameters<typeof ownedDatabase>[0]) {
  const db = await ownedDatabase(t, { installed: false })
  await db.superuser.run(`ALTER ROLE ${db.roles.owner} PASSWORD 'secret-of-test'`)
  const url = db.database.urlAs(db.roles.owner, 'secret-of-test')
  const run = async (...args: string[]): Promise<string[]> => {
    const { stdout } = await millrace([args[0]!, '--database', url, ...args.slice(1)])
    return stdout.trimEnd().split('\n')
  }
  return { ...db, url, run }
}

async function names({ superuser }: OwnedDatabase): Promise<unknown[]> {
  return superuser.column(`SELECT n.nspname || '.' || c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
    WHERE nspname IN ('millrace', 'pipeline_kafka', 'kafka', 'public')
    UNION ALL SELECT p.oid::regprocedure::text FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = pronamespace
    WHERE nspname IN ('millrace', 'pipeline_kafka', 'kafka', 'public')
    UNION ALL SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 1`)
}

describe('millrace install', () => {
  test('installs as a plain owner, says what it did, and may be repeated', async (t) => {
    const { run, roles, as } = await emptyDatabase(t)
    const worksAs = `the daemon works as role ${roles.owner}`
    assert.deepEqual(await run('install'), ['schema millrace: installed, version 1', worksAs])
    assert.deepEqual(await run('install', '--all'), [
      'schema millrace: up to date, version 1',
      'dialect pg2kafka: installed',
      'dialect pg_kafka: installed',
      'dialect pipeline_kafka: installed',
      worksAs,
    ])
    const owner = await as(roles.owner)
    await owner.run(`SELECT pipeline_kafka.add_broker('localhost'); CREATE TABLE t (a int);
      SELECT pipeline_kafka.consume_begin('topic', 't'); CREATE VIEW mine AS SELECT * FROM pipeline_kafka.consumers`)
    assert.deepEqual(await run('install', '--dialect', 'pipeline_kafka', '--dialect', 'pipeline_kafka'), [
      'schema millrace: up to date, version 1',
      'dialect pipeline_kafka: was installed, renewed',
      worksAs,
    ])
    assert.equal(await owner.value('SELECT count(*)::int FROM mine'), 1)
    assert.equal(
      await owner.value(
        `SELECT count(*)::int FROM pg_class AS c JOIN pg_roles AS r ON r.oid = relowner
        WHERE relnamespace IN ('millrace'::regnamespace, 'pipeline_kafka'::regnamespace) AND rolname <> $1`,
        [roles.owner],
      ),
      0,
    )
  })

  test('by a superuser leaves everything to the role that owns the schema', async (t) => {
    const db = await emptyDatabase(t)
    await db.run('install')
    await millrace(['install', '--all', '--database', db.database.url])
    assert.deepEqual(
      await db.superuser.column(`SELECT DISTINCT pg_get_userbyid(proowner) FROM pg_proc
        WHERE pronamespace IN ('millrace'::regnamespace, 'pipeline_kafka'::regnamespace)`),
      [db.roles.owner],
    )
  })

  test('warns when the daemon would be a superuser', async (t) => {
    const { database } = await ownedDatabase(t, { installed: false })
    const { stdout } = await millrace(['install', '--database', database.url])
    assert.match(stdout, /a superuser: in production/)
  })

  test('several at once make one installation', async (t) => {
    const { url, superuser } = await emptyDatabase(t)
    const installs = Array.from({ length: 4 }, async () => {
      const client = await connect(url)
      try {
        const change = await upgradeSchema(client)
        await installDialect(client, 'pipeline_kafka')
        return change.from
      } finally {
        await client.end()
      }
    })
    assert.deepEqual((await Promise.all(installs)).sort(), [1, 1, 1, null])
    assert.equal(await superuser.value('SELECT count(*)::int FROM millrace.migration'), 1)
    assert.equal(await superuser.value('SELECT count(*)::int FROM millrace.installation'), 1)
  })

  test('refuses a newer schema, and leaves it as it is', async (t) => {
    const { url, superuser, database } = await emptyDatabase(t)
    await millrace(['install', '--database', url])
    await superuser.run(`INSERT INTO millrace.migration (version, name) VALUES (9999, 'future')`)
    const { stderr } = await millrace(['install', '--database', url], { expect: 4 })
    assert.match(stderr, /^millrace: schema-newer: .* 9999, /)
    const client = await connect(database.url)
    t.after(() => client.end())
    await assert.rejects(checkSchema(client), { code: 'schema-newer' })
    await superuser.run('DELETE FROM millrace.migration')
    await assert.rejects(checkSchema(client), { code: 'schema-older' })
    await superuser.run('DROP TABLE millrace.migration')
    await assert.rejects(checkSchema(client), { code: 'schema-missing' })
  })

  test('refuses a schema millrace that is somebody else’s', async (t) => {
    const { url, superuser } = await emptyDatabase(t)
    await superuser.run('CREATE SCHEMA millrace')
    const { stderr } = await millrace(['install', '--database', url], { expect: null })
    assert.match(stderr, /^millrace: schema-taken: /)
  })

  test('refuses a role that cannot be the owner of the schema', async (t) => {
    const { url, superuser, database, roles } = await emptyDatabase(t)
    await millrace(['install', '--database', url])
    await superuser.run(`ALTER ROLE ${roles.bob} PASSWORD 'secret-of-test'`)
    const { stderr } = await millrace(
      ['install', '--all', '--database', database.urlAs(roles.bob, 'secret-of-test')],
      { expect: 4 },
    )
    assert.match(stderr, /^millrace: not-daemon-role: /)
  })

  test('leaves nothing behind when a step fails', async (t) => {
    const db = await emptyDatabase(t)
    await db.superuser.run(
      `CREATE FUNCTION public.kafka_consume_end() RETURNS text LANGUAGE sql AS 'SELECT text ''mine'''`,
    )
    const foreign = await db.as(db.roles.bob)
    await foreign.run(
      `CREATE FUNCTION kafka_consume_begin(parallelism integer, format text, delimiter text) RETURNS text LANGUAGE sql AS 'SELECT ''mine'''`,
    )
    const before = await names(db)
    const { stderr } = await millrace(['install', '--all', '--database', db.url], { expect: null })
    assert.match(
      stderr,
      /^millrace: dialect-name-taken: .*kafka_consume_begin.* exists already and belongs to role bob/,
    )
    await db.run('uninstall')
    assert.deepEqual(await names(db), before)
  })

  test('writes the extension files on request', async (t) => {
    const { run } = await emptyDatabase(t)
    const folder = await mkdtemp(join(tmpdir(), 'extension-'))
    t.after(() => rm(folder, { recursive: true }))
    const output = await run('install', '--extension-dir', join(folder, 'new'))
    assert.ok(output.includes(`wrote ${join(folder, 'new', 'pipeline_kafka.control')}`))
    assert.deepEqual(
      (await readdir(join(folder, 'new'))).sort(),
      extensionFiles()
        .map(({ name }) => name)
        .sort(),
    )
  })

  test('names an unknown dialect and a folder that cannot be written', async (t) => {
    const { url } = await emptyDatabase(t)
    const unknown = await millrace(['install', '--database', url, '--dialect', 'kafka'], { expect: 2 })
    assert.match(unknown.stderr, /usage: install: no dialect kafka/)
    const folder = await millrace(
      ['install', '--database', url, '--extension-dir', join(import.meta.filename, 'x')],
      { expect: null },
    )
    assert.match(folder.stderr, /extension-files-unwritable: .*install\.test\.ts\/x/)
  })
})

describe('millrace uninstall', () => {
  test('removes what was installed and nothing of a user’s', async (t) => {
    const db = await emptyDatabase(t)
    const before = await names(db)
    assert.deepEqual(await db.run('uninstall'), ['schema millrace: not in this database, nothing to remove'])
    await db.run('install', '--all')
    const owner = await db.as(db.roles.owner)
    await owner.run(`SELECT pipeline_kafka.add_broker('localhost'); CREATE TABLE kept (a int); INSERT INTO kept VALUES (1);
      SELECT pipeline_kafka.consume_begin('topic', 'kept')`)
    assert.deepEqual(await db.run('uninstall'), [
      'dialect pg2kafka: removed',
      'dialect pg_kafka: removed',
      'dialect pipeline_kafka: removed',
      'schema millrace: removed (consumers: 1, brokers: 1)',
      'role millrace_admin: kept, it belongs to the whole server',
    ])
    assert.equal(await owner.value('SELECT count(*)::int FROM kept'), 1)
    await owner.run('DROP TABLE kept')
    assert.deepEqual(await names(db), before)
    await db.run('install', '--all')
  })

  test('keeps schemas that hold objects of users', async (t) => {
    const { run, superuser } = await emptyDatabase(t)
    await run('install', '--all')
    await superuser.run('CREATE TABLE millrace.mine (a int); CREATE TABLE pipeline_kafka.mine (a int)')
    const output = await run('uninstall')
    assert.ok(output.includes('schema pipeline_kafka: kept, it holds objects of yours'))
    assert.ok(output.includes('schema millrace: kept, it holds objects of yours'))
    assert.equal(await superuser.value('SELECT count(*)::int FROM millrace.mine'), 0)
  })

  test('refuses a newer schema, and removes nothing of it', async (t) => {
    const db = await emptyDatabase(t)
    await db.run('install', '--all')
    await db.superuser.run(`INSERT INTO millrace.migration (version, name) VALUES (9999, 'future')`)
    const before = await names(db)
    const { stderr } = await millrace(['uninstall', '--database', db.url], { expect: 4 })
    assert.match(stderr, /^millrace: schema-newer: .* 9999, /)
    assert.deepEqual(await names(db), before)
  })

  test('removes nothing when something of a user’s depends on it', async (t) => {
    const db = await emptyDatabase(t)
    await db.run('install', '--all')
    await db.superuser.run('CREATE VIEW dashboard AS SELECT * FROM millrace.consumers')
    const before = await names(db)
    const { stderr } = await millrace(['uninstall', '--database', db.url], { expect: null })
    assert.match(stderr, /^millrace: uninstall-blocked: .*view public\.dashboard/)
    assert.deepEqual(await names(db), before)
  })
})

test('sql/schema.sql is what the migrations make (node scripts/dump-schema.ts)', async (t) => {
  const { database } = await ownedDatabase(t)
  const client = await connect(database.url)
  t.after(() => client.end())
  assert.equal(await dumpSchema(client), readFileSync(dumpFile, 'utf8'))
})
