// What a publication can be asked for, and what it refuses.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { publishedDatabase } from '../support/published.ts'

const table = `CREATE TABLE t (id int PRIMARY KEY, v text, n numeric)`

test('columns, key, topic by template', async (t) => {
  const { alice, sent, superuser, roles, database } = await publishedDatabase(t)
  await superuser.run(`CREATE SCHEMA "My Shop" AUTHORIZATION ${roles.alice}`)
  await alice.run(`CREATE TABLE "My Shop"."Ord""ers" ("The Id" int, "n" text, v int);
    SELECT millrace.publish('"My Shop"."Ord""ers"', '{database}-{schema}.{table}', key := '{n}', columns := '{v,"The Id"}');
    INSERT INTO "My Shop"."Ord""ers" VALUES (1, 'k', 5)`)
  assert.deepEqual(await sent(), [
    { topic: `${database.name}-My_Shop.Ord_ers`, key: 'k', value: { v: 5, 'The Id': 1 } },
  ])
})

test('a filter: a row that comes into it begins, one that leaves it ends', async (t) => {
  const { alice, lines } = await publishedDatabase(t)
  await alice.run(`${table}; INSERT INTO t VALUES (1, 'in', 10), (2, 'out', 1), (3, 'unknown', NULL);
    SELECT millrace.publish('t', columns := '{v}', filter := 'n > 5 -- a comment')`)
  assert.deepEqual(await lines(), ['1={"v":"in"}'])
  await alice.run(`INSERT INTO t VALUES (4, 'in', 6), (5, 'out', 5)`)
  assert.deepEqual(await lines(), ['4={"v":"in"}'])
  await alice.run(`UPDATE t SET n = CASE id WHEN 1 THEN 0 WHEN 2 THEN 7 ELSE n END`)
  const [ended, ...others] = await lines()
  assert.equal(ended, '1=null')
  assert.deepEqual(others.sort(), ['2={"v":"out"}', '4={"v":"in"}'])
  await alice.run('DELETE FROM t')
  assert.deepEqual((await lines()).sort(), ['2=null', '4=null'])
})

test('without a key there is no order and no tombstone', async (t) => {
  const { alice, lines } = await publishedDatabase(t)
  await alice.run(`CREATE TABLE t (a int); SELECT millrace.publish('t', key := '{}'); INSERT INTO t VALUES (1);
    UPDATE t SET a = 2; DELETE FROM t; INSERT INTO t VALUES (3); TRUNCATE t`)
  assert.deepEqual(await lines(), ['null={"a":1}', 'null={"a":2}', 'null={"a":3}'])
})

test('a deferrable primary key is the key only where the call says so', async (t) => {
  const { alice, lines } = await publishedDatabase(t)
  await alice.run('CREATE TABLE t (id int PRIMARY KEY DEFERRABLE, code text UNIQUE NOT NULL)')
  await assert.rejects(alice.run("SELECT millrace.publish('t')"), {
    code: '42P10',
    detail: 'code: publish-key-deferrable',
    message: 'two rows of public.t can have one primary key for a while: it is deferrable',
  })
  await alice.run(`SELECT millrace.publish('t', 'by-id', key := '{id}'), millrace.publish('t', 'by-code', key := '{code}');
    INSERT INTO t VALUES (1, 'a')`)
  assert.deepEqual((await lines()).sort(), ['1={"id":1,"code":"a"}', 'a={"id":1,"code":"a"}'])
})

test('TRUNCATE by choice', async (t) => {
  const { alice, sent } = await publishedDatabase(t)
  await alice.run(`${table}; INSERT INTO t VALUES (1, 'a', 1); SELECT millrace.publish('t', snapshot := false, truncate := 'skip'),
    millrace.publish('t', 'd', envelope := 'debezium', snapshot := false, truncate := 'delete'),
    millrace.publish('t', 'e', envelope := 'debezium', snapshot := false); TRUNCATE t`)
  const sentNow = (await sent()).map(({ topic, key, value }) => [
    topic,
    key,
    (value as { op: string } | null)?.op,
  ])
  assert.deepEqual(sentNow, [
    ['d', '{"id":1}', 'd'],
    ['d', '{"id":1}', undefined],
    ['e', null, 't'],
  ])
})

test('several publications of a table, and unpublish', async (t) => {
  const { alice, lines, superuser } = await publishedDatabase(t)
  await alice.run(`${table}; SELECT millrace.publish('t', 'one'), millrace.publish('t', 'two')`)
  assert.equal(await alice.refusal(`SELECT millrace.publish('t', 'two')`), 'already-published 42710')
  await alice.run(`INSERT INTO t VALUES (1, 'a', 1)`)
  assert.equal((await lines()).length, 2)
  await alice.run(`SELECT millrace.unpublish('t', 'one'); INSERT INTO t VALUES (2, 'a', 1)`)
  assert.equal((await lines()).length, 1)
  await alice.run(`SELECT millrace.unpublish('t'); INSERT INTO t VALUES (3, 'a', 1)`)
  assert.deepEqual(await lines(), [])
  assert.deepEqual(
    await superuser.column(
      `SELECT tgname FROM pg_trigger WHERE tgrelid = 't'::regclass AND NOT tgisinternal`,
    ),
    [],
  )
  assert.equal(
    await superuser.value(`SELECT count(*)::int FROM pg_proc WHERE proname LIKE 'publication %'`),
    0,
  )
  assert.equal(await superuser.value('SELECT count(*)::int FROM millrace.publication'), 0)
  assert.equal(await alice.refusal(`SELECT millrace.unpublish('t')`), 'publication-missing 42704')
  assert.equal(await alice.refusal(`SELECT millrace.drop_publication(1)`), 'publication-missing 42704')
})

describe('what publish refuses, it refuses at once', () => {
  test('with a code', async (t) => {
    const { alice, bob, superuser } = await publishedDatabase(t)
    await alice.run(`${table}; CREATE TABLE bare (a int); CREATE VIEW shown AS SELECT * FROM t; CREATE TEMPORARY TABLE passing (id int);
      CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child () INHERITS (parent)`)
    const refusals: [string, string][] = [
      [`NULL`, 'relation-missing 42P01'],
      [`'shown'`, 'relation-not-published 42809'],
      [`'passing'`, 'relation-temporary 42809'],
      [`'pg_class'`, 'relation-catalog 42809'],
      [`'parent'`, 'relation-inherited 0A000'],
      [`'bare'`, 'publish-key-missing 42P10'],
      [`'t', '{tabel}'`, 'topic-template-invalid 22023'],
      [`'t', 'x{table'`, 'topic-template-invalid 22023'],
      [`'t', 'a b'`, 'topic-invalid 22023'],
      [`'t', key := '{nothing}'`, 'column-missing 42703'],
      [`'t', columns := '{id,id}'`, 'columns-invalid 22023'],
      [`'t', columns := '{id,ID}'`, 'column-missing 42703'],
      [`'t', filter := 'nothing > 1'`, 'filter-invalid 22023'],
      [`'t', filter := 'id'`, 'filter-invalid 22023'],
      [`'t', envelope := 'avro'`, 'envelope-invalid 22023'],
      [`'t', envelope := 'pg2kafka', with_schema := true`, 'option-conflict 22023'],
      [`'t', envelope := 'pg2kafka', key := '{id,v}'`, 'option-conflict 22023'],
      [`'t', capture := 'wal'`, 'capture-invalid 22023'],
      [`'child', key := '{id}', capture := 'statement'`, 'capture-needs-rows 0A000'],
      [`'t', truncate := 'event'`, 'truncate-invalid 22023'],
      [`'t', cluster := 'other'`, 'cluster-missing 42704'],
    ]
    for (const [args, code] of refusals) {
      assert.equal(await alice.refusal(`BEGIN; SELECT millrace.publish(${args})`), code, args)
      await alice.run('ROLLBACK')
    }
    await superuser.run('GRANT ALL ON t TO PUBLIC')
    assert.equal(await bob.refusal(`SELECT millrace.publish('t')`), 'relation-not-yours 42501')
    await alice.run('BEGIN ISOLATION LEVEL REPEATABLE READ')
    assert.equal(await alice.refusal(`SELECT millrace.publish('t')`), 'setup-isolation 25001')
    await alice.run('ROLLBACK')
    await superuser.run('DELETE FROM millrace.topic_grant')
    assert.equal(await alice.refusal(`SELECT millrace.publish('t')`), 'topic-not-granted 42501')
    assert.equal(await superuser.value('SELECT count(*)::int FROM millrace.publication'), 0)
  })
})
