// F15 A database with published tables goes through pg_dump and pg_restore into another one: what captures changes there is what
// did so before, and nothing of it means the other database.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import pg from 'pg'
import { removeFolder, temporaryFolder } from '../../stack/folder.ts'
import { StackProblem } from '../../stack/problem.ts'
import { afterwards, type Cleanup } from '../support/cleanup.ts'
import { type Database, databaseAt } from '../support/database.ts'
import { valuesOnce } from '../support/exact.ts'
import { promptDaemon } from '../support/flow.ts'
import { readWithJava } from '../support/java-client.ts'
import { millrace } from '../support/millrace.ts'
import { type DumpPrograms, dumpInto, dumpPrograms } from '../support/pg-dump.ts'
import { type PlainRoles, plainRoles } from '../support/plain-roles.ts'
import { promptRelay, untilSent } from '../support/sent.ts'
import { postgresFor, sharedServers } from '../support/servers.ts'
import { untilSnapshot } from '../support/snapshot.ts'
import { topicFor } from '../support/topic.ts'

const patient = { deadline: 60_000 }

/** Each table captures its changes in another way; its topic ends with its name. */
const tables = `
  CREATE TABLE statements (gone int, id int PRIMARY KEY, v text, secret text);
  ALTER TABLE statements DROP COLUMN gone;
  CREATE TABLE renamed (gone int, a int, b int, c int, PRIMARY KEY (b));
  ALTER TABLE renamed DROP COLUMN gone;
  CREATE TABLE rows (id int PRIMARY KEY, v text, updated int DEFAULT 0);
  CREATE TABLE parts (id int, place int, v text, PRIMARY KEY (id, place)) PARTITION BY LIST (place);
  CREATE TABLE parts_0 PARTITION OF parts FOR VALUES IN (0);
  CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
  CREATE TABLE debezium (gone int, id int PRIMARY KEY, n numeric);
  ALTER TABLE debezium DROP COLUMN gone;
  CREATE TABLE products (sku text PRIMARY KEY, n int);
  CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
  CREATE TRIGGER note AFTER INSERT OR UPDATE ON rows FOR EACH ROW EXECUTE FUNCTION note();`

const published = `
  SELECT millrace.publish('statements', $1, columns := '{id,v}', filter := 'id > 0'),
    millrace.publish('renamed', $1, columns := '{a,b}', filter := 'c > 0'), millrace.publish('rows', $1),
    millrace.publish('parts', $1, key := '{id}'), millrace.publish('debezium', $1, envelope := 'debezium', with_schema := true),
    pg2kafka.setup('products', 'sku')`

/** One message for each table, and one that a filter keeps back. */
const changes = (n: number) => `
  INSERT INTO statements VALUES (${n}, 'v${n}', 'secret'), (-${n}, 'filtered', 'secret');
  INSERT INTO renamed VALUES (${n}, ${n + 1}, 1), (${n}, -${n}, 0);
  INSERT INTO rows VALUES (${n}, 'v${n}');
  INSERT INTO parts VALUES (${n}, ${n % 2}, 'v${n}');
  INSERT INTO debezium VALUES (${n}, 1.50);
  INSERT INTO products VALUES ('sku ${n}', ${n})`

const names = ['statements', 'renamed', 'rows', 'parts', 'debezium']

/** What each topic then says, as far as it is the table's. */
const expected = (n: number): Record<string, unknown> => ({
  statements: { id: n, v: `v${n}` },
  renamed: { a: n, b: n + 1 },
  rows: { id: n, v: `v${n}`, updated: 0 },
  parts: { id: n, place: n % 2, v: `v${n}` },
  debezium: { id: n, n: '1.50' },
})

interface Origin extends PlainRoles {
  alice: pg.Client
  prefix: string
  /** Dumps it into another database of the server. */
  restored(): Promise<Database>
}

async function origin(t: Cleanup, programs: DumpPrograms): Promise<Origin> {
  const postgres = await postgresFor(t, { ...programs, settings: { fsync: 'off' } })
  const roles = await plainRoles(t, { postgres, brokers: sharedServers().brokers })
  const { db, owner, daemon } = roles
  await db.query("SELECT millrace.grant_topic('*', $1, action := 'produce')", [owner])
  const alice = await db.client()
  await alice.query(`SET SESSION AUTHORIZATION ${owner}`)
  const restored = async () => {
    const admin = new pg.Client({ connectionString: postgres.url })
    await admin.connect()
    const name = `${db.name}_restored`
    await admin.query(`CREATE DATABASE ${name} TEMPLATE template0 OWNER ${daemon}`)
    afterwards(t, async () => {
      await admin.query(`DROP DATABASE ${name} WITH (FORCE)`)
      await admin.end()
    })
    const folder = await temporaryFolder('dump')
    afterwards(t, () => removeFolder(folder))
    dumpInto(db.url, postgres.urlOf(name), join(folder, 'dump'))
    return databaseAt(t, postgres.urlOf(name))
  }
  return { ...roles, alice, prefix: await topicFor(t), restored }
}

const publicationsOf = async (db: Database) =>
  (await db.query('SELECT * FROM millrace.publications ORDER BY id')).rows

const roleUrl = (restored: Database, { daemon, password }: PlainRoles) => restored.urlAs(daemon, password)

test('F15 pg_dump and pg_restore of published tables: the same publications, and each change is sent once', async (t) => {
  const programs = await dumpPrograms().catch((error) => error)
  if (programs instanceof StackProblem) return t.skip(programs.message)
  const from = await origin(t, programs)
  const { db, prefix, alice, daemon: role, urlOf } = from
  for (const name of names) await topicFor(t, { name: `${prefix}.public.${name}` })
  for (const name of [db.name, `${db.name}_restored`])
    await topicFor(t, { name: `pg2kafka.${name}.products` })
  await alice.query(tables)
  // the first ones go as rows of a snapshot, those of the second as changes, the third ones wait in the dump's outbox
  await alice.query(changes(1))
  await alice.query(published.replaceAll('$1', pg.escapeLiteral(`${prefix}.{schema}.{table}`)))
  await alice.query(
    'ALTER TABLE renamed RENAME a TO x; ALTER TABLE renamed RENAME b TO a; ALTER TABLE renamed RENAME c TO b',
  )
  await alice.query(changes(2))
  const before = await promptDaemon(t, { url: urlOf(role) }, { env: promptRelay })
  await untilSent(db, patient)
  assert.deepEqual(await before.stop(), { code: 0, signal: null })
  await alice.query(changes(3))
  const publications = await publicationsOf(db)
  assert.deepEqual(
    publications.map(({ capture, problem }) => [capture, problem]),
    ['statement', 'statement', 'row', 'row', 'statement'].map((capture) => [capture, null]),
  )

  const restored = await from.restored()
  assert.deepEqual(await publicationsOf(restored), publications)
  const writer = await restored.client()
  await writer.query(`SET SESSION AUTHORIZATION ${from.owner}`)
  await writer.query(changes(4))
  const daemon = await promptDaemon(t, { url: roleUrl(restored, from) }, { env: promptRelay })
  await daemon.waitForLog('everything waits for millrace adopt')
  await millrace(['adopt', '--moved', '--database', restored.url])
  await untilSent(restored, patient)
  await writer.query(changes(5))
  await untilSent(restored, patient)
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
  for (const name of names) {
    const values = (await valuesOnce(t, `${prefix}.public.${name}`)).map((value) => JSON.parse(value!))
    assert.deepEqual(
      values.map((value) => value.payload?.after ?? value).toSorted((a, b) => (a.id ?? a.a) - (b.id ?? b.a)),
      [1, 2, 3, 4, 5].map((n) => expected(n)[name]),
      name,
    )
  }
  // what waited was made for the topic of the other database, whose name is in it
  const skus = async (database: string) =>
    (await readWithJava(t, `pg2kafka.${database}.products`)).map(({ key }) => key).toSorted()
  assert.deepEqual(await skus(db.name), ['sku 1', 'sku 2', 'sku 3'])
  assert.deepEqual(await skus(restored.name), ['sku 4', 'sku 5'])
})

test('F15 pg_dump in the middle of a snapshot: it begins anew, and no row is left out', async (t) => {
  const programs = await dumpPrograms().catch((error) => error)
  if (programs instanceof StackProblem) return t.skip(programs.message)
  const from = await origin(t, programs)
  const { prefix, alice } = from
  const topic = await topicFor(t, { name: `${prefix}.large` })
  await alice.query(`CREATE TABLE large (id int PRIMARY KEY, pad text);
    INSERT INTO large SELECT i, repeat('x', 1000) FROM generate_series(1, 9000) AS i`)
  await alice.query("SELECT millrace.publish('large', $1, columns := '{id}')", [topic])
  const restored = await from.restored()
  assert.equal((await restored.query('SELECT state FROM millrace.snapshots')).rows[0].state, 'pending')
  await millrace(['adopt', '--moved', '--database', restored.url])
  const daemon = await promptDaemon(t, { url: roleUrl(restored, from) }, { env: promptRelay })
  await untilSnapshot(restored, 'done')
  await untilSent(restored, patient)
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
  const ids = (await valuesOnce(t, topic)).map((value) => JSON.parse(value!).id)
  assert.deepEqual(
    ids.toSorted((a, b) => a - b),
    Array.from({ length: 9000 }, (_, i) => i + 1),
  )
})
