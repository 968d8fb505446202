// Capture by row, where statements would miss or reorder changes: partitions, children, other triggers, subscriptions.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { publishedDatabase } from '../support/published.ts'

const partitioned = `CREATE TABLE p (id int, place int, v text, PRIMARY KEY (id, place)) PARTITION BY LIST (place);
  CREATE TABLE one PARTITION OF p FOR VALUES IN (1);
  CREATE TABLE two (v text, gone int, place int NOT NULL, id int NOT NULL); ALTER TABLE two DROP COLUMN gone;
  ALTER TABLE p ATTACH PARTITION two FOR VALUES IN (2)`

describe('F21 a partitioned table', () => {
  test('through it and through its partitions, also those that come later', async (t) => {
    const { alice, lines, superuser, problems } = await publishedDatabase(t)
    await alice.run(
      `${partitioned}; INSERT INTO p VALUES (1, 1, 'a'), (2, 2, 'b'); SELECT millrace.publish('p', key := '{id}')`,
    )
    assert.deepEqual((await lines()).sort(), ['1={"id":1,"place":1,"v":"a"}', '2={"v":"b","place":2,"id":2}'])
    assert.equal(await superuser.value('SELECT capture FROM millrace.publications'), 'row')
    await alice.run(
      `INSERT INTO two (id, place, v) VALUES (3, 2, 'c'); UPDATE one SET v = 'A'; DELETE FROM two WHERE id = 2`,
    )
    assert.deepEqual(await lines(), [
      '3={"v":"c","place":2,"id":3}',
      '1={"id":1,"place":1,"v":"A"}',
      '2=null',
    ])
    await alice.run(
      `CREATE TABLE three PARTITION OF p FOR VALUES IN (3); INSERT INTO three VALUES (4, 3, 'd')`,
    )
    assert.deepEqual(await lines(), ['4={"id":4,"place":3,"v":"d"}'])
    assert.deepEqual(await problems(), ['partition-truncate'])
    await alice.run('UPDATE p SET place = 1 WHERE id = 4')
    assert.deepEqual(await lines(), ['4=null', '4={"id":4,"place":1,"v":"d"}'])
  })

  test('TRUNCATE of it and of one of its partitions', async (t) => {
    const { alice, lines } = await publishedDatabase(t)
    await alice.run(`${partitioned}; SELECT millrace.publish('p', key := '{id}');
      CREATE TABLE three PARTITION OF p FOR VALUES IN (3); INSERT INTO p VALUES (1, 1, ''), (2, 2, ''), (3, 3, '')`)
    await lines()
    await alice.run('TRUNCATE two')
    assert.deepEqual(await lines(), ['2=null'])
    await alice.run('TRUNCATE p')
    assert.deepEqual((await lines()).sort(), ['1=null', '3=null'])
  })

  test('a partition that is detached is not published any more', async (t) => {
    const { alice, lines } = await publishedDatabase(t)
    await alice.run(
      `${partitioned}; SELECT millrace.publish('p', key := '{id}'); ALTER TABLE p DETACH PARTITION one; INSERT INTO one VALUES (1, 1, '')`,
    )
    assert.deepEqual(await lines(), [])
  })

  test('a partition by itself', async (t) => {
    const { alice, lines } = await publishedDatabase(t)
    await alice.run(
      `${partitioned}; SELECT millrace.publish('two', key := '{id}', columns := '{v}'); INSERT INTO p VALUES (1, 1, ''), (2, 2, 'x')`,
    )
    assert.deepEqual(await lines(), ['2={"v":"x"}'])
  })
})

test('a child table, through its parent', async (t) => {
  const { alice, lines } = await publishedDatabase(t)
  await alice.run(`CREATE TABLE parent (id int); CREATE TABLE child (v text) INHERITS (parent);
    INSERT INTO child VALUES (1, 'a'); SELECT millrace.publish('child', key := '{id}'); UPDATE parent SET id = 2`)
  assert.deepEqual(await lines(), ['1={"id":1,"v":"a"}', '1=null', '2={"id":2,"v":"a"}'])
})

test('PostgreSQL does not attach a table that is captured by statements; children that come are a problem', async (t) => {
  const { alice, problems } = await publishedDatabase(t)
  await alice.run(`CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE parent (id int); CREATE TABLE p (id int NOT NULL) PARTITION BY LIST (id);
    SELECT millrace.publish('t')`)
  assert.match(String(await alice.refusal('ALTER TABLE t INHERIT parent')), /is captured by statements/)
  assert.match(
    String(await alice.refusal('ALTER TABLE p ATTACH PARTITION t DEFAULT')),
    /is captured by statements/,
  )
  await alice.run('CREATE TABLE child () INHERITS (t)')
  assert.deepEqual(await problems(), ['relation-inherited'])
})

test('another trigger that changes the row again: the newer event is the later one', async (t) => {
  const { alice, lines, problems } = await publishedDatabase(t)
  const changer = `CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE t SET n = NEW.n + 1 WHERE id = NEW.id AND n < 3; RETURN NULL; END $$`
  await alice.run(`CREATE TABLE t (id int PRIMARY KEY, n int); ${changer};
    CREATE TRIGGER "!a" AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION change(); ALTER TRIGGER "!a" ON t RENAME TO again;
    SELECT millrace.publish('t'); INSERT INTO t VALUES (1, 1)`)
  assert.deepEqual(await lines(), ['1={"id":1,"n":1}', '1={"id":1,"n":2}', '1={"id":1,"n":3}'])
  await alice.run(`CREATE TABLE u (id int PRIMARY KEY); SELECT millrace.publish('u');
    CREATE TRIGGER later AFTER INSERT ON u FOR EACH ROW EXECUTE FUNCTION change()`)
  assert.deepEqual(await problems(), [null, 'row-trigger'])
})

test('a table that refers to itself', async (t) => {
  const { alice, sent } = await publishedDatabase(t)
  await alice.run(`CREATE TABLE t (id int PRIMARY KEY, up int REFERENCES t ON DELETE CASCADE); SELECT millrace.publish('t');
    INSERT INTO t VALUES (1, NULL), (2, 1), (3, 2)`)
  await sent()
  await alice.run('DELETE FROM t WHERE id = 1')
  assert.deepEqual((await sent()).map(({ key, value }) => [key, value]).sort(), [
    ['1', null],
    ['2', null],
    ['3', null],
  ])
})

test('a table of a subscription is captured while logical replication applies', async (t) => {
  const { alice, superuser, lines, problems } = await publishedDatabase(t)
  await alice.run(
    `CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY); SELECT millrace.publish('u')`,
  )
  await superuser.run(`SET allow_system_table_mods = on; CREATE SUBSCRIPTION none CONNECTION 'dbname=none' PUBLICATION none WITH (connect = false, slot_name = NONE);
    INSERT INTO pg_subscription_rel (srsubid, srrelid, srsubstate) SELECT oid, r, 'r' FROM pg_subscription, unnest('{t,u}'::regclass[]) AS r
    WHERE subname = 'none'`)
  await alice.run(`SELECT millrace.publish('t')`)
  assert.deepEqual(await problems(), ['subscribed', null])
  await superuser.run(
    `SET session_replication_role = replica; INSERT INTO t VALUES (1); SET session_replication_role = origin`,
  )
  assert.deepEqual(await lines(), ['1={"id":1}'])
  await superuser.run('DROP SUBSCRIPTION none')
})

// What is asked once for each plan (millrace.shape) has to be asked again when another session alters the table.
for (const isolation of ['read committed', 'repeatable read'])
  test(`F21 a session that has written before follows what others alter (${isolation})`, async (t) => {
    const { alice, bob, roles, lines } = await publishedDatabase(t)
    await alice.run(
      `${partitioned}; SELECT millrace.publish('p', key := '{id}'); GRANT INSERT, SELECT, UPDATE ON p, two TO ${roles.bob}`,
    )
    await bob.run(
      `SET default_transaction_isolation = '${isolation}'; INSERT INTO two (id, place, v) VALUES (1, 2, 'a')`,
    )
    await alice.run('ALTER TABLE p RENAME COLUMN id TO other')
    await bob.run(
      `INSERT INTO two (other, place, v) VALUES (2, 2, 'b'); INSERT INTO p (other, place, v) VALUES (3, 2, 'c')`,
    )
    await alice.run('ALTER TABLE p RENAME COLUMN other TO id; ALTER TABLE p ADD COLUMN more int DEFAULT 7')
    await bob.run(`INSERT INTO two (id, place, v) VALUES (4, 2, 'd')`)
    await bob.run(`BEGIN; SAVEPOINT s; INSERT INTO two (id, place, v) VALUES (5, 2, 'e'); ROLLBACK TO s`)
    // the lock is gone with the savepoint; above READ COMMITTED the transaction goes on with what it saw before
    if (isolation !== 'read committed') await bob.run('COMMIT')
    await alice.run('ALTER TABLE p RENAME COLUMN id TO again')
    await bob.run(`UPDATE two SET v = 'f' WHERE v = 'd'`)
    await bob.run('COMMIT')
    assert.deepEqual(await lines(), [
      '1={"v":"a","place":2,"id":1}',
      '2={"v":"b","place":2,"id":2}',
      '3={"v":"c","place":2,"id":3}',
      '4={"v":"d","place":2,"id":4,"more":7}',
      '4={"v":"f","place":2,"id":4,"more":7}',
    ])
  })

describe('the number of the segment', () => {
  const table = `CREATE TABLE p (id int PRIMARY KEY, v text); SELECT millrace.publish('p', capture := 'row', snapshot := false)`
  const number = `SELECT pg_sequence_last_value('millrace.outbox_segment')::text`

  test('where a restore left it out, nothing is lost, and it is there again soon', async (t) => {
    const { alice, lines, superuser } = await publishedDatabase(t)
    await alice.run(`${table}; INSERT INTO p VALUES (1, 'a')`)
    assert.deepEqual(await lines(), ['1={"id":1,"v":"a"}'])
    await superuser.run('ALTER SEQUENCE millrace.outbox_segment RESTART')
    await alice.run("INSERT INTO p VALUES (2, 'b')")
    assert.deepEqual(await lines(), ['2={"id":2,"v":"b"}'])
    await superuser.run('SELECT millrace.rotate_outbox()')
    assert.equal(await superuser.value(number), '0')
  })

  test('after a change that was rolled back, triggers soon write where the others do', async (t) => {
    const { superuser } = await publishedDatabase(t)
    await superuser.run('BEGIN; UPDATE millrace.outbox_writing SET segment = 2; ROLLBACK')
    assert.equal(await superuser.value(number), '2')
    await superuser.run('SELECT millrace.rotate_outbox()')
    assert.equal(await superuser.value(number), '0')
  })
})

test('a filter over the row as a whole is refused: a trigger for each row has named columns alone', async (t) => {
  const { alice } = await publishedDatabase(t)
  await alice.run('CREATE TABLE p (id int PRIMARY KEY, v text)')
  for (const capture of ['row', 'statement']) {
    const refusal = await alice.refusal(
      `SELECT millrace.publish('p', capture := '${capture}', filter := 'to_json(n)->>''v'' = ''a''')`,
    )
    assert.match(String(refusal), /^filter-invalid/)
  }
})
