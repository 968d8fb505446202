// What a transaction produced is there exactly when it committed, and numbered in the order of the row locks.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { eventually } from '../support/eventually.ts'
import { outboxDatabase } from '../support/outbox.ts'

const produce = (value: string): string => `SELECT millrace.produce('topic', '${value}')`

describe('F16 a transaction that does not commit leaves nothing in the outbox', () => {
  test('rolled back, by error, or by its connection', async (t) => {
    const { alice, as, roles, superuser, values } = await outboxDatabase(t)
    await alice.run(`BEGIN; ${produce('rolled back')}; ROLLBACK`)
    assert.match(String(await alice.refusal(`${produce('failed')}; SELECT 1 / 0`)), /22012$/)
    const killed = await as(roles.alice)
    const pid = await killed.value('SELECT pg_backend_pid()')
    await killed.run(`BEGIN; ${produce('killed')}`)
    await superuser.run('SELECT pg_terminate_backend($1)', [pid])
    await eventually(
      'the backend is gone',
      async () =>
        (await superuser.value('SELECT count(*)::int FROM pg_stat_activity WHERE pid = $1', [pid])) === 0,
    )
    assert.deepEqual(await values(), [])
    await alice.run(`BEGIN; ${produce('committed')}; COMMIT`)
    assert.deepEqual(await values(), ['committed'])
  })

  test('to a savepoint, and in a block with an exception', async (t) => {
    const { alice, superuser, values } = await outboxDatabase(t)
    await alice.run(`BEGIN; ${produce('1')}; SAVEPOINT s; ${produce('gone')}; ROLLBACK TO s; ${produce('2')};
      SAVEPOINT r; ${produce('3')}; RELEASE r`)
    await alice.run(
      `DO $$ BEGIN PERFORM millrace.produce('topic', 'gone', 'k'); RAISE 'x'; EXCEPTION WHEN OTHERS THEN NULL; END $$`,
    )
    const xid = await alice.value('SELECT pg_current_xact_id()')
    await alice.run('COMMIT')
    assert.deepEqual(await values(), ['1', '2', '3'])
    // Also in a subtransaction the number is that of the whole one, by which a snapshot knows it.
    assert.deepEqual(await superuser.column('SELECT DISTINCT xid FROM millrace.outbox'), [xid])
  })

  test('nor does the row, where the message is refused', async (t) => {
    const { owner, bob, superuser } = await outboxDatabase(t)
    await owner.run(`CREATE TABLE t (a int); GRANT INSERT ON t TO PUBLIC;
      CREATE TRIGGER emit AFTER INSERT ON t FOR EACH ROW EXECUTE PROCEDURE pipeline_kafka.emit_tuple('topic')`)
    await bob.run('BEGIN')
    assert.equal(await bob.refusal('INSERT INTO t VALUES (1)'), 'topic-not-granted 42501')
    await bob.run('COMMIT')
    assert.equal(await superuser.value('SELECT count(*)::int FROM t'), 0)
  })
})

test('a transaction in which the segment changes writes to both, and its rows are found', async (t) => {
  const { owner, alice, superuser } = await outboxDatabase(t)
  await alice.run(`BEGIN ISOLATION LEVEL REPEATABLE READ; ${produce('1')}`)
  await owner.run('UPDATE millrace.outbox_writing SET segment = 1')
  await alice.run(`${produce('2')}; COMMIT; ${produce('3')}`)
  assert.deepEqual(await superuser.column('SELECT segment FROM millrace.outbox ORDER BY id'), [0, 1, 1])
})

test('writers that update one row are numbered in the order in which they held it', async (t) => {
  const { owner, as, roles, superuser } = await outboxDatabase(t)
  await owner.run(`CREATE TABLE counter (n int); INSERT INTO counter VALUES (0); GRANT SELECT, UPDATE ON counter TO PUBLIC;
    CREATE TRIGGER emit AFTER UPDATE ON counter FOR EACH ROW EXECUTE PROCEDURE pipeline_kafka.emit_tuple('topic', '-1', 'n')`)
  const writers = await Promise.all(Array.from({ length: 10 }, () => as(roles.alice)))
  await Promise.all(
    writers.map(async (writer) => {
      for (let i = 0; i < 20; i++) await writer.run('UPDATE counter SET n = n + 1')
    }),
  )
  const keys = await superuser.column(
    `SELECT convert_from(key, 'UTF8')::int FROM millrace.outbox ORDER BY id`,
  )
  assert.deepEqual(
    keys,
    Array.from({ length: 200 }, (_, i) => i + 1),
  )
})

test('the one that waited for a row has the higher number, however it began', async (t) => {
  const { owner, alice, bob, superuser, values } = await outboxDatabase(t)
  await owner.run(`CREATE TABLE t (a int); INSERT INTO t VALUES (0); GRANT SELECT, UPDATE ON t TO PUBLIC;
    SELECT millrace.grant_topic('topic', 'public', action := 'produce')`)
  await bob.run('BEGIN; SELECT pg_current_xact_id()')
  await alice.run('BEGIN; UPDATE t SET a = 1')
  const waiting = bob.run(`UPDATE t SET a = 2; ${produce('bob')}; COMMIT`)
  await eventually('bob waits for the row', () =>
    superuser.value(`SELECT count(*)::int FROM pg_locks WHERE NOT granted
      AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())`),
  )
  await alice.run(`${produce('alice')}; COMMIT`)
  await waiting
  assert.deepEqual(await values(), ['alice', 'bob'])
})

test('a segment is truncated while others are written', async (t) => {
  const { owner, alice, values } = await outboxDatabase(t)
  await alice.run(produce('sent'))
  await owner.run('UPDATE millrace.outbox_writing SET segment = 1')
  await owner.run('BEGIN; TRUNCATE millrace.outbox_0')
  await alice.run(`SET statement_timeout = '10s'; ${produce('written meanwhile')}`)
  await owner.run('COMMIT')
  assert.deepEqual(await values(), ['written meanwhile'])
})
