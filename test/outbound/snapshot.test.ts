// What a snapshot does where the table, the locks on it, the outbox or its writer are not as usual.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Cleanup } from '../support/cleanup.ts'
import { type Database, databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { addBroker, promptDaemon } from '../support/flow.ts'
import { distinct, promptRelay, untilSent } from '../support/sent.ts'
import { untilSnapshot } from '../support/snapshot.ts'
import { topicFor } from '../support/topic.ts'

/** Messages of the outbox that the snapshot wrote: ids of rows, in order. */
async function sentRows(db: Database, source = 'items'): Promise<number[]> {
  const { rows } = await db.query<{ id: number }>(
    "SELECT convert_from(value, 'UTF8')::int AS id FROM millrace.outbox WHERE source = $1 ORDER BY 1",
    [source],
  )
  return rows.map(({ id }) => id)
}

/** A table of 3000 rows, and a writer that sends their ids: nowhere, because there is no broker. */
async function tableFor(t: Cleanup, table = 'CREATE TABLE items (id int, pad text)'): Promise<Database> {
  const db = await databaseFor(t)
  await db.query(`${table};
    INSERT INTO items SELECT i, repeat('x', 40) FROM generate_series(1, 3000) AS i;
    CREATE FUNCTION writer(relation oid, first_block bigint, end_block bigint, again tid[])
    RETURNS TABLE (written bigint, skipped tid[]) LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
      RETURN QUERY SELECT * FROM millrace.write_chunk(relation, first_block, end_block, again,
        $m$'default', 'items', NULL::int, NULL::bytea, convert_to(t.id::text, 'UTF8'), NULL::bytea[], NULL::timestamptz, 'items'$m$,
        't.id > 0');
    END $$`)
  return db
}

const begin = "SELECT millrace.begin_snapshot('items', 'writer'::regproc) AS id"
const ids = (count: number, first = 1): number[] => Array.from({ length: count }, (_, i) => first + i)

test('every row once, with the filter, and none that is written later', async (t) => {
  const db = await tableFor(t)
  await db.query('UPDATE items SET id = -id WHERE id > 2990')
  await db.query(begin)
  await db.query("INSERT INTO items SELECT i, '' FROM generate_series(100001, 105000) AS i")
  await promptDaemon(t, db, { env: promptRelay })
  const { rows, blocks, blocks_done } = await untilSnapshot(db, 'done')
  assert.equal(blocks, blocks_done)
  const sent = await sentRows(db)
  assert.equal(Number(rows), sent.length)
  // into the last block that there was rows may still have come
  assert.deepEqual(
    sent.filter((id) => id < 100_000),
    ids(2990),
  )
  assert.ok(sent.length < 3400, `${sent.length} rows`)
})

test('rows that somebody has locked hold up nothing else, and nobody waits for the snapshot', async (t) => {
  const db = await tableFor(t)
  const holder = await db.client()
  const other = await db.client()
  await holder.query(
    'BEGIN; UPDATE items SET pad = pad WHERE id <= 100; SELECT FROM items WHERE id BETWEEN 101 AND 200 FOR SHARE',
  )
  await holder.query('SELECT FROM items WHERE id BETWEEN 201 AND 300 FOR NO KEY UPDATE')
  await db.query(begin)
  await promptDaemon(t, db, { env: promptRelay })
  const waiting = await untilSnapshot(db, 'waiting')
  assert.deepEqual(
    [waiting.rows, waiting.locked_rows, waiting.waits_for, waiting.blocks_done],
    ['2800', '200', 'rows that others have locked', waiting.blocks],
  )
  await other.query('UPDATE items SET pad = pad WHERE id > 300')
  assert.deepEqual(await sentRows(db), [...ids(100, 101), ...ids(2700, 301)])
  await holder.query('DELETE FROM items WHERE id BETWEEN 201 AND 210; COMMIT')
  await untilSnapshot(db, 'done')
  // those that were changed are captured by a trigger, where there is one
  assert.deepEqual(await sentRows(db), [...ids(100, 101), ...ids(90, 211), ...ids(2700, 301)])
})

test('a lock on the table is waited for, and is in nobody’s way', async (t) => {
  const db = await tableFor(t)
  const holder = await db.client()
  const { rows } = await db.query(begin)
  await holder.query('BEGIN; LOCK TABLE items IN ACCESS EXCLUSIVE MODE')
  await promptDaemon(t, db, { env: promptRelay })
  const waiting = await untilSnapshot(db, 'waiting')
  assert.equal(waiting.waits_for, 'a lock on the table')
  // who has the table locked may end the snapshot: no deadlock
  await holder.query('SELECT millrace.end_snapshot($1)', [rows[0].id])
  await holder.query('COMMIT')
  await untilSnapshot(db, 'ended')
  assert.deepEqual(await sentRows(db), [])
})

test('while the outbox is large nothing is added to it', async (t) => {
  const db = await tableFor(t)
  await db.query("INSERT INTO items SELECT i, repeat('y', 400) FROM generate_series(3001, 33000) AS i")
  await db.query(begin)
  await promptDaemon(t, db, { env: { ...promptRelay, MILLRACE_OUTBOUND_SNAPSHOT_BACKLOG: '1MB' } })
  const { waits_for } = await untilSnapshot(db, 'waiting')
  assert.equal(waits_for, 'the outbox to be sent')
  const { rows } = await db.query("SELECT pg_table_size('millrace.outbox_0')::int AS bytes")
  assert.ok(rows[0].bytes > 1e6 && rows[0].bytes < 8e6, `${rows[0].bytes} bytes`)
  await topicFor(t, { name: 'items', partitions: 1 })
  await addBroker(db)
  const { rows: written } = await untilSnapshot(db, 'done')
  assert.equal(written, '33000')
  await untilSent(db)
  assert.equal((await distinct(t, 'items')).records.length, 33_000)
})

for (const [what, sql] of Object.entries({
  'its table': 'DROP TABLE items',
  'its writer': 'DROP FUNCTION writer(oid, bigint, bigint, tid[])',
  'its schema': 'ALTER TABLE items SET SCHEMA shop; DROP SCHEMA shop CASCADE',
})) {
  test(`a snapshot whose end comes with ${what} is ended quietly`, async (t) => {
    const db = await tableFor(t)
    await db.query('CREATE SCHEMA shop')
    await db.query(begin)
    await db.query(sql)
    const daemon = await promptDaemon(t, db, { env: promptRelay })
    await untilSnapshot(db, 'ended')
    assert.deepEqual(await sentRows(db), [])
    await eventually(
      'it is settled',
      async () => (await db.query('SELECT FROM millrace.snapshot WHERE settled')).rows.length === 1,
    )
    assert.doesNotMatch(daemon.output(), /"level":"(warn|error)".*snapshot/)
  })
}

test('a table that is rewritten is read anew', async (t) => {
  const db = await tableFor(t)
  const holder = await db.client()
  await db.query('DELETE FROM items WHERE id <= 1000; ALTER TABLE items ADD at timestamptz DEFAULT now()')
  await holder.query('BEGIN; SELECT FROM items WHERE id = 3000 FOR UPDATE')
  await db.query(begin)
  await promptDaemon(t, db, { env: promptRelay })
  await untilSnapshot(db, 'waiting')
  assert.equal((await sentRows(db)).length, 1999)
  await holder.query('ALTER TABLE items ALTER id TYPE bigint; COMMIT')
  const { rows } = await untilSnapshot(db, 'done')
  const sent = await sentRows(db)
  assert.deepEqual([...new Set(sent)], ids(2000, 1001))
  assert.equal(Number(rows), sent.length)
})

test('partitions: all of them, also one in another schema; one that is detached is left out from then on', async (t) => {
  const db = await tableFor(
    t,
    `CREATE TABLE items (id int, pad text) PARTITION BY RANGE (id);
     CREATE TABLE low PARTITION OF items FOR VALUES FROM (-10000) TO (1000);
     CREATE TABLE middle PARTITION OF items FOR VALUES FROM (1000) TO (2000);
     CREATE SCHEMA other; CREATE TABLE other.high PARTITION OF items FOR VALUES FROM (2000) TO (200000) PARTITION BY RANGE (id);
     CREATE TABLE other.higher PARTITION OF other.high DEFAULT`,
  )
  const holder = await db.client()
  await holder.query('BEGIN; SELECT FROM items WHERE id IN (1500, 2500) FOR UPDATE')
  await db.query(begin)
  await promptDaemon(t, db, { env: promptRelay })
  await eventually('all others are sent', async () => (await sentRows(db)).length === 2998)
  await holder.query(
    'COMMIT; BEGIN; ALTER TABLE items DETACH PARTITION middle; SELECT FROM other.higher WHERE id = 2500 FOR UPDATE',
  )
  await holder.query('COMMIT')
  await untilSnapshot(db, 'done')
  const sent = await sentRows(db)
  assert.deepEqual(
    sent.filter((id) => id !== 1500),
    ids(3000).filter((id) => id !== 1500),
  )
})

test('what a chunk cannot be written for shows, and it goes on when that is over', async (t) => {
  const db = await tableFor(t)
  await db.query(`CREATE FUNCTION fails(id int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
      IF id = 2500 AND NOT EXISTS (SELECT FROM public.repaired) THEN RAISE EXCEPTION 'row % is damaged', id; END IF; RETURN true; END $$;
    CREATE TABLE repaired (); ALTER TABLE items ADD good boolean;
    CREATE OR REPLACE FUNCTION writer(relation oid, first_block bigint, end_block bigint, again tid[])
    RETURNS TABLE (written bigint, skipped tid[]) LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
      RETURN QUERY SELECT * FROM millrace.write_chunk(relation, first_block, end_block, again,
        $m$'default', 'items', NULL::int, NULL::bytea, convert_to(t.id::text, 'UTF8'), NULL::bytea[], NULL::timestamptz, 'items'$m$,
        'public.fails(t.id)');
    END $$`)
  await db.query(begin)
  const daemon = await promptDaemon(t, db, { env: promptRelay })
  const failing = await untilSnapshot(db, 'failing')
  assert.equal(failing.error_code, 'snapshot-failed')
  assert.match(failing.error_message!, /row 2500 is damaged/)
  await daemon.waitForLog('a snapshot cannot go on')
  await db.query('INSERT INTO repaired DEFAULT VALUES')
  const { error_code } = await untilSnapshot(db, 'done')
  assert.equal(error_code, null)
  assert.deepEqual(await sentRows(db), ids(3000))
})

test('pg2kafka.setup of a large table: writers go on at once, its rows follow, and DROP SCHEMA ends it', async (t) => {
  const db = await databaseFor(t)
  await db.query(`CREATE TABLE large (id int PRIMARY KEY, pad text);
    INSERT INTO large SELECT i, repeat('x', 1000) FROM generate_series(1, 9000) AS i`)
  const client = await db.client()
  const notices: (string | undefined)[] = []
  client.on('notice', ({ detail }) => notices.push(detail))
  await client.query("SELECT pg2kafka.setup('large', 'id')")
  assert.deepEqual(notices, ['code: no-daemon'])
  await client.query("UPDATE large SET pad = pad WHERE id = 1; UPDATE large SET pad = 'new' WHERE id = 2")
  const events = async () =>
    (await db.query('SELECT statement, external_id FROM pg2kafka.outbound_event_queue ORDER BY id')).rows.map(
      ({ statement, external_id }) => `${statement} ${external_id}`,
    )
  // whose rows have moved, where the snapshot may not find them
  assert.deepEqual(await events(), ['SNAPSHOT 1', 'UPDATE 2', 'SNAPSHOT 2'])
  await promptDaemon(t, db, { env: promptRelay })
  await untilSnapshot(db, 'done')
  await client.query("UPDATE large SET pad = pad WHERE id = 3; UPDATE large SET pad = 'new' WHERE id = 4")
  const all = await events()
  assert.equal(all.at(-1), 'UPDATE 4')
  assert.deepEqual(
    [...new Set(all.filter((event) => event.startsWith('SNAPSHOT')))].sort(),
    ids(9000)
      .map((id) => `SNAPSHOT ${id}`)
      .sort(),
  )
  await db.query("CREATE TABLE second AS SELECT * FROM large; SELECT pg2kafka.setup('second', 'id')")
  await db.query('DROP SCHEMA pg2kafka CASCADE')
  await eventually(
    'nothing is open',
    async () => (await db.query('SELECT FROM millrace.snapshot WHERE NOT settled')).rows.length === 0,
  )
})
