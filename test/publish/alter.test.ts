// F21 What becomes of a publication when its table is altered, as docs/publishing.md has it.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { millrace } from '../support/millrace.ts'
import { publishedDatabase } from '../support/published.ts'

for (const capture of ['statement', 'row'] as const) {
  describe(`F21 captured by ${capture}`, () => {
    const setUp = async (t: Parameters<typeof publishedDatabase>[0]) => {
      const db = await publishedDatabase(t)
      await db.alice.run(`CREATE TABLE t (id int PRIMARY KEY, v text, n int);
        SELECT millrace.publish('t', filter := 'n > 0', capture := '${capture}'); INSERT INTO t VALUES (1, 'a', 1)`)
      await db.lines()
      return db
    }

    test('a column that is added, dropped, of another type, renamed', async (t) => {
      const { alice, lines, problems } = await setUp(t)
      await alice.run(`ALTER TABLE t ADD COLUMN more numeric DEFAULT 1.50; UPDATE t SET v = 'b'`)
      assert.deepEqual(await lines(), ['1={"id":1,"v":"b","n":1,"more":1.50}'])
      await alice.run(`ALTER TABLE t DROP COLUMN v; UPDATE t SET n = 2`)
      assert.deepEqual(await lines(), ['1={"id":1,"n":2,"more":1.50}'])
      await alice.run(`ALTER TABLE t ALTER COLUMN more TYPE text; UPDATE t SET n = 3`)
      assert.deepEqual(await lines(), ['1={"id":1,"n":3,"more":"1.50"}'])
      await alice.run(`ALTER TABLE t RENAME COLUMN more TO less; UPDATE t SET n = 4`)
      assert.deepEqual(await lines(), ['1={"id":1,"n":4,"less":"1.50"}'])
      assert.deepEqual(await problems(), [null])
    })

    test('columns that it names: renamed they keep their names, dropped they are kept', async (t) => {
      const { alice, lines, problems } = await setUp(t)
      await alice.run(
        `ALTER TABLE t RENAME COLUMN id TO "New Id"; ALTER TABLE t RENAME COLUMN n TO m; UPDATE t SET m = 2`,
      )
      assert.deepEqual(await lines(), ['1={"id":1,"v":"a","n":2}'])
      await alice.run(
        `INSERT INTO t VALUES (2, 'b', 0), (3, 'c', 3); UPDATE t SET "New Id" = 4 WHERE m = 3; DELETE FROM t; INSERT INTO t VALUES (5, 'e', 5); TRUNCATE t`,
      )
      assert.deepEqual(await lines(), [
        '3={"id":3,"v":"c","n":3}',
        '3=null',
        '4={"id":4,"v":"c","n":3}',
        '1=null',
        '4=null',
        '5={"id":5,"v":"e","n":5}',
        '5=null',
      ])
      assert.match(String(await alice.refusal('ALTER TABLE t DROP COLUMN m')), /depend on it 2BP01/)
      assert.match(
        String(await alice.refusal('ALTER TABLE t ALTER COLUMN m TYPE bigint')),
        /used in a trigger definition/,
      )
      assert.deepEqual(await problems(), [null])
      await alice.run(
        `SET client_min_messages = error; ALTER TABLE t DROP COLUMN m CASCADE; INSERT INTO t VALUES (6, 'f'); UPDATE t SET v = 'g'; DELETE FROM t`,
      )
      assert.deepEqual(await lines(), [])
      assert.deepEqual(await problems(), ['trigger-missing'])
      await alice.run(`SELECT millrace.unpublish('t')`)
    })

    test('columns that exchange their names keep them in messages', async (t) => {
      const { alice, lines, problems } = await setUp(t)
      await alice.run(`ALTER TABLE t ADD COLUMN o int DEFAULT 70; UPDATE t SET n = 2;
        ALTER TABLE t RENAME COLUMN id TO x; ALTER TABLE t RENAME COLUMN n TO id; ALTER TABLE t RENAME COLUMN x TO n; UPDATE t SET id = 3`)
      assert.deepEqual(await lines(), ['1={"id":1,"v":"a","n":2,"o":70}', '1={"id":1,"v":"a","n":3,"o":70}'])
      await alice.run(`SELECT millrace.unpublish('t'); SELECT millrace.publish('t', capture := '${capture}')`)
      await lines()
      await alice.run(`UPDATE t SET id = 4`)
      assert.deepEqual(await lines(), ['1={"n":1,"v":"a","id":4,"o":70}'])
      assert.deepEqual(await problems(), [null])
    })

    test('the table renamed, moved, given away, dropped', async (t) => {
      const { alice, superuser, roles, lines, problems } = await setUp(t)
      await superuser.run(`CREATE SCHEMA other AUTHORIZATION ${roles.alice}`)
      await alice.run(
        `ALTER TABLE t RENAME TO u; ALTER TABLE u SET SCHEMA other; UPDATE other.u SET n = 2; TRUNCATE other.u`,
      )
      assert.deepEqual(await lines(), ['1={"id":1,"v":"a","n":2}', '1=null'])
      assert.equal(await alice.value('SELECT relation FROM millrace.publications'), 'other.u')
      await superuser.run(`ALTER TABLE other.u OWNER TO ${roles.bob}; INSERT INTO other.u VALUES (2, 'b', 2)`)
      assert.deepEqual(await lines(), ['2={"id":2,"v":"b","n":2}'])
      assert.deepEqual(await problems(), ['owner-changed'])
      await superuser.run('DROP TABLE other.u')
      assert.deepEqual(await problems(), ['relation-missing'])
      await alice.run('SELECT millrace.drop_publication(1)')
      assert.deepEqual(await problems(), [])
      assert.equal(
        await superuser.value(`SELECT count(*)::int FROM pg_proc WHERE proname LIKE 'publication %'`),
        0,
      )
    })

    test('disabled triggers', async (t) => {
      const { alice, lines, problems } = await setUp(t)
      await alice.run(`ALTER TABLE t DISABLE TRIGGER USER; UPDATE t SET n = 2`)
      assert.deepEqual([await lines(), await problems()], [[], ['trigger-disabled']])
      await alice.run(
        `ALTER TABLE t ENABLE TRIGGER USER; UPDATE t SET n = 3; INSERT INTO t VALUES (2, 'b', 2)`,
      )
      assert.deepEqual(await lines(), ['1={"id":1,"v":"a","n":3}', '2={"id":2,"v":"b","n":2}'])
    })
  })
}

test('millrace uninstall is refused while a table is published', async (t) => {
  const { alice, database } = await publishedDatabase(t)
  await alice.run(`CREATE TABLE t (id int PRIMARY KEY); SELECT millrace.publish('t')`)
  const refused = await millrace(['uninstall', '--database', database.url], { expect: null })
  assert.match(refused.stderr, /uninstall-blocked: .*published: .*t/)
})

test('DROP SCHEMA millrace CASCADE leaves writers alone', async (t) => {
  const { alice, owner } = await publishedDatabase(t)
  await alice.run(`CREATE TABLE t (id int PRIMARY KEY); SELECT millrace.publish('t')`)
  await owner.run('SET client_min_messages = error; DROP SCHEMA millrace CASCADE')
  await alice.run('INSERT INTO t VALUES (1)')
})
