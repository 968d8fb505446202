// A try really loads what a topic ends with, says what would fail and why, and leaves nothing behind.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Cleanup } from '../support/cleanup.ts'
import { type Database, databaseFor } from '../support/database.ts'
import { addBroker, promptDaemon, untilRows } from '../support/flow.ts'
import { plainRoles } from '../support/plain-roles.ts'
import { produce, topicFor } from '../support/topic.ts'

async function setUp(t: Cleanup & { passed?: boolean }, table: string, partitions = 1) {
  const db = await databaseFor(t)
  await addBroker(db)
  await db.query(table)
  const topic = await topicFor(t, { partitions })
  await promptDaemon(t, db)
  return { db, topic }
}

interface Outcome {
  loaded: number
  failed: number
  reasons: { partition: number; offset: string; code: string; sqlstate: string | null; message: string }[]
}

async function tryLoad(db: Database, topic: string, options = ''): Promise<Outcome> {
  const { rows } = await db.query(`CALL millrace.try($1, 'target'${options && `, ${options}`})`, [topic])
  const { loaded, failed, reasons } = rows[0]
  return { loaded: Number(loaded), failed: Number(failed), reasons }
}

test('what would be loaded, what would fail and why; nothing is kept', async (t) => {
  const { db, topic } = await setUp(
    t,
    `CREATE TABLE target (id serial, n int UNIQUE, t varchar(3));
     CREATE TABLE audit (n int);
     CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
       IF NEW.n = 13 THEN RAISE EXCEPTION 'not that one'; END IF; INSERT INTO audit VALUES (NEW.n); RETURN NEW; END $$;
     CREATE TRIGGER note BEFORE INSERT ON target FOR EACH ROW EXECUTE FUNCTION note();
     INSERT INTO target (n) VALUES (4); TRUNCATE audit`,
  )
  const values = ['{"n": 1}', '{"n": "x"}', '{"n": 3, "t": "long"}', '{"n": 4}', '{', '{"n": 13}', '{"n": 7}']
  await produce(
    topic,
    values.map((value) => ({ value })),
  )
  const { loaded, failed, reasons } = await tryLoad(db, topic)
  assert.deepEqual([loaded, failed], [2, 5])
  assert.deepEqual(
    reasons
      .toSorted((a, b) => Number(a.offset) - Number(b.offset))
      .map((r) => [r.partition, r.offset, r.sqlstate, r.code]),
    [
      [0, '1', '22P02', 'message-rejected'],
      [0, '2', '22001', 'message-rejected'],
      [0, '3', '23505', 'message-rejected'],
      [0, '4', null, 'json-invalid'],
      [0, '5', 'P0001', 'message-rejected'],
    ],
  )
  assert.ok(reasons.some(({ message }) => message.includes('not that one')))
  await untilRows(db, 'SELECT n FROM target', [[4]])
  await untilRows(db, 'SELECT count(*)::int FROM audit', [[0]])
  await untilRows(db, 'SELECT count(*)::int FROM millrace.consumer', [[0]])
  await untilRows(db, 'SELECT count(*)::int FROM millrace.position', [[0]])
  await untilRows(
    db,
    'SELECT state, asked_count::int, done_count::int, failed_count::int FROM millrace.request',
    [['done', 7, 2, 5]],
  )
})

test('the last ones of all partitions together; more of one where another has few', async (t) => {
  const { db, topic } = await setUp(t, 'CREATE TABLE target (n int)', 3)
  const counts = [50, 2, 2500]
  await produce(
    topic,
    counts.flatMap((count, partition) =>
      Array.from({ length: count }, (_, i) => ({ value: i >= count - 2 ? 'bad' : String(i), partition })),
    ),
  )
  const few = await tryLoad(db, topic, `messages := 3, format := 'text'`)
  assert.deepEqual([few.loaded, few.failed], [0, 3])
  assert.deepEqual(
    few.reasons.map(({ partition, offset }) => [partition, offset]),
    [
      [0, '49'],
      [1, '1'],
      [2, '2499'],
    ],
  )
  const many = await tryLoad(db, topic, `messages := 2000, format := 'text'`)
  assert.deepEqual([many.loaded, many.failed], [1994, 6])
  const all = await tryLoad(db, topic, `messages := 99999, format := 'text'`)
  assert.deepEqual([all.loaded, all.failed], [2546, 6])
})

test('aborted transactions are not messages: so many offsets more are read', async (t) => {
  const { db, topic } = await setUp(t, 'CREATE TABLE target (n int)')
  await produce(topic, [{ value: '1' }, { value: '2' }, { value: 'x' }])
  await produce(
    topic,
    Array.from({ length: 30 }, () => ({ value: 'aborted' })),
    { transaction: 'abort' },
  )
  const { loaded, failed, reasons } = await tryLoad(db, topic, `messages := 2, format := 'text'`)
  assert.deepEqual([loaded, failed, reasons[0]?.offset], [1, 1, '2'])
})

test('a transform, an upsert; an empty topic; inside a transaction block', async (t) => {
  const { db, topic } = await setUp(t, 'CREATE TABLE target (n int PRIMARY KEY, t text)')
  assert.deepEqual(await tryLoad(db, topic), { loaded: 0, failed: 0, reasons: [] })
  await produce(topic, [{ value: '{"n": 1}' }, { value: '{"n": 1}' }, { value: '{"n": 0}' }])
  const upsert = await tryLoad(db, topic, `mode := 'upsert'`)
  assert.deepEqual([upsert.loaded, upsert.failed], [3, 0])
  const transform = await tryLoad(
    db,
    topic,
    `transform := $$SELECT 10 / (value->>'n')::int, 'x' FROM batch ON CONFLICT (n) DO NOTHING$$`,
  )
  assert.deepEqual([transform.loaded, transform.failed, transform.reasons[0]?.sqlstate], [2, 1, '22012'])
  const client = await db.client()
  await client.query('BEGIN')
  const { rows } = await client.query('CALL millrace.try($1, $2)', [topic, 'target'])
  assert.equal(rows[0].loaded, null)
  await client.query('COMMIT')
  await untilRows(
    db,
    `SELECT state, (result ->> 'loaded')::int AS loaded, (result ->> 'failed')::int AS failed FROM millrace.request WHERE id = ${rows[0].request}`,
    [['done', 2, 1]],
  )
  await untilRows(db, 'SELECT count(*)::int FROM target', [[0]])
})

describe('what cannot be tried fails with its code', () => {
  test('a topic that is not there', async (t) => {
    const { db } = await setUp(t, 'CREATE TABLE target (n int)')
    await assert.rejects(tryLoad(db, 'no-such-topic'), /topic-missing/)
    await untilRows(db, 'SELECT state, error_code FROM millrace.request', [['failed', 'topic-missing']])
  })

  test('F37 a topic that is not granted, a relation without the right', async (t) => {
    const { db, urlOf, mallory, owner, daemon } = await plainRoles(t)
    const topic = await topicFor(t, { partitions: 1 })
    await produce(topic, [{ value: '{"n": 1}' }])
    await db.query(`CREATE TABLE target (n int); CREATE TABLE own (n int, by text DEFAULT CURRENT_USER);
      ALTER TABLE own OWNER TO ${owner}`)
    await promptDaemon(t, { url: urlOf(daemon) })
    const asMallory = await db.client({ connectionString: urlOf(mallory) })
    const asOwner = await db.client({ connectionString: urlOf(owner) })
    await db.query(`CREATE TABLE hers (n int); ALTER TABLE hers OWNER TO ${mallory}`)
    await assert.rejects(asMallory.query('CALL millrace.try($1, $2)', [topic, 'hers']), /not granted|may not/)
    await assert.rejects(asOwner.query('CALL millrace.try($1, $2)', [topic, 'target']), /may not insert/)
    const { rows } = await asOwner.query('CALL millrace.try($1, $2)', [topic, 'own'])
    assert.deepEqual([rows[0].loaded, rows[0].failed], ['1', '0'])
    await untilRows(db, 'SELECT count(*)::int FROM own', [[0]])
  })
})
