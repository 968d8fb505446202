// Capture by statement: what is in the outbox after INSERT, UPDATE, DELETE, TRUNCATE, COPY, MERGE and ON CONFLICT.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { publishedDatabase } from '../support/published.ts'

const table = `CREATE TABLE t (id int PRIMARY KEY, v text)`

test('millrace.publish sends the rows that are there, and then every change', async (t) => {
  const { alice, lines, outbox, problems } = await publishedDatabase(t)
  await alice.run(`${table}; INSERT INTO t VALUES (1, 'a')`)
  await alice.run(`SELECT millrace.publish('t')`)
  assert.deepEqual(await lines(), ['1={"id":1,"v":"a"}'])
  await alice.run(`INSERT INTO t VALUES (2, 'b'), (3, NULL)`)
  assert.deepEqual(await lines(), ['2={"id":2,"v":"b"}', '3={"id":3,"v":null}'])
  await alice.run(`UPDATE t SET v = 'x' WHERE id < 3`)
  assert.deepEqual(await lines(), ['1={"id":1,"v":"x"}', '2={"id":2,"v":"x"}'])
  await alice.run(`DELETE FROM t WHERE id > 1`)
  assert.deepEqual(await lines(), ['2=null', '3=null'])
  await alice.run('TRUNCATE t')
  assert.deepEqual(await lines(), ['1=null'])
  assert.deepEqual(
    new Set((await outbox()).map(({ topic, source }) => `${topic} ${source}`)),
    new Set(['public.t publication 1']),
  )
  assert.deepEqual(await problems(), [null])
})

test('F16 nothing is left of what was rolled back', async (t) => {
  const { alice, lines } = await publishedDatabase(t)
  await alice.run(`${table}; SELECT millrace.publish('t')`)
  await alice.run(
    `BEGIN; INSERT INTO t VALUES (1, 'a'); SAVEPOINT s; INSERT INTO t VALUES (2, 'b'); ROLLBACK TO s; COMMIT`,
  )
  await alice.run(`BEGIN; DELETE FROM t; ROLLBACK`)
  assert.deepEqual(await lines(), ['1={"id":1,"v":"a"}'])
})

describe('a changed key', () => {
  test('is the end of the old one and the beginning of the new one', async (t) => {
    const { alice, lines } = await publishedDatabase(t)
    await alice.run(`${table}; SELECT millrace.publish('t'); INSERT INTO t VALUES (1, 'a')`)
    await lines()
    await alice.run('UPDATE t SET id = 2')
    assert.deepEqual(await lines(), ['1=null', '2={"id":2,"v":"a"}'])
  })

  test('of many rows ends as the table does, also where one takes the key of another', async (t) => {
    const { alice, sent } = await publishedDatabase(t)
    await alice.run(`CREATE TABLE t (id int PRIMARY KEY DEFERRABLE, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c');
      SELECT millrace.publish('t', key := '{id}'); UPDATE t SET id = id + 1; UPDATE t SET id = 5 - id WHERE id IN (2, 3)`)
    const state = new Map<string | null, unknown>()
    for (const { key, value } of await sent()) {
      if (value === null) state.delete(key)
      else state.set(key, (value as { v: string }).v)
    }
    const rows = (await alice.run('SELECT id::text, v FROM t ORDER BY id')).rows.map(({ id, v }) => [id, v])
    assert.deepEqual([...state].sort(), rows)
  })

  test('in two columns', async (t) => {
    const { alice, lines } = await publishedDatabase(t)
    await alice.run(`CREATE TABLE t (a int, b text, n int, PRIMARY KEY (b, a)); SELECT millrace.publish('t');
      INSERT INTO t VALUES (1, 'x"y', 0); UPDATE t SET a = 2`)
    assert.deepEqual(await lines(), [
      String.raw`{"b":"x\"y","a":1}={"a":1,"b":"x\"y","n":0}`,
      String.raw`{"b":"x\"y","a":1}=null`,
      String.raw`{"b":"x\"y","a":2}={"a":2,"b":"x\"y","n":0}`,
    ])
  })
})

test('COPY, ON CONFLICT DO UPDATE, WITH, and a statement that changes nothing', async (t) => {
  const { alice, lines, superuser } = await publishedDatabase(t)
  await alice.run(`${table}; SELECT millrace.publish('t')`)
  await superuser.run(`COPY t FROM PROGRAM 'echo 1,a; echo 2,b' (FORMAT csv)`)
  assert.deepEqual(await lines(), ['1={"id":1,"v":"a"}', '2={"id":2,"v":"b"}'])
  await alice.run(`INSERT INTO t VALUES (2, 'B'), (3, 'C') ON CONFLICT (id) DO UPDATE SET v = excluded.v`)
  assert.deepEqual((await lines()).sort(), ['2={"id":2,"v":"B"}', '3={"id":3,"v":"C"}'])
  await alice.run(`WITH gone AS (DELETE FROM t WHERE id = 1 RETURNING *) INSERT INTO t SELECT 4, v FROM gone`)
  assert.deepEqual((await lines()).sort(), ['1=null', '4={"id":4,"v":"a"}'])
  await alice.run(
    `DELETE FROM t WHERE id = 99; UPDATE t SET v = 'z' WHERE id = 99; INSERT INTO t SELECT 1, '' WHERE false`,
  )
  assert.deepEqual(await lines(), [])
})

test('MERGE that inserts, updates and deletes', async (t) => {
  const { alice, lines } = await publishedDatabase(t)
  const version = Number(await alice.value(`SELECT current_setting('server_version_num')`))
  if (version < 150000) return t.skip('no MERGE before 15')
  await alice.run(
    `${table}; INSERT INTO t VALUES (1, 'a'), (2, 'b'); SELECT millrace.publish('t', snapshot := false)`,
  )
  await alice.run(`MERGE INTO t USING (VALUES (1), (2), (3)) AS s (id) ON t.id = s.id
    WHEN MATCHED AND s.id = 1 THEN DELETE WHEN MATCHED THEN UPDATE SET v = 'B' WHEN NOT MATCHED THEN INSERT VALUES (s.id, 'c')`)
  assert.deepEqual((await lines()).sort(), ['1=null', '2={"id":2,"v":"B"}', '3={"id":3,"v":"c"}'])
})

test('MERGE that frees a key and gives it to another row ends with that row', async (t) => {
  const { alice, lines } = await publishedDatabase(t)
  const version = Number(await alice.value(`SELECT current_setting('server_version_num')`))
  if (version < 150000) return t.skip('no MERGE before 15')
  await alice.run(`CREATE TABLE t (id int PRIMARY KEY, o int); INSERT INTO t VALUES (1, 10), (2, 20);
    SELECT millrace.publish('t', snapshot := false)`)
  const merge = (
    action: string,
  ) => `MERGE INTO t USING (VALUES (0, 1, 10), (1, 1, 11)) AS s (n, id, o) ON t.o = s.o
    WHEN MATCHED THEN ${action} WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.o)`
  await alice.run(merge('DELETE'))
  assert.deepEqual(await lines(), ['1=null', '1={"id":1,"o":11}'])
  await alice.run(merge('UPDATE SET id = 5').replace('(0, 1, 10), (1, 1, 11)', '(0, 1, 11), (1, 1, 12)'))
  assert.deepEqual(await lines(), ['1=null', '5={"id":5,"o":11}', '1={"id":1,"o":12}'])
})

test('UPDATE pairs old and new of many rows, whatever the plan was made for', async (t) => {
  const { alice, superuser } = await publishedDatabase(t)
  await alice.run(
    `${table}; SELECT millrace.publish('t', envelope := 'debezium'); INSERT INTO t VALUES (0, 'x'); UPDATE t SET v = 'y'`,
  )
  await alice.run(`INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 5000) AS i; ANALYZE t`)
  await alice.run(`UPDATE t SET v = v || '!'`)
  assert.deepEqual(
    (
      await superuser.run(`SELECT count(*)::int AS n, bool_and(v -> 'before' ->> 'id' = v -> 'after' ->> 'id'
        AND (v -> 'before' ->> 'v') || '!' = v -> 'after' ->> 'v') AS paired
        FROM (SELECT convert_from(value, 'UTF8')::jsonb AS v FROM millrace.outbox) AS o WHERE v ->> 'op' = 'u' AND v -> 'after' ->> 'v' <> 'y'`)
    ).rows,
    [{ n: 5001, paired: true }],
  )
})

test('F22 no publication makes writers wait for each other', async (t) => {
  const { alice, as, roles, lines } = await publishedDatabase(t)
  await alice.run(`${table}; SELECT millrace.publish('t')`)
  const other = await as(roles.alice)
  await alice.run(`BEGIN; INSERT INTO t VALUES (1, 'first')`)
  await other.run(`SET statement_timeout = '10s'; INSERT INTO t VALUES (2, 'second')`)
  await alice.run('COMMIT')
  assert.deepEqual(await lines(), ['1={"id":1,"v":"first"}', '2={"id":2,"v":"second"}'])
})
