// Dead letters are shown as they are and, where they are text, as text; what is asked to be loaded again is marked with its
// request. A procedure waits for the outcome where it may commit, and says so where it may not.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ownedDatabase, type RoleSession } from '../support/owned-database.ts'

async function failing(t: Parameters<typeof ownedDatabase>[0]) {
  const db = await ownedDatabase(t)
  const owner = await db.as(db.roles.owner)
  await owner.run(`SELECT millrace.add_cluster('default', 'localhost'); CREATE TABLE t (a int); CREATE TABLE u (a int);
    SELECT millrace.consume('topic', 't', on_error := 'dead_letter'), millrace.consume('other', 'u', on_error := 'dead_letter')`)
  const [one, two] = await owner.column('SELECT id FROM millrace.consumer ORDER BY id')
  await owner.run(`INSERT INTO millrace.dead_letter (consumer_id, cluster, topic, partition, "offset", key, value, code, message)
    SELECT c.id, 'default', c.topic, n % 2, n, 'k', convert_to('v' || n, 'UTF8'), 'message-rejected', 'no'
    FROM millrace.consumer AS c, generate_series(1, 5) AS n ORDER BY c.id, n`)
  return { ...db, owner, one, two }
}

/** Holds the lock of a connected daemon, and answers requests with what it is told. */
async function pretendDaemon(db: { as: (role: string) => Promise<RoleSession>; roles: { owner: string } }) {
  const daemon = await db.as(db.roles.owner)
  await daemon.run('SELECT pg_advisory_lock_shared(1298756723, 1); LISTEN millrace')
  const asked = new Promise<void>((resolve) => daemon.client.once('notification', () => resolve()))
  return { daemon, asked }
}

test('millrace.dead_letters shows bytes, and text where they are text', async (t) => {
  const { owner, one } = await failing(t)
  await owner.run('DELETE FROM millrace.dead_letter')
  const insert = (key: string, value: string, headers: string): Promise<unknown> =>
    owner.run(
      `INSERT INTO millrace.dead_letter (consumer_id, cluster, topic, partition, "offset", key, value, headers, code, message)
        VALUES ($1, 'default', 'topic', 0, 1, ${key}, ${value}, ${headers}, 'x', 'y')`,
      [one],
    )
  await insert(`'k'`, `convert_to('grün', 'UTF8')`, `'{a,1,a,2,b,NULL}'`)
  await insert('NULL', `'\\xff00'`, `ARRAY['a', '\\xff']::bytea[]`)
  await insert(`''`, 'NULL', `ARRAY['\\xff', 'a']::bytea[]`)
  await insert(`'\\x00'`, `''`, `'{}'`)
  const { rows } = await owner.run(
    'SELECT key, key_text, value, value_text, headers_json, target FROM millrace.dead_letters ORDER BY id',
  )
  assert.deepEqual(
    rows.map((row) => [row.key_text, row.value_text, row.headers_json]),
    [
      ['k', 'grün', { a: '2', b: null }],
      [null, null, { a: null }],
      ['', null, null],
      [null, '', {}],
    ],
  )
  assert.deepEqual(rows[1]!.value, Buffer.from([255, 0]))
  assert.equal(rows[0]!.target, 'public.t')
})

describe('ask_replay', () => {
  const calls: [string, number, string][] = [
    ['', 10, '1=1'],
    ['consumer := $one', 5, 'consumer_id = $one'],
    [
      'ids := ARRAY(SELECT min(id) FROM millrace.dead_letters)',
      1,
      'id = (SELECT min(id) FROM millrace.dead_letters)',
    ],
    [`"where" := 'partition = 1'`, 6, 'partition = 1'],
    [`$one, "where" := '"offset" > 3 -- a comment'`, 2, 'consumer_id = $one AND "offset" > 3'],
    [`"where" := 'value_text = ''v1'' OR key_text = ''x"; drop table t; --'''`, 2, `value_text = 'v1'`],
    [`ids := '{}'`, 0, 'false'],
    [`"where" := 'false'`, 0, 'false'],
  ]
  for (const [args, expected, condition] of calls) {
    test(`millrace.ask_replay(${args}) asks for ${expected}`, async (t) => {
      const { owner, one } = await failing(t)
      const given = (text: string): string => text.replaceAll('$one', String(one))
      assert.equal(await owner.value(`SELECT millrace.ask_replay(${given(args)})`), String(expected))
      assert.deepEqual(
        await owner.column('SELECT id FROM millrace.dead_letters WHERE replay_id IS NOT NULL ORDER BY id'),
        await owner.column(`SELECT id FROM millrace.dead_letters WHERE ${given(condition)} ORDER BY id`),
      )
      const requests = await owner.run('SELECT kind, state, asked_count FROM millrace.request')
      assert.deepEqual(
        requests.rows,
        expected === 0 ? [] : [{ kind: 'replay', state: 'pending', asked_count: String(expected) }],
      )
    })
  }

  test('leaves to an open request what that wants, and asks anew for what a closed one left', async (t) => {
    const { owner } = await failing(t)
    await owner.run(`SELECT millrace.ask_replay("where" := '"offset" = 1')`)
    assert.equal(await owner.value('SELECT millrace.ask_replay()'), '8')
    assert.equal(await owner.value('SELECT millrace.ask_replay()'), '0')
    await owner.run(`UPDATE millrace.request SET state = 'done'`)
    assert.equal(await owner.value('SELECT millrace.ask_replay()'), '10')
  })

  test('refuses a condition that is none, and a consumer that is none', async (t) => {
    const { owner } = await failing(t)
    await owner.run(
      `CREATE FUNCTION raises() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$`,
    )
    for (const where of [
      'nothing = 1',
      ')',
      '1',
      'true) UNION SELECT 1 --',
      'true; DROP TABLE t',
      `1/0 = 1`,
      'count(*) > 0',
      'id = (SELECT d.id FROM millrace.dead_letters AS d)',
      'id = ANY (SELECT 1/(d.id - d.id) FROM millrace.dead_letters AS d)',
      'nowhere.f(id)',
      'a.b.c.d = 1',
      'generate_series(1, 2) = 1',
      'public.raises()',
      'repeat(message, 1000000000) = message',
    ]) {
      assert.equal(
        await owner.refusal('SELECT millrace.ask_replay("where" := $1)', [where]),
        'where-invalid 22023',
        where,
      )
    }
    assert.equal(await owner.refusal('SELECT millrace.ask_replay(99)'), 'consumer-missing 42704')
    assert.equal(await owner.value(`SELECT to_regclass('t') IS NOT NULL`), true)
  })
})

describe('the procedures', () => {
  for (const call of ['replay()', `try('topic', 't', 7)`]) {
    test(`CALL millrace.${call} waits for the outcome`, async (t) => {
      const db = await failing(t)
      const { daemon, asked } = await pretendDaemon(db)
      const outcome = db.owner.run(`CALL millrace.${call}`)
      await asked
      await daemon.run(`UPDATE millrace.request SET state = 'done', done_count = 6, failed_count = 4, finished_at = now(),
        result = '{"loaded": 3, "failed": 4, "reasons": [{"partition": 0}]}'`)
      const { rows, notices } = await outcome
      const request = await db.owner.value('SELECT id FROM millrace.request')
      assert.deepEqual(
        rows,
        call === 'replay()'
          ? [{ asked: '10', loaded: '6', failed: '4', request }]
          : [{ loaded: '3', failed: '4', reasons: [{ partition: 0 }], request }],
      )
      assert.ok(!notices.includes('WARNING no-daemon'))
    })

    test(`CALL millrace.${call} raises what the daemon says`, async (t) => {
      const db = await failing(t)
      const { daemon, asked } = await pretendDaemon(db)
      const outcome = db.owner.refusal(`CALL millrace.${call}`)
      await asked
      await daemon.run(
        `UPDATE millrace.request SET state = 'failed', error_code = 'topic-missing', error_message = 'no topic'`,
      )
      assert.equal(await outcome, 'request-failed 55000')
    })

    test(`CALL millrace.${call} inside a transaction block says so and returns the request`, async (t) => {
      const db = await failing(t)
      await pretendDaemon(db)
      await db.owner.run('BEGIN')
      const { rows, notices } = await db.owner.run(`CALL millrace.${call}`)
      assert.deepEqual(notices, ['NOTICE request-waiting'])
      await db.owner.run('COMMIT')
      assert.equal(rows[0]!.request, await db.owner.value('SELECT id FROM millrace.request'))
      assert.equal(rows[0]!.loaded, null)
      assert.equal(await db.owner.value('SELECT state FROM millrace.request'), 'pending')
    })
  }

  test('a function that calls one is inside a transaction block, too', async (t) => {
    const db = await failing(t)
    await pretendDaemon(db)
    await db.owner.run(`CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ DECLARE asked bigint; loaded bigint; failed bigint;
      request bigint; BEGIN CALL millrace.replay(NULL, NULL, NULL, asked, loaded, failed, request); END $$`)
    assert.deepEqual((await db.owner.run('SELECT f()')).notices, ['NOTICE request-waiting'])
  })

  test('replay of nothing returns at once', async (t) => {
    const { owner } = await failing(t)
    assert.deepEqual((await owner.run(`CALL millrace.replay("where" := 'false')`)).rows, [
      { asked: '0', loaded: null, failed: null, request: null },
    ])
  })
})

describe('try', () => {
  test('asks for what consume would do, as the role that calls', async (t) => {
    const db = await failing(t)
    const { owner, roles } = db
    await owner.run('BEGIN')
    await owner.run(
      `CALL millrace.try('topic', 't', format := 'CSV', delimiter := '\\t', on_error := 'skip')`,
    )
    await owner.run('COMMIT')
    const spec = (
      await owner.run(`SELECT c.*, r.owner AS asker, r.asked_count FROM millrace.request AS r,
        jsonb_populate_record(NULL::millrace.consumer, r.arguments) AS c`)
    ).rows[0]!
    assert.deepEqual(
      [
        spec.topic,
        spec.target_schema,
        spec.target_name,
        spec.format,
        spec.delimiter,
        spec.owner,
        spec.asker,
        spec.asked_count,
      ],
      ['topic', 'public', 't', 'csv', '\t', roles.owner, roles.owner, '100'],
    )
    assert.deepEqual([spec.id, spec.way, spec.batchsize], ['0', 'direct', 1000])
  })

  const bad: [string, string][] = [
    [`'topic', 'missing'`, 'relation-missing 42P01'],
    [`'x y', 't'`, 'topic-invalid 22023'],
    [`'topic', 't', 0`, 'messages-invalid 22023'],
    [`'topic', 't', 100000`, 'messages-invalid 22023'],
    [`'topic', 't', NULL`, 'messages-invalid 22023'],
    [`'topic', 't', mode := 'upsert'`, 'key-missing 42P10'],
    [`'topic', 't', format := 'x'`, 'format-unknown 22023'],
    [`'topic', 't', columns := '{x}'`, 'column-missing 42703'],
    [`'topic', 't', cluster := 'mars'`, 'cluster-missing 42704'],
  ]
  test('is refused as consume is', async (t) => {
    const { owner } = await failing(t)
    for (const [args, refusal] of bad)
      assert.equal(await owner.refusal(`CALL millrace.try(${args})`), refusal, args)
    assert.equal(await owner.value('SELECT count(*)::int FROM millrace.request'), 0)
  })
})

describe('the limits of dead letters', () => {
  test('dead_letter_room says how many more there may be', async (t) => {
    const { owner, one } = await failing(t)
    const room = (needed: number | null = null): Promise<unknown> =>
      owner.value('SELECT millrace.dead_letter_room($1, $2)', [one, needed])
    assert.equal(await room(), '999995')
    for (const [limit, left] of [
      [6, '1'],
      [5, '0'],
      [2, '0'],
    ]) {
      await owner.run(`SELECT millrace.alter_consumer($1, dead_letter_limit := $2)`, [one, limit])
      assert.equal(await room(), left)
      // what is asked for is there, or it is counted what is
      assert.equal(await room(1), left)
    }
    await owner.run(`SELECT millrace.alter_consumer($1, dead_letter_limit := 100)`, [one])
    assert.equal(await room(90), '90')
    assert.equal(await room(96), '95')
  })

  test('those that are too old are removed and counted, unless they are to be loaded again', async (t) => {
    const { owner, one, two } = await failing(t)
    await owner.run(`UPDATE millrace.dead_letter SET failed_at = now() - interval '1 day' WHERE "offset" <= 3;
      SELECT millrace.ask_replay(${one}, "where" := '"offset" = 1')`)
    assert.equal(await owner.value('SELECT millrace.expire_dead_letters()'), '0', 'no age was given')
    await owner.run(`SELECT millrace.alter_consumer(${one}, dead_letter_max_age := '23 hours')`)
    assert.equal(await owner.value('SELECT millrace.expire_dead_letters()'), '2')
    const { rows } = await owner.run(
      'SELECT id, dead_letters, dead_letters_expired FROM millrace.consumers ORDER BY id',
    )
    assert.deepEqual(rows, [
      { id: one, dead_letters: '3', dead_letters_expired: '2' },
      { id: two, dead_letters: '5', dead_letters_expired: '0' },
    ])
  })
})
