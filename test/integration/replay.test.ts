// Dead letters are loaded again as SQL asks for it: each is gone when its row is there, and one that fails again stays.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { consume, promptDaemon, untilPassed, untilRows, untilState } from '../support/flow.ts'
import { deadLetters, mend, multiply, numbers, refusing } from '../support/letters.ts'
import { plainRoles } from '../support/plain-roles.ts'
import { produce, topicFor } from '../support/topic.ts'

const rows = 'SELECT n FROM target ORDER BY n'
const left = 'SELECT count(*)::int FROM millrace.dead_letter'

test('CALL millrace.replay() loads all that can be loaded, and waits for it', async (t) => {
  const { db } = await deadLetters(t, refusing, [...numbers(6), { value: 'x' }])
  await promptDaemon(t, db)
  const { rows: before } = await db.query('CALL millrace.replay()')
  assert.deepEqual([before[0].asked, before[0].loaded, before[0].failed], ['7', '0', '7'])
  await untilRows(db, 'SELECT attempts, replay_id, count(*)::int FROM millrace.dead_letter GROUP BY 1, 2', [
    [2, null, 7],
  ])
  await mend(db)
  const { rows: after } = await db.query('CALL millrace.replay()')
  assert.deepEqual([after[0].asked, after[0].loaded, after[0].failed], ['7', '6', '1'])
  await untilRows(db, rows, [[0], [1], [2], [3], [4], [5]])
  await untilRows(db, `SELECT attempts, sqlstate, convert_from(value, 'UTF8') FROM millrace.dead_letter`, [
    [3, '22P02', 'x'],
  ])
  const { rows: requests } = await db.query('SELECT * FROM millrace.request ORDER BY id DESC LIMIT 1')
  const { state, result, error_code, backend_pid } = requests[0]
  assert.deepEqual([state, error_code, backend_pid], ['done', null, null])
  assert.equal(result.reasons.length, 1)
  assert.deepEqual([result.reasons[0].sqlstate, result.reasons[0].code], ['22P02', 'message-rejected'])
  assert.match(result.reasons[0].message, /invalid input syntax for type integer: "x"/)
})

test('inside a transaction block it says that it cannot wait, and the daemon sees it after COMMIT', async (t) => {
  const { db } = await deadLetters(t, refusing, numbers(3))
  await mend(db)
  await promptDaemon(t, db)
  const client = await db.client()
  const notices: string[] = []
  client.on('notice', ({ detail }) => notices.push(String(detail)))
  await client.query('BEGIN')
  const { rows: called } = await client.query('CALL millrace.replay()')
  assert.equal(called[0].asked, '3')
  assert.ok(notices.includes('code: request-waiting'), notices.join())
  await client.query('COMMIT')
  await untilRows(db, 'SELECT state, done_count::int FROM millrace.request', [['done', 3]])
  await untilRows(db, rows, [[0], [1], [2]])
  await untilRows(db, left, [[0]])
})

describe('what is asked for and nothing else', () => {
  const calls: [string, string, number[]][] = [
    ['by id', `ids := ARRAY(SELECT id FROM millrace.dead_letters WHERE value_text IN ('1', '4'))`, [1, 4]],
    ['by consumer', 'consumer := (SELECT id FROM millrace.consumers)', [0, 1, 2, 3, 4, 5]],
    ['by a condition', `"where" := 'value_text::int % 2 = 0 AND sqlstate = ''23514'''`, [0, 2, 4]],
    [
      'by all of them',
      `(SELECT id FROM millrace.consumers), ARRAY(SELECT id FROM millrace.dead_letters), 'value_text = ''3'''`,
      [3],
    ],
  ]
  for (const [how, args, expected] of calls) {
    test(`SELECT millrace.ask_replay: ${how}`, async (t) => {
      const { db } = await deadLetters(t, refusing, numbers(6))
      await mend(db)
      await promptDaemon(t, db)
      const { rows: asked } = await db.query(`SELECT millrace.ask_replay(${args})::int AS asked`)
      assert.equal(asked[0].asked, expected.length)
      await untilRows(db, 'SELECT state FROM millrace.request', [['done']])
      await untilRows(
        db,
        rows,
        expected.map((n) => [n]),
      )
      await untilRows(db, left, [[6 - expected.length]])
    })
  }
})

test('a stopped consumer, thousands of letters, two of each offset after a seek back', async (t) => {
  const { db, topic, id } = await deadLetters(t, refusing, numbers(10))
  const daemon = await promptDaemon(t, db)
  await db.query(`SELECT millrace.pause($1)`, [id])
  await db.query(`SELECT millrace.seek($1, 'beginning')`, [id])
  await db.query(`SELECT millrace.resume($1)`, [id])
  await untilRows(db, left, [[20]])
  await untilPassed(db, topic, 10)
  await db.query(`SELECT millrace.pause($1)`, [id])
  await multiply(db, { from: 10, to: 3500 })
  await multiply(db, { from: 10, to: 3500 })
  await mend(db)
  const { rows: called } = await db.query('CALL millrace.replay($1)', [id])
  assert.deepEqual(
    [called[0].asked, called[0].loaded, called[0].failed],
    ['7000', '7000', '0'],
    daemon.output(),
  )
  await untilRows(db, 'SELECT count(*)::int, count(DISTINCT n)::int AS different FROM target', [[7000, 3500]])
  await untilRows(db, left, [[0]])
})

test('what goes into a column is what the message had', async (t) => {
  const metadata = { key: 'k', topic: 't', partition: 'p', offset: 'o', timestamp: 's', headers: 'h' }
  const { db, topic } = await deadLetters(
    t,
    'CREATE TABLE target (n int CONSTRAINT refuse CHECK (n < 0), k text, t text, p int, o bigint, s timestamptz, h jsonb)',
    [
      {
        key: 'key',
        value: '{"n": 5}',
        partition: 1,
        timestamp: 1_700_000_000_123,
        headers: { a: 'b' },
      },
    ],
    { format: 'json', metadata },
  )
  await mend(db)
  await promptDaemon(t, db)
  await db.query('CALL millrace.replay()')
  await untilRows(db, 'SELECT n, k, t, p, o::int, s, h FROM target', [
    [5, 'key', topic, 1, 0, new Date(1_700_000_000_123), [{ name: 'a', value: 'b' }]],
  ])
})

test('a relation that is gone: the request fails with the code, the letters stay', async (t) => {
  const { db } = await deadLetters(t, refusing, numbers(4))
  await db.query('DROP TABLE target')
  await promptDaemon(t, db)
  await assert.rejects(db.query('CALL millrace.replay()'), (error: Error & { detail?: string }) => {
    assert.match(error.message, /relation-missing/)
    assert.match(String(error.detail), /request-failed/)
    return true
  })
  await untilRows(db, 'SELECT state, error_code, failed_count::int FROM millrace.request', [
    ['failed', 'relation-missing', 4],
  ])
  await untilRows(db, 'SELECT attempts, replay_id, count(*)::int FROM millrace.dead_letter GROUP BY 1, 2', [
    [1, null, 4],
  ])
  await db.query('CREATE TABLE target (n int)')
  const { rows: called } = await db.query('CALL millrace.replay()')
  assert.deepEqual([called[0].loaded, called[0].failed], ['4', '0'])
})

test('a failed consumer may keep its bad messages from now on, or pass over one', async (t) => {
  const { db, topic, id } = await deadLetters(t, refusing, numbers(2))
  await mend(db)
  await db.query(`SELECT millrace.alter_consumer($1, on_error := 'stop')`, [id])
  await produce(topic, [
    { value: 'x', partition: 1 },
    { value: 'y', partition: 1 },
    { value: '5', partition: 1 },
  ])
  await promptDaemon(t, db)
  await untilState(db, topic, 'failed')
  await db.query(
    `SELECT millrace.seek(id, error_offset + 1, error_partition) FROM millrace.consumers WHERE topic = $1 AND state = 'failed'`,
    [topic],
  )
  await untilRows(db, 'SELECT error_offset::int FROM millrace.consumers', [[2]])
  await db.query(`SELECT millrace.alter_consumer(id, on_error := 'dead_letter') FROM millrace.consumers`)
  await untilPassed(db, topic, 5)
  await untilRows(db, rows, [[5]])
  await untilRows(
    db,
    `SELECT convert_from(value, 'UTF8') FROM millrace.dead_letter ORDER BY id DESC LIMIT 1`,
    [['y']],
  )
})

test('F07 a lock on the relation is waited out, and the request says so', async (t) => {
  const { db } = await deadLetters(t, refusing, numbers(4))
  await mend(db)
  const holder = await db.client()
  await holder.query('BEGIN; LOCK TABLE target IN ACCESS EXCLUSIVE MODE')
  await promptDaemon(t, db)
  await db.query('SELECT millrace.ask_replay()')
  await untilRows(db, 'SELECT state, error_code FROM millrace.request', [['running', '55P03']])
  await holder.query('ROLLBACK')
  await untilRows(db, 'SELECT state, error_code, done_count::int FROM millrace.request', [['done', null, 4]])
  await untilRows(db, 'SELECT count(*)::int, max(n) FROM target', [[4, 3]])
})

describe('rights', () => {
  async function ofOwner(t: Parameters<typeof plainRoles>[0] & { passed?: boolean }, table: string) {
    const roles = await plainRoles(t)
    const asOwner = await roles.db.client({ connectionString: roles.urlOf(roles.owner) })
    const topic = await topicFor(t, { partitions: 1 })
    await asOwner.query(table)
    await produce(topic, numbers(5))
    const daemon = await promptDaemon(t, { url: roles.urlOf(roles.daemon) })
    const id = await consume(asOwner, topic, 'target', {
      format: 'text',
      on_error: 'dead_letter',
      columns: ['n'],
    })
    await untilRows(roles.db, left, [[5]])
    return { ...roles, asOwner, topic, id, daemon }
  }

  const ways: [string, string][] = [
    ['directly', `CREATE TABLE target (n int CONSTRAINT refuse CHECK (n < 0), by text DEFAULT CURRENT_USER)`],
    [
      'by way of staging',
      `CREATE TABLE target (n int CONSTRAINT refuse CHECK (n < 0), by text DEFAULT CURRENT_USER);
       CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.by := CURRENT_USER; RETURN NEW; END $$;
       CREATE TRIGGER note BEFORE INSERT ON target FOR EACH ROW EXECUTE FUNCTION note()`,
    ],
  ]
  for (const [way, table] of ways) {
    test(`rows come from the owner of the consumer, ${way}`, async (t) => {
      const { db, asOwner, owner } = await ofOwner(t, table)
      await mend(db)
      const { rows: called } = await asOwner.query('CALL millrace.replay()')
      assert.deepEqual([called[0].asked, called[0].loaded], ['5', '5'])
      await untilRows(db, 'SELECT by, count(*)::int FROM target GROUP BY 1', [[owner, 5]])
    })
  }

  test('F37 a role cannot replay the letters of another one', async (t) => {
    const { db, id, mallory, urlOf } = await ofOwner(t, refusing)
    await mend(db)
    const asMallory = await db.client({ connectionString: urlOf(mallory) })
    const { rows: ids } = await db.query('SELECT array_agg(id) AS ids FROM millrace.dead_letter')
    const { rows: asked } = await asMallory.query('SELECT millrace.ask_replay(ids := $1)::int AS asked', [
      ids[0].ids,
    ])
    assert.equal(asked[0].asked, 0)
    await assert.rejects(asMallory.query('SELECT millrace.ask_replay($1)', [id]), /there is no consumer/)
    // by hand: a request of its own, for letters of others
    await asMallory.query(`INSERT INTO millrace.request (kind, asked_count) VALUES ('replay', 5)`)
    await asMallory.query(
      'UPDATE millrace.dead_letter SET replay_id = (SELECT max(id) FROM millrace.request)',
    )
    await untilRows(db, 'SELECT state, done_count::int FROM millrace.request', [['done', 0]])
    await untilRows(db, left, [[5]])
    await untilRows(db, rows, [])
  })

  test('F37 a right that was taken away: the request fails and nothing is loaded', async (t) => {
    const { db, asOwner, owner, mallory } = await ofOwner(t, refusing)
    await mend(db)
    await db.query(`ALTER TABLE target OWNER TO ${mallory}; REVOKE ALL ON target FROM ${owner}`)
    await assert.rejects(asOwner.query('CALL millrace.replay()'), /target-refused/)
    await untilRows(db, left, [[5]])
    await untilRows(db, rows, [])
  })
})
