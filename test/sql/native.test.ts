// The functions of the core's own interface: every option, good and bad; what is refused is refused by the call itself,
// with a code, and leaves nothing behind.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { eventually } from '../support/eventually.ts'
import { ownedDatabase, type RoleSession } from '../support/owned-database.ts'

const tables = `CREATE TABLE t (id int PRIMARY KEY, a int, b text, meta text, made int GENERATED ALWAYS AS (1) STORED, rest jsonb,
    UNIQUE (a, b)); CREATE TABLE "My Table" ("A b" int); CREATE TABLE keyless (a int)`

async function prepared(t: Parameters<typeof ownedDatabase>[0]): Promise<RoleSession> {
  const { as, roles } = await ownedDatabase(t)
  const owner = await as(roles.owner)
  await owner.run(`SELECT millrace.add_cluster('default', 'localhost:9092'); ${tables}`)
  return owner
}

const row = async (session: RoleSession, id: unknown): Promise<Record<string, unknown>> =>
  (await session.run('SELECT * FROM millrace.consumer WHERE id = $1', [id])).rows[0]!

const consume = (rest: string, topic = 'topic', into = 't'): string =>
  `SELECT millrace.consume('${topic}', '${into}'${rest})`

test('consume', async (t) => {
  const owner = await prepared(t)

  await t.test('has the documented defaults and returns a number', async () => {
    const id = await owner.value(consume('', 'defaults'))
    const consumer = await row(owner, id)
    const expected = {
      ...{ cluster: 'default', topic: 'defaults', target_schema: 'public', target_name: 't', format: 'json' },
      ...{ delimiter: null, mode: 'insert', on_error: 'stop', on_offset_gap: 'stop', unknown_keys: 'ignore' },
      ...{ missing_keys: 'default', dead_letter_limit: '1000000', dead_letter_max_age: null, metadata: null },
      ...{ batchsize: 1000, maxbytes: 32000000, parallelism: 1, timeout: 250, start_offset: null },
      ...{ start_time: null, start_partitions: null, start_pending: true, route_by_key: false },
      ...{ topic_pattern: null, parent_id: null, wanted: 'running', version: '1', way: 'direct' },
    }
    for (const [name, value] of Object.entries(expected)) assert.deepEqual(consumer[name], value, name)
  })

  const good: [string, string][] = [
    ['csv', `, format := 'CSV', delimiter := ';', quote := '|', escape := '|'`],
    ['a path', `, json_path := '$.a.b'`],
    ['a path of elements', `, json_path := '$.rows[*]'`],
    ['a path without $', `, json_path := 'a.b'`],
    ['a path of the whole', `, json_path := '$[*]'`],
    ['a path of quoted names', `, json_path := '$["a b"].c[''d''][*]'`],
    ['a path of names in another script', `, json_path := 'größe.$x-y_1[*]'`],
    ['columns', `, columns := '{id,b}'`],
    ['a rest', `, rest_column := 'rest'`],
    ['strictness', `, unknown_keys := 'error', missing_keys := 'error'`],
    ['metadata', `, metadata := '{"key": "meta", "offset": "a"}'`],
    ['upsert', `, mode := 'upsert'`],
    ['upsert by a unique index', `, mode := 'upsert', key_columns := '{b,a}'`],
    ['upsert of csv', `, mode := 'upsert', format := 'csv', tombstone := 'skip'`],
    ['changes', `, mode := 'changes'`],
    ['a tombstone as a row', `, tombstone := 'row', metadata := '{"key": "meta"}'`],
    [
      'a transform',
      `, transform := 'SELECT id, a FROM batch ON CONFLICT DO NOTHING', columns := '{"id int","a numeric(9,2)"}'`,
    ],
    [
      'a transform with types',
      `, transform := 'WITH x AS (SELECT 1) TABLE x', columns := '{"id int[]","\\"A b\\" timestamptz","c varchar(3)"}'`,
    ],
    ['dead letters', `, on_error := 'dead_letter', dead_letter_limit := 1, dead_letter_max_age := '1 day'`],
    ['skipping', `, on_error := 'skip', on_offset_gap := 'earliest'`],
    ['an offset', ', start_offset := 9007199254740993'],
    ['a time', `, start_time := '2026-01-01 00:00+00'`],
    ['partitions', `, start_partitions := '{"0": 42, "11": -2}'`],
    ['numbers', ', batchsize := 1, maxbytes := 2, parallelism := 3, timeout := 4'],
    ['a group', `, group_id := 'mine'`],
    ['an encoding', `, format := 'text', encoding := 'LATIN1', delimiter := ','`],
  ]
  for (const [index, [name, rest]] of good.entries()) {
    await t.test(`takes ${name}`, async () => {
      assert.equal(await owner.refusal(consume(rest, `good-${index}`)), null)
    })
  }

  const bad: [string, string][] = [
    [`, format := 'avro'`, 'format-unknown 22023'],
    [`, format := 'text', delimiter := 'x'`, 'delimiter-invalid 22023'],
    [`, quote := '"'`, 'quote-invalid 22023'],
    [`, escape := '"'`, 'escape-invalid 22023'],
    [`, encoding := 'x"; --'`, 'encoding-unknown 22023'],
    [', batchsize := 0', 'batchsize-invalid 22023'],
    [', batchsize := NULL', 'batchsize-invalid 22023'],
    [', maxbytes := 0', 'maxbytes-invalid 22023'],
    [', parallelism := 0', 'parallelism-invalid 22023'],
    [', timeout := 0', 'timeout-invalid 22023'],
    [', start_offset := -3', 'start-offset-invalid 22023'],
    [`, start_time := 'infinity'`, 'start-offset-invalid 22023'],
    [`, start_time := now(), start_offset := 1`, 'start-offset-invalid 22023'],
    [`, start_partitions := '{}'`, 'start-offset-invalid 22023'],
    [`, start_partitions := '[1]'`, 'start-offset-invalid 22023'],
    [`, start_partitions := '{"x": 1}'`, 'start-offset-invalid 22023'],
    [`, start_partitions := '{"0": 1.5}'`, 'start-offset-invalid 22023'],
    [`, start_partitions := '{"0": -3}'`, 'start-offset-invalid 22023'],
    [`, start_partitions := '{"0": "1"}'`, 'start-offset-invalid 22023'],
    [`, group_id := 'millrace.x'`, 'group-invalid 22023'],
    [`, on_error := 'ignore'`, 'on-error-invalid 22023'],
    [', on_error := NULL', 'on-error-invalid 22023'],
    [`, on_offset_gap := 'latest'`, 'offset-gap-invalid 22023'],
    [', dead_letter_limit := 0', 'dead-letter-limit-invalid 22023'],
    [', dead_letter_limit := NULL', 'dead-letter-limit-invalid 22023'],
    [`, dead_letter_max_age := '0'`, 'dead-letter-limit-invalid 22023'],
    [`, mode := 'merge'`, 'mode-invalid 22023'],
    [', mode := NULL', 'mode-invalid 22023'],
    [`, tombstone := 'keep'`, 'tombstone-invalid 22023'],
    [`, unknown_keys := 'stop'`, 'unknown-keys-invalid 22023'],
    [`, missing_keys := 'null'`, 'missing-keys-invalid 22023'],
    [`, json_path := ''`, 'json-path-invalid 22023'],
    [`, json_path := '$..a'`, 'json-path-invalid 22023'],
    [`, json_path := '$a'`, 'json-path-invalid 22023'],
    [`, json_path := '$.a[0]'`, 'json-path-invalid 22023'],
    [`, json_path := '$[*].a'`, 'json-path-invalid 22023'],
    [`, json_path := '["a"]'`, 'json-path-invalid 22023'],
    [`, json_path := '$.a['`, 'json-path-invalid 22023'],
    [`, json_path := '$.a[x]'`, 'json-path-invalid 22023'],
    [`, json_path := 'a b'`, 'json-path-invalid 22023'],
    [`, json_path := '$.a ? (@.b)'`, 'json-path-invalid 22023'],
    [`, metadata := '[]'`, 'metadata-invalid 22023'],
    [`, metadata := '{"epoch": "a"}'`, 'metadata-invalid 22023'],
    [`, metadata := '{"key": 1}'`, 'metadata-invalid 22023'],
    [`, metadata := '{"key": "a", "offset": "a"}'`, 'metadata-invalid 22023'],
    [`, metadata := '{"key": "missing"}'`, 'column-missing 42703'],
    [`, metadata := '{"key": "a"}', columns := '{a}'`, 'option-conflict 22023'],
    [`, columns := '{}'`, 'columns-invalid 22023'],
    [`, columns := '{a,NULL}'`, 'columns-invalid 22023'],
    [`, columns := '{missing}'`, 'column-missing 42703'],
    [`, columns := '{made}'`, 'column-missing 42703'],
    [`, columns := '{A}'`, 'column-missing 42703'],
    [`, columns := '{a,a}'`, 'option-conflict 22023'],
    [`, columns := ARRAY['a", b']`, 'column-missing 42703'],
    [`, rest_column := 'missing'`, 'column-missing 42703'],
    [`, rest_column := 'a'`, 'rest-column-invalid 42804'],
    [`, rest_column := 'rest', unknown_keys := 'error'`, 'option-conflict 22023'],
    [`, transform := 'DELETE FROM t'`, 'transform-invalid 22023'],
    [`, transform := ''`, 'transform-invalid 22023'],
    [`, transform := 'SELECT 1', mode := 'upsert'`, 'option-conflict 22023'],
    [`, transform := 'SELECT 1', columns := '{a}'`, 'columns-invalid 22023'],
    [`, transform := 'SELECT 1', columns := '{"a nothing"}'`, 'columns-invalid 22023'],
    [`, transform := 'SELECT 1', columns := ARRAY['a int, b int']`, 'columns-invalid 22023'],
    [`, transform := 'SELECT 1', columns := '{"a int DEFAULT 1"}'`, 'columns-invalid 22023'],
    [`, transform := 'SELECT 1', columns := '{"a int --"}'`, 'columns-invalid 22023'],
    [`, transform := 'SELECT 1', columns := '{"a int /*"}'`, 'columns-invalid 22023'],
    [`, transform := 'SELECT 1', columns := '{"a public.t"}'`, 'columns-invalid 22023'],
    [`, format := 'csv', mode := 'changes'`, 'option-conflict 22023'],
    [`, format := 'csv', json_path := 'a'`, 'option-conflict 22023'],
    [`, format := 'csv', rest_column := 'rest'`, 'option-conflict 22023'],
    [`, format := 'csv', unknown_keys := 'error'`, 'option-conflict 22023'],
    [`, format := 'csv', missing_keys := 'error'`, 'option-conflict 22023'],
    [`, mode := 'changes', json_path := 'a'`, 'option-conflict 22023'],
    [`, key_columns := '{id}'`, 'option-conflict 22023'],
    [`, mode := 'upsert', key_columns := '{}'`, 'columns-invalid 22023'],
    [`, mode := 'upsert', key_columns := '{id,id}'`, 'columns-invalid 22023'],
    [`, mode := 'upsert', key_columns := '{a}'`, 'key-missing 42P10'],
    [`, mode := 'upsert', key_columns := '{missing}'`, 'column-missing 42703'],
    [`, tombstone := 'delete'`, 'option-conflict 22023'],
    [`, mode := 'upsert', tombstone := 'row'`, 'option-conflict 22023'],
    [`, topic_pattern := 'a.*'`, 'option-conflict 22023'],
    [`, route_by_key := true, transform := 'SELECT 1'`, 'option-conflict 22023'],
    [`, cluster := 'mars'`, 'cluster-missing 42704'],
  ]
  for (const [rest, refusal] of bad) {
    await t.test(`refuses consume('topic', 't'${rest}): ${refusal}`, async () => {
      assert.equal(await owner.refusal(consume(rest, 'bad')), refusal)
      assert.equal(await owner.value(`SELECT count(*)::int FROM millrace.consumer WHERE topic = 'bad'`), 0)
    })
  }

  await t.test('F35 takes hostile names as data', async () => {
    const hostile = 'x"; drop table t; --'
    for (const call of ['SELECT millrace.consume($1, $2)', 'SELECT millrace.consumer_id($1, $2)']) {
      assert.match(String(await owner.refusal(call, [hostile, 't'])), /^(topic-invalid|consumer-missing) /)
      assert.match(
        String(await owner.refusal(call, ['topic', hostile])),
        /^(relation-missing|consumer-missing) /,
      )
    }
    await owner.run(`CREATE TABLE odd ("${hostile.replace('"', '""')}" text, id int PRIMARY KEY)`)
    const id = await owner.value(
      `SELECT millrace.consume('odd', 'odd', columns := ARRAY[$1], metadata := '{"offset": "id"}')`,
      [hostile],
    )
    assert.deepEqual((await row(owner, id)).columns, [hostile])
    assert.equal(await owner.value(`SELECT to_regclass('t') IS NOT NULL`), true)
  })

  await t.test('of a relation without a key refuses upsert', async () => {
    assert.equal(await owner.refusal(consume(`, mode := 'upsert'`, 'k', 'keyless')), 'key-missing 42P10')
    await owner.run('CREATE UNIQUE INDEX partial ON keyless (a) WHERE a > 0')
    assert.equal(
      await owner.refusal(consume(`, mode := 'upsert', key_columns := '{a}'`, 'k', 'keyless')),
      'key-missing 42P10',
    )
    await owner.run('ALTER TABLE keyless ADD PRIMARY KEY (a) DEFERRABLE')
    assert.equal(await owner.refusal(consume(`, mode := 'upsert'`, 'k', 'keyless')), 'key-missing 42P10')
    await owner.run('CREATE VIEW v AS SELECT * FROM t')
    assert.equal(await owner.refusal(consume(`, mode := 'upsert'`, 'k', 'v')), 'key-missing 42P10')
  })

  await t.test('leaves a running one as it is, and starts a stopped one with what is given', async () => {
    const id = await owner.value(consume('', 'again'))
    const { rows, notices } = await owner.run(consume(', timeout := 9', 'again'))
    assert.deepEqual([rows, notices], [[{ consume: id }], ['WARNING already-running']])
    assert.equal((await row(owner, id)).timeout, 250)
    await owner.run('SELECT millrace.pause($1)', [id])
    assert.equal(await owner.value(consume(', timeout := 9', 'again')), id)
    const { timeout, version, wanted } = await row(owner, id)
    assert.deepEqual([timeout, version, wanted], [9, '2', 'running'])
  })
})

describe('clusters', () => {
  test('are added with their brokers, and the only one with brokers need not be named', async (t) => {
    const { as, roles } = await ownedDatabase(t)
    const owner = await as(roles.owner)
    await owner.run(tables)
    assert.equal(await owner.refusal(consume('')), 'no-broker 55000')
    await owner.run(`SELECT millrace.add_cluster('prod', 'a:1, b:2')`)
    assert.deepEqual(
      await owner.column(`SELECT host FROM millrace.broker WHERE cluster = 'prod' ORDER BY 1`),
      ['a:1', 'b:2'],
    )
    const id = await owner.value(consume(''))
    assert.equal((await row(owner, id)).cluster, 'prod')
    await owner.run(`SELECT millrace.add_cluster('test', ARRAY['c:3'])`)
    assert.equal(await owner.refusal(consume('', 'other')), 'cluster-ambiguous 42725')
    assert.equal(await owner.refusal(`SELECT millrace.consumer_id('topic', 't')`), 'cluster-ambiguous 42725')
    assert.equal(await owner.value(`SELECT millrace.consumer_id('topic', 't', 'prod')`), id)
    await owner.run(consume(`, cluster := 'test'`, 'other'))
    assert.equal(await owner.refusal(`SELECT millrace.drop_cluster('prod')`), 'cluster-used 2BP01')
    await owner.run('SELECT millrace.drop_consumer($1)', [id])
    await owner.run(
      `SELECT millrace.grant_topic('x', 'public', 'prod'); SELECT millrace.drop_cluster('prod')`,
    )
    assert.equal(await owner.refusal(`SELECT millrace.drop_cluster('prod')`), 'cluster-missing 42704')
    assert.deepEqual(await owner.column('SELECT DISTINCT cluster FROM millrace.broker'), ['test'])
  })

  const bad: [string, string][] = [
    [`'', 'a'`, 'cluster-invalid 22023'],
    [`NULL, 'a'`, 'cluster-invalid 22023'],
    [`'x"; --', 'a'`, 'cluster-invalid 22023'],
    [`repeat('x', 64), 'a'`, 'cluster-invalid 22023'],
    [`'x', ''`, 'broker-invalid 22023'],
    [`'x', NULL::text`, 'broker-invalid 22023'],
    [`'x', 'a,,b'`, 'broker-invalid 22023'],
    [`'x', '{}'::text[]`, 'broker-invalid 22023'],
    [`'x', 'a,a:9092'`, 'broker-exists 42710'],
    [`'default', 'other'`, 'cluster-exists 42710'],
  ]
  test('are refused where name or brokers are none', async (t) => {
    const owner = await prepared(t)
    for (const [args, refusal] of bad) {
      assert.equal(await owner.refusal(`SELECT millrace.add_cluster(${args})`), refusal, args)
    }
    assert.deepEqual(await owner.column('SELECT name FROM millrace.cluster'), ['default'])
  })
})

describe('pause, resume, drop_consumer', () => {
  test('stop and start, and say when there is nothing to do', async (t) => {
    const owner = await prepared(t)
    const id = await owner.value(consume(', start_offset := -2'))
    await owner.run('UPDATE millrace.consumer SET start_pending = false, located_at = now()')
    assert.equal(await owner.refusal('SELECT millrace.resume($1)', [id]), 'consumer-running 55000')
    await owner.run('SELECT millrace.pause($1)', [id])
    assert.equal(await owner.refusal('SELECT millrace.pause($1)', [id]), 'consumer-not-running 55000')
    await owner.run('SELECT millrace.resume($1)', [id])
    const { start_pending, start_offset, version } = await row(owner, id)
    assert.deepEqual(
      [start_pending, start_offset, version],
      [false, null, '2'],
      'goes on from where it stands',
    )
    await owner.run(`INSERT INTO millrace.failure (consumer_id, version, code, message)
      SELECT id, version, 'message-rejected', 'no' FROM millrace.consumer`)
    await owner.run('SELECT millrace.resume($1)', [id])
    assert.equal(await owner.value('SELECT state FROM millrace.consumers'), 'no-daemon')
    for (const call of ['pause', 'resume', 'drop_consumer', 'verify']) {
      assert.equal(await owner.refusal(`SELECT millrace.${call}(99)`), 'consumer-missing 42704', call)
      assert.equal(await owner.refusal(`SELECT millrace.${call}(NULL)`), 'consumer-missing 42704', call)
    }
  })

  test('removes everything of a consumer, running or not, and nothing of others', async (t) => {
    const owner = await prepared(t)
    const [one, two] = [await owner.value(consume('')), await owner.value(consume('', 'other'))]
    await owner.run(`INSERT INTO millrace.position (consumer_id, partition, next_offset, config_version)
        SELECT id, 0, 1, 1 FROM millrace.consumer;
      INSERT INTO millrace.batch (consumer_id, partition, from_offset, to_offset) SELECT id, 0, 0, 1 FROM millrace.consumer;
      INSERT INTO millrace.failure (consumer_id, version, code, message) SELECT id, 1, 'x', 'y' FROM millrace.consumer;
      INSERT INTO millrace.dead_letter (consumer_id, cluster, topic, partition, "offset", code, message)
        SELECT id, 'default', topic, 0, n, 'x', 'y' FROM millrace.consumer, generate_series(1, 3) AS n`)
    assert.equal(await owner.value('SELECT millrace.drop_consumer($1)', [one]), '3')
    for (const table of ['position', 'batch', 'failure', 'dead_letter']) {
      assert.deepEqual(await owner.column(`SELECT DISTINCT consumer_id FROM millrace.${table}`), [two], table)
    }
    assert.deepEqual(await owner.column('SELECT id FROM millrace.consumers'), [two])
    assert.notEqual(await owner.value(consume('')), one, 'a new one is another one')
  })

  test('waits for a load that is under way, which is then committed whole', async (t) => {
    const { as, roles, superuser: watcher } = await ownedDatabase(t)
    const owner = await as(roles.owner)
    const loader = await as(roles.owner)
    await owner.run(`SELECT millrace.add_cluster('default', 'localhost:9092'); ${tables}`)
    const id = await owner.value(consume(''))
    await owner.run(
      `INSERT INTO millrace.position (consumer_id, partition, next_offset, config_version) VALUES (${id}, 0, 0, 1)`,
    )
    await loader.run('BEGIN; UPDATE millrace.position SET next_offset = 5')
    const dropped = owner.value(`SELECT millrace.drop_consumer(${id})`)
    await eventually(
      'drop_consumer waits',
      () =>
        watcher.value(`SELECT EXISTS (SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'SELECT millrace.drop_consumer%')`) as Promise<boolean>,
    )
    await loader.run(`INSERT INTO t (id) VALUES (1);
      INSERT INTO millrace.batch (consumer_id, partition, from_offset, to_offset) VALUES (${id}, 0, 0, 5); COMMIT`)
    assert.equal(await dropped, '0')
    assert.equal(await owner.value('SELECT count(*)::int FROM t'), 1)
    assert.deepEqual(await owner.column('SELECT consumer_id FROM millrace.position'), [])
    assert.deepEqual(await owner.column('SELECT consumer_id FROM millrace.batches'), [])
  })

  test('what a load was adding while its consumer was dropped is swept up', async (t) => {
    const owner = await prepared(t)
    const id = await owner.value(consume(''))
    await owner.run(`SELECT millrace.drop_consumer(${id});
      INSERT INTO millrace.batch (consumer_id, partition, from_offset, to_offset) VALUES (${id}, 0, 0, 1)`)
    assert.deepEqual(await owner.column('SELECT id FROM millrace.batches'), [])
    assert.equal(await owner.value('SELECT millrace.sweep()'), '1')
    assert.equal(await owner.value('SELECT millrace.sweep()'), '0')
  })
})

describe('alter_consumer', () => {
  test('changes what is given, leaves what is not, resets what is named, and is a new version', async (t) => {
    const owner = await prepared(t)
    const id = await owner.value(consume(`, mode := 'upsert', batchsize := 5`))
    await owner.run(`SELECT millrace.alter_consumer($1, timeout := 77, on_error := 'skip')`, [id])
    const after = async (...names: string[]): Promise<unknown[]> => {
      const found = await row(owner, id)
      return names.map((name) => found[name])
    }
    assert.deepEqual(await after('timeout', 'on_error', 'mode', 'batchsize', 'version'), [
      77,
      'skip',
      'upsert',
      5,
      '2',
    ])
    await owner.run(`SELECT millrace.alter_consumer($1, format := 'CSV', reset := '{mode,batchsize}')`, [id])
    assert.deepEqual(await after('format', 'mode', 'batchsize', 'version', 'way'), [
      'csv',
      'insert',
      1000,
      '3',
      'direct',
    ])
    await owner.run('SELECT millrace.alter_consumer($1)', [id])
    await owner.run('SELECT millrace.alter_consumer($1, timeout := 77)', [id])
    assert.deepEqual(await after('version'), ['3'], 'nothing changed')
    for (const [call, refusal] of [
      ['timeout := 0', 'timeout-invalid 22023'],
      [`json_path := 'a'`, 'option-conflict 22023'],
      [`timeout := 1, reset := '{timeout}'`, 'option-conflict 22023'],
      [`reset := '{owner}'`, 'option-unknown 42703'],
      [`reset := ARRAY['x" = 1; --']`, 'option-unknown 42703'],
      [`mode := 'upsert', key_columns := '{a}'`, 'key-missing 42P10'],
    ]) {
      assert.equal(await owner.refusal(`SELECT millrace.alter_consumer($1, ${call})`, [id]), refusal, call)
    }
    assert.deepEqual(await after('version'), ['3'])
  })
})

describe('seek', () => {
  const start = async (owner: RoleSession): Promise<unknown[]> => {
    const { start_offset, start_time, start_partitions, start_pending, version } = (
      await owner.run('SELECT * FROM millrace.consumer')
    ).rows[0]!
    return [start_offset ?? start_time ?? start_partitions, start_pending, version]
  }
  const time = new Date('2026-01-02T03:04:05Z')

  const calls: [string, unknown][] = [
    [`'beginning'`, '-2'],
    [`'end'`, '-1'],
    [`'42'`, '42'],
    ['42', '42'],
    [`'2026-01-02 03:04:05+00'`, time],
    [`timestamptz '2026-01-02 03:04:05+00'`, time],
    [`'42', 3`, { '3': 42 }],
    ['42, partition := 3', { '3': 42 }],
    [`'end', 0`, { '0': -1 }],
  ]
  for (const [args, expected] of calls) {
    test(`millrace.seek(consumer, ${args}), also when it was there already`, async (t) => {
      const owner = await prepared(t)
      const id = await owner.value(consume(', start_offset := -2'))
      for (const [index] of ['once', 'again'].entries()) {
        await owner.run('UPDATE millrace.consumer SET start_pending = false, located_at = now()')
        const before = Number((await start(owner))[2])
        await owner.run(`SELECT millrace.seek(${id}, ${args})`)
        const [asked, pending, version] = await start(owner)
        assert.deepEqual([asked, pending], [expected, true], String(index))
        assert.ok(Number(version) > before)
      }
    })
  }

  test('of a stopped consumer counts when it is resumed', async (t) => {
    const owner = await prepared(t)
    const id = await owner.value(consume(', start_offset := -2'))
    await owner.run('UPDATE millrace.consumer SET start_pending = false, located_at = now()')
    await owner.run(
      `SELECT millrace.pause(${id}); SELECT millrace.seek(${id}, 'beginning'); SELECT millrace.resume(${id})`,
    )
    assert.deepEqual((await start(owner)).slice(0, 2), ['-2', true])
  })

  test('of several partitions, one after the other, goes together until a daemon has moved them', async (t) => {
    const owner = await prepared(t)
    const id = await owner.value(consume(''))
    await owner.run(`SELECT millrace.seek(${id}, 1, 0), millrace.seek(${id}, 2, 1)`)
    assert.deepEqual((await start(owner))[0], { '0': 1, '1': 2 })
    await owner.run('UPDATE millrace.consumer SET start_pending = false, located_at = now()')
    await owner.run(`SELECT millrace.seek(${id}, 3, 1)`)
    assert.deepEqual((await start(owner))[0], { '1': 3 })
  })

  test('refuses what is no place', async (t) => {
    const owner = await prepared(t)
    const id = await owner.value(consume(''))
    for (const args of [
      '-1',
      'NULL::bigint',
      'NULL::text',
      'NULL::timestamptz',
      `''`,
      `'x"; --'`,
      `'infinity'`,
      `'2026-01-01', 3`,
      '1, -1',
    ]) {
      assert.equal(await owner.refusal(`SELECT millrace.seek(${id}, ${args})`), 'seek-invalid 22023', args)
    }
    assert.equal(await owner.refusal(`SELECT millrace.seek(99, 'end')`), 'consumer-missing 42704')
  })

  test('refuses a partition past the last that is known, by its position or by a report', async (t) => {
    const owner = await prepared(t)
    const id = await owner.value(consume(''))
    const seek = (args: string) => owner.refusal(`SELECT millrace.seek(${id}, ${args})`)
    assert.equal(await seek('1, 5'), null, 'nobody knows yet')
    await owner.run(`INSERT INTO millrace.position (consumer_id, partition, next_offset, config_version)
      SELECT ${id}, n, 0, 1 FROM generate_series(0, 3) AS n`)
    assert.equal(await seek(`'end', 3`), null)
    for (const args of ['1, 4', `'end', 4`, `'7', 2147483647`])
      assert.equal(await seek(args), 'partition-missing 22023', args)
    await owner.run(`INSERT INTO millrace.watermark (cluster, topic, partition, low, high)
      SELECT cluster, topic, 4, 0, 0 FROM millrace.consumer WHERE id = ${id}`)
    assert.equal(await seek('1, 4'), null, 'the report is newer')
    assert.equal(await seek('1, 5'), 'partition-missing 22023')
  })
})

describe('a topic pattern', () => {
  test('is a consumer for each topic that matches, with the options of the pattern', async (t) => {
    const owner = await prepared(t)
    const id = await owner.value(
      `SELECT millrace.consume(topic_pattern := 'a[0-9]+', "into" := 't', start_offset := -1, timeout := 5)`,
    )
    assert.equal(await owner.value(`SELECT millrace.add_children(${id}, '{a1,a22,ba1,a1b,b}')`), '2')
    assert.equal(await owner.value(`SELECT millrace.add_children(${id}, '{a1,a22,a3}')`), '1')
    const children = async (): Promise<unknown[][]> =>
      (
        await owner.run(
          'SELECT topic, start_offset, timeout, wanted FROM millrace.consumer WHERE parent_id = $1 ORDER BY topic',
          [id],
        )
      ).rows.map(Object.values)
    assert.deepEqual(await children(), [
      ['a1', '-1', 5, 'running'],
      ['a22', '-1', 5, 'running'],
      ['a3', '-2', 5, 'running'],
    ])
    await owner.run(`SELECT millrace.alter_consumer(${id}, timeout := 6); SELECT millrace.pause(${id})`)
    assert.deepEqual(
      (await children()).map((child) => child.slice(2)),
      [6, 6, 6].map((timeout) => [timeout, 'stopped']),
    )
    assert.equal(await owner.value(`SELECT millrace.add_children(${id}, '{a4}')`), '0', 'it is stopped')
    await owner.run(`SELECT millrace.resume(${id})`)
    const child = await owner.value(`SELECT millrace.consumer_id('a1', 't')`)
    await owner.run(
      `SELECT millrace.pause(${child}), millrace.resume(${child}), millrace.seek(${child}, 'end')`,
    )
    for (const call of [`alter_consumer(${child}, timeout := 1)`, `drop_consumer(${child})`]) {
      assert.equal(await owner.refusal(`SELECT millrace.${call}`), 'consumer-of-pattern 55000', call)
    }
    await owner.run(`SELECT millrace.drop_consumer(${id})`)
    assert.deepEqual(await owner.column('SELECT id FROM millrace.consumer'), [])
  })

  test('moves the consumers of its topics when it is moved, and at no other time', async (t) => {
    const owner = await prepared(t)
    const begin = `SELECT millrace.consume(topic_pattern := 'a.', "into" := 't', start_offset := -2)`
    const id = await owner.value(begin)
    await owner.run(`SELECT millrace.add_children(${id}, '{a1,a2}')`)
    const located = (): Promise<unknown> =>
      owner.run(
        'UPDATE millrace.consumer SET start_pending = false, located_at = now() WHERE parent_id IS NOT NULL',
      )
    const starts = async (): Promise<unknown[]> =>
      owner.column(
        `SELECT concat_ws(' ', start_pending, start_offset, wanted) FROM millrace.consumer WHERE parent_id = ${id} ORDER BY topic`,
      )
    assert.deepEqual(await starts(), ['t -2 running', 't -2 running'])
    await located()
    await owner.run(`SELECT millrace.alter_consumer(${id}, timeout := 9)`)
    assert.deepEqual(await starts(), ['f -2 running', 'f -2 running'])
    await owner.run(`SELECT millrace.pause(${id}), millrace.resume(${id})`)
    assert.deepEqual(await starts(), ['f running', 'f running'])
    await owner.run('SELECT pipeline_kafka.consume_end(), pipeline_kafka.consume_begin()')
    assert.deepEqual(await starts(), ['f running', 'f running'])
    for (const [to, expected] of [
      ['beginning', '-2'],
      ['end', '-1'],
      ['end', '-1'],
    ]) {
      await owner.run(`SELECT millrace.seek(${id}, '${to}')`)
      assert.deepEqual(await starts(), [`t ${expected} running`, `t ${expected} running`])
      await located()
    }
    await owner.run(`SELECT millrace.pause(${id}); ${begin}`)
    assert.deepEqual(await starts(), ['t -2 running', 't -2 running'])
    await located()
    await owner.run(`SELECT millrace.pause(${id}); ${begin}`)
    assert.deepEqual(await starts(), ['t -2 running', 't -2 running'], 'the same start once more')
    await located()
    const child = await owner.value(`SELECT millrace.consumer_id('a1', 't')`)
    await owner.run(`SELECT millrace.pause(${child}), millrace.alter_consumer(${id}, timeout := 10)`)
    assert.deepEqual(await starts(), ['f -2 stopped', 'f -2 running'], 'one that was stopped stays so')
  })

  test('takes only topics that its owner may consume, and says which it may not', async (t) => {
    const { as, roles } = await ownedDatabase(t)
    const owner = await as(roles.owner)
    const alice = await as(roles.alice)
    await owner.run(`SELECT millrace.add_cluster('default', 'localhost'); ${tables};
      GRANT INSERT ON t TO ${roles.alice}; SELECT millrace.grant_topic('a1', '${roles.alice}')`)
    const id = await alice.value(`SELECT millrace.consume(topic_pattern := '.*', "into" := 't')`)
    assert.equal(await owner.value(`SELECT millrace.add_children(${id}, '{a1,a2}')`), '1')
    assert.deepEqual(await owner.column(`SELECT owner::text FROM millrace.consumer`), [
      roles.alice,
      roles.alice,
    ])
    assert.match(
      String(await alice.value(`SELECT warning FROM millrace.consumers WHERE id = ${id}`)),
      /^topic-not-granted: topic a2 /,
    )
    assert.match(
      String((await alice.refusal(`SELECT millrace.add_children(${id}, '{a2}')`)) ?? 'none'),
      /none|42501/,
    )
    assert.deepEqual(await alice.column('SELECT topic FROM millrace.consumers WHERE topic IS NOT NULL'), [
      'a1',
    ])
  })

  test('is a regular expression without surprises', async (t) => {
    const owner = await prepared(t)
    for (const pattern of ['', '(', 'a)|(b', '(a)\\1', '(?i)a', '***=a', 'a'.repeat(1001)]) {
      assert.equal(
        await owner.refusal(`SELECT millrace.consume(topic_pattern := $1, "into" := 't')`, [pattern]),
        'pattern-invalid 22023',
        pattern,
      )
    }
    assert.equal(await owner.refusal(`SELECT millrace.consume("into" := 't')`), 'topic-invalid 22023')
  })
})

describe('routing by key', () => {
  test('looks names up in the first schema of the path, or in the one that is named', async (t) => {
    const owner = await prepared(t)
    await owner.run('CREATE SCHEMA "Other"; CREATE TABLE "Other".u (a int)')
    const one = await row(owner, await owner.value(`SELECT millrace.consume('topic', route_by_key := true)`))
    assert.deepEqual([one.target_schema, one.target_name, one.way], ['public', null, 'staged'])
    const two = await row(
      owner,
      await owner.value(`SELECT millrace.consume('topic', '"Other"', route_by_key := true)`),
    )
    assert.deepEqual([two.target_schema, two.target_name], ['Other', null])
    assert.deepEqual(await owner.column('SELECT target FROM millrace.consumers ORDER BY id'), [
      'public.*',
      '"Other".*',
    ])
    const route = async (key: string, schema = 'public'): Promise<unknown> =>
      (await owner.run('SELECT * FROM millrace.route($1, $2)', [key, schema])).rows.map((r) =>
        Object.values(r).join('/'),
      )[0]
    assert.deepEqual(
      [
        await route('t'),
        await route('T'),
        await route('"My Table"'),
        await route('u'),
        await route('u', 'Other'),
        await route('"Other".u'),
        await route('x"; drop table t; --'),
        await route(''),
        await route('a.b.c'),
        await route('t_pkey'),
      ],
      [
        'public/t',
        'public/t',
        'public/My Table',
        undefined,
        'Other/u',
        'Other/u',
        ...Array(4).fill(undefined),
      ],
    )
    for (const [into, refusal] of [
      ['missing', 'schema-absent 3F000'],
      ['a.b', 'schema-absent 3F000'],
      ['"', 'schema-absent 3F000'],
      ['pg_catalog', 'relation-catalog 42809'],
      ['millrace', 'relation-catalog 42809'],
    ]) {
      assert.equal(
        await owner.refusal(`SELECT millrace.consume('other', $1, route_by_key := true)`, [into]),
        refusal,
        into,
      )
    }
  })

  test('in the words of pipeline_kafka', async (t) => {
    const owner = await prepared(t)
    const begin = `SELECT pipeline_kafka.consume_begin_stream_partitioned('topic', format := 'csv', delimiter := ',')`
    assert.equal(await owner.value(begin), 'success')
    assert.deepEqual((await owner.run(begin)).notices, ['WARNING already-running'])
    assert.deepEqual((await owner.run('SELECT topic, relation, format FROM pipeline_kafka.consumers')).rows, [
      { topic: 'topic', relation: null, format: 'csv' },
    ])
    const end = `SELECT pipeline_kafka.consume_end_stream_partitioned('topic')`
    assert.equal(await owner.value(end), 'success')
    assert.equal(await owner.refusal(end), 'consumer-not-running 55000')
    assert.equal(
      await owner.refusal(`SELECT pipeline_kafka.consume_end_stream_partitioned('x"; --')`),
      'consumer-missing 42704',
    )
    assert.equal(
      await owner.refusal(`SELECT pipeline_kafka.consume_begin_stream_partitioned('x"; --')`),
      'topic-invalid 22023',
    )
  })
})
