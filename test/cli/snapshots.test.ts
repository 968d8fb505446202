// What millrace snapshots shows, and that it waits to the end.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { promptDaemon } from '../support/flow.ts'
import { millrace } from '../support/millrace.ts'
import { untilSnapshot } from '../support/snapshot.ts'

test('millrace snapshots: none, one that waits for a daemon, one that waits for a lock, one that is done', async (t) => {
  const db = await databaseFor(t)
  const env = { DATABASE_URL: db.url }
  assert.equal((await millrace(['snapshots'], { env })).stdout, 'No snapshots.\n')
  assert.equal((await millrace(['snapshots', '--wait'], { env })).stdout, 'No snapshots.\n')
  await db.query(`CREATE TABLE large (id int PRIMARY KEY, pad text);
    INSERT INTO large SELECT i, repeat('x', 1000) FROM generate_series(1, 8000) AS i; SELECT pg2kafka.setup('large', 'id')`)
  const pending = await millrace(['snapshots'], { env, expect: 1 })
  assert.match(
    pending.stdout,
    /^ID +TABLE +STATE +ROWS +BLOCKS +OF\n *1 +public\.large +pending +0 +0 +1143\n/,
  )
  assert.match(pending.stdout, /No daemon is connected/)
  const holder = await db.client()
  await holder.query('BEGIN; SELECT FROM large WHERE id <= 5 FOR UPDATE')
  await promptDaemon(t, db)
  await untilSnapshot(db, 'waiting')
  const waiting = await millrace(['snapshots', '--id', '1'], { env })
  assert.match(
    waiting.stdout,
    /waiting +7995 +1143 +1143\n\npublic\.large: waits for rows that others have locked\n$/,
  )
  const watching = millrace(['snapshots', '--wait'], { env })
  await eventually('it watches', async () => {
    const { rows } = await db.query(
      `SELECT FROM pg_stat_activity WHERE application_name = 'millrace snapshots' AND query ~ 'daemon_connected'
         AND datname = current_database()`,
    )
    return rows.length > 0
  })
  await holder.query('COMMIT')
  const { stdout } = await watching
  assert.match(stdout, /^1143 of 1143 blocks, 7995 rows, waits for rows that others have locked$/m)
  assert.match(stdout, /done +8000 +1143 +1143\n$/)
})

test('millrace snapshots: one that cannot go on', async (t) => {
  const db = await databaseFor(t)
  await db.query(`CREATE TABLE items (n int); INSERT INTO items VALUES (1);
    CREATE FUNCTION writer(relation oid, first_block bigint, end_block bigint, again tid[])
    RETURNS TABLE (written bigint, skipped tid[]) LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not today'; END $$;
    SELECT millrace.begin_snapshot('items', 'writer'::regproc)`)
  await promptDaemon(t, db)
  await untilSnapshot(db, 'failing')
  const { stdout } = await millrace(['snapshots'], { env: { DATABASE_URL: db.url }, expect: 1 })
  const said =
    /\n\npublic\.items: snapshot-failed: rows of a table could not be sent: not today \(P0001\)\n {2}hint: .+\n$/
  assert.match(stdout, said)
  const status = await millrace(['status'], { env: { DATABASE_URL: db.url }, expect: 1 })
  assert.match(status.stdout, said)
  const { stderr } = await millrace(['snapshots', '--id', 'x'], { env: { DATABASE_URL: db.url }, expect: 2 })
  assert.match(stderr, /--id takes a number/)
})
