// Every argument of consume_begin and its siblings, good and bad: a bad one is refused by the call itself, with a
// code, and leaves nothing behind.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ownedDatabase, type RoleSession } from '../support/owned-database.ts'

test('pipeline_kafka.consume_begin', async (t) => {
  const { as, roles } = await ownedDatabase(t)
  const owner = await as(roles.owner)
  await owner.run(`SELECT pipeline_kafka.add_broker('localhost:9092'); CREATE TABLE t (a int, b text)`)

  const begin = (rest: string, topic = 'topic'): string =>
    `SELECT pipeline_kafka.consume_begin('${topic}', 't'${rest})`

  const stored = async (topic: string): Promise<Record<string, unknown>> => {
    const { rows } = await owner.run('SELECT * FROM millrace.consumer WHERE topic = $1', [topic])
    assert.equal(rows.length, 1)
    return rows[0]!
  }

  await t.test('has the documented defaults', async () => {
    assert.equal(await owner.value(begin('', 'defaults')), 'success')
    const consumer = await stored('defaults')
    const expected = {
      ...{ cluster: 'default', target_schema: 'public', target_name: 't', owner: roles.owner },
      ...{ format: 'text', delimiter: '\t', quote: null, escape: null, batchsize: 1000, maxbytes: 32000000 },
      ...{
        parallelism: 1,
        start_offset: null,
        group_id: null,
        timeout: 250,
        wanted: 'running',
        version: '1',
      },
      ...{ start_pending: true, located_at: null, on_error: 'stop', encoding: null },
    }
    for (const [name, value] of Object.entries(expected)) assert.deepEqual(consumer[name], value, name)
  })

  await t.test('takes every argument by position', async () => {
    await owner.run(begin(`, 'csv', ';', '''', '\\', 10, 20, 3, 42, 'my group', 100`, 'positional'))
    const { id: _, ...consumer } = await stored('positional')
    assert.deepEqual(
      [consumer.format, consumer.delimiter, consumer.quote, consumer.escape, consumer.batchsize],
      ['csv', ';', "'", '\\', 10],
    )
    assert.deepEqual(
      [consumer.maxbytes, consumer.parallelism, consumer.start_offset, consumer.group_id, consumer.timeout],
      [20, 3, '42', 'my group', 100],
    )
  })

  await t.test('takes every argument by name', async () => {
    await owner.run(`SELECT pipeline_kafka.consume_begin(stream := 't', topic := 'named', timeout := 1, group_id := 'g',
      start_offset := -2, parallelism := 2, maxbytes := 4, batchsize := 5, escape := '"', quote := '|',
      delimiter := ',', format := 'csv')`)
    const consumer = await stored('named')
    assert.deepEqual([consumer.format, consumer.quote, consumer.start_offset], ['csv', '|', '-2'])
  })

  const good: [string, string][] = [
    ['text', ''],
    ['the two characters \\t as a delimiter', `, delimiter := '\\t'`],
    ['a capital letter other than N', `, delimiter := 'A'`],
    ['csv with COPY’s defaults', `, 'csv', ','`],
    ['csv delimited by a letter', `, 'csv', 'x'`],
    ['a format in capitals', `, 'CSV', ','`],
    ['csv with the escape as quote', `, 'csv', ',', '"', '"'`],
    ['json, whatever the delimiter', `, 'json', ','`],
    ['the end', ', start_offset := -1'],
    ['an offset past 2^53', ', start_offset := 9007199254740993'],
    ['NULL for what has a default', `, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL`],
    ['the largest numbers', ', batchsize := 2147483647, maxbytes := 2147483647, timeout := 600000'],
  ]
  for (const [index, [name, rest]] of good.entries()) {
    await t.test(`takes ${name}`, async () => {
      assert.equal(await owner.value(begin(rest, `good-${index}`)), 'success')
    })
  }

  await t.test('stores the tab for \\t and no delimiter for json', async () => {
    await owner.run(begin(`, delimiter := '\\t'`, 'tab'))
    assert.equal((await stored('tab')).delimiter, '\t')
    await owner.run(begin(`, 'json', ','`, 'no-delimiter'))
    assert.equal((await stored('no-delimiter')).delimiter, null)
  })

  const bad: [string, string][] = [
    [`, 'binary'`, 'format-unknown 22023'],
    [`, 'avro'`, 'format-unknown 22023'],
    [`, ''`, 'format-unknown 22023'],
    [`, 'text', '::'`, 'delimiter-invalid 22023'],
    [`, 'text', ''`, 'delimiter-invalid 22023'],
    [`, 'text', E'\\n'`, 'delimiter-invalid 22023'],
    [`, 'text', E'\\r'`, 'delimiter-invalid 22023'],
    [`, 'text', '\\'`, 'delimiter-invalid 22023'],
    [`, 'text', '\\n'`, 'delimiter-invalid 22023'],
    [`, 'text', '.'`, 'delimiter-invalid 22023'],
    [`, 'text', 'x'`, 'delimiter-invalid 22023'],
    [`, 'text', '7'`, 'delimiter-invalid 22023'],
    [`, 'text', 'N'`, 'delimiter-invalid 22023'],
    [`, 'text', 'é'`, 'delimiter-invalid 22023'],
    [`, 'csv', '"'`, 'delimiter-invalid 22023'],
    [`, 'csv', ',', ','`, 'delimiter-invalid 22023'],
    [`, 'csv', ';;'`, 'delimiter-invalid 22023'],
    [`, 'text', ',', '"'`, 'quote-invalid 22023'],
    [`, 'json', ',', '"'`, 'quote-invalid 22023'],
    [`, 'csv', ',', '""'`, 'quote-invalid 22023'],
    [`, 'csv', ',', ''`, 'quote-invalid 22023'],
    [`, 'csv', ',', E'\\n'`, 'quote-invalid 22023'],
    [`, 'text', ',', NULL, '"'`, 'escape-invalid 22023'],
    [`, 'csv', ',', '"', '\\\\'`, 'escape-invalid 22023'],
    [`, 'csv', ',', '"', E'\\r'`, 'escape-invalid 22023'],
    [', batchsize := 0', 'batchsize-invalid 22023'],
    [', batchsize := -1', 'batchsize-invalid 22023'],
    [', maxbytes := 0', 'maxbytes-invalid 22023'],
    [', parallelism := 0', 'parallelism-invalid 22023'],
    [', parallelism := 1001', 'parallelism-invalid 22023'],
    [', timeout := 0', 'timeout-invalid 22023'],
    [', timeout := 600001', 'timeout-invalid 22023'],
    [', start_offset := -3', 'start-offset-invalid 22023'],
    [`, group_id := ''`, 'group-invalid 22023'],
    [`, group_id := repeat('g', 256)`, 'group-invalid 22023'],
    [`, group_id := E'a\\nb'`, 'group-invalid 22023'],
    [`, group_id := 'millrace.8f2e.1'`, 'group-invalid 22023'],
  ]
  for (const [rest, refusal] of bad) {
    await t.test(`refuses consume_begin('topic', 't'${rest}): ${refusal}`, async () => {
      assert.equal(await owner.refusal(begin(rest, 'bad')), refusal)
      assert.equal(await owner.value(`SELECT count(*)::int FROM millrace.consumer WHERE topic = 'bad'`), 0)
    })
  }

  const badTopics = [
    '',
    '.',
    '..',
    'a b',
    'ü',
    'a/b',
    'x"; drop table t; --',
    'a'.repeat(250),
    "it's",
    'a\nb',
  ]
  for (const topic of badTopics) {
    await t.test(`F35 refuses the topic ${JSON.stringify(topic.slice(0, 30))}`, async () => {
      assert.equal(
        await owner.refusal('SELECT pipeline_kafka.consume_begin($1, $2)', [topic, 't']),
        'topic-invalid 22023',
      )
      assert.equal(await owner.value(`SELECT to_regclass('t') IS NOT NULL`), true)
    })
  }

  await t.test('takes the longest topic', async () => {
    await owner.run('SELECT pipeline_kafka.consume_begin($1, $2)', ['a'.repeat(249), 't'])
  })

  await t.test('refuses NULL for topic and relation', async () => {
    const call = 'SELECT pipeline_kafka.consume_begin($1, $2)'
    assert.equal(await owner.refusal(call, [null, 't']), 'topic-invalid 22023')
    assert.equal(await owner.refusal(call, ['topic', null]), 'relation-missing 42P01')
  })

  const noRelations = [
    '',
    'missing',
    'no_schema.t',
    'x"; drop table t; --',
    'a.b.c.d',
    'other.public.t',
    '"t',
    't t',
  ]
  for (const name of noRelations) {
    await t.test(`refuses a relation that does not exist: ${JSON.stringify(name)}`, async () => {
      assert.equal(
        await owner.refusal('SELECT pipeline_kafka.consume_begin($1, $2)', ['topic', name]),
        'relation-missing 42P01',
      )
    })
  }

  await t.test('refuses to begin without any broker', async (t) => {
    const brokerless = await ownedDatabase(t)
    const other = await brokerless.as(brokerless.roles.owner)
    await other.run('CREATE TABLE t (a int)')
    assert.equal(await other.refusal(begin('')), 'no-broker 55000')
  })

  await t.test('refuses a second consumer of a topic in one group', async () => {
    await owner.run(`CREATE TABLE t_group (a int)`)
    await owner.run(begin(`, group_id := 'shared'`, 'grouped'))
    const second = `SELECT pipeline_kafka.consume_begin('grouped', 't_group', group_id := 'shared')`
    assert.equal(await owner.refusal(second), 'group-taken 23505')
    await owner.run(begin(`, group_id := 'shared'`, 'grouped-too'))
  })
})

describe('beginning again', () => {
  const begin = (rest = ''): string => `SELECT pipeline_kafka.consume_begin('topic', 't'${rest})`

  async function begun(t: Parameters<typeof ownedDatabase>[0]): Promise<RoleSession> {
    const { as, roles } = await ownedDatabase(t)
    const owner = await as(roles.owner)
    await owner.run(`SELECT pipeline_kafka.add_broker('localhost'); CREATE TABLE t (a int); ${begin()}`)
    return owner
  }

  const consumer = async (session: RoleSession): Promise<Record<string, unknown>> =>
    (await session.run('SELECT * FROM millrace.consumer')).rows[0]!

  test('changes nothing while it runs, warns and returns success', async (t) => {
    const owner = await begun(t)
    const before = await consumer(owner)
    const { rows, notices } = await owner.run(begin(`, 'csv', ',', start_offset := -2, parallelism := 9`))
    assert.deepEqual(rows, [{ consume_begin: 'success' }])
    assert.deepEqual(notices, ['WARNING already-running'])
    assert.deepEqual(await consumer(owner), before)
  })

  test('refuses bad arguments also while it runs', async (t) => {
    const owner = await begun(t)
    const before = await consumer(owner)
    for (const [rest, refusal] of [
      [`, 'avro', 'ab', batchsize := -5`, 'format-unknown 22023'],
      [`, 'text', 'ab'`, 'delimiter-invalid 22023'],
      [`, 'csv', ',', '""'`, 'quote-invalid 22023'],
      [', batchsize := -5', 'batchsize-invalid 22023'],
      [', parallelism := 0', 'parallelism-invalid 22023'],
      [', start_offset := -3', 'start-offset-invalid 22023'],
    ])
      assert.equal(await owner.refusal(begin(rest)), refusal, rest)
    assert.deepEqual((await owner.run(begin(`, delimiter := '\\t'`))).notices, ['WARNING already-running'])
    assert.deepEqual((await owner.run(begin(`, 'json', 'ab'`))).notices, ['WARNING already-running'])
    assert.deepEqual(await consumer(owner), before)
  })

  test('takes the new arguments of one that stopped', async (t) => {
    const owner = await begun(t)
    await owner.run(`SELECT pipeline_kafka.consume_end('topic', 't')`)
    const { notices } = await owner.run(begin(`, 'csv', ',', parallelism := 2`))
    assert.deepEqual(notices, ['WARNING no-daemon'])
    const { format, delimiter, parallelism, version, wanted } = await consumer(owner)
    assert.deepEqual([format, delimiter, parallelism, version, wanted], ['csv', ',', 2, '2', 'running'])
  })

  test('starts one that failed, and its failure is no longer in force', async (t) => {
    const owner = await begun(t)
    await owner.run(`INSERT INTO millrace.failure (consumer_id, version, code, message)
      SELECT id, version, 'message-rejected', 'no' FROM millrace.consumer`)
    const state = (): Promise<unknown> => owner.value('SELECT state FROM millrace.consumers')
    assert.equal(await state(), 'failed')
    const { notices } = await owner.run(begin())
    assert.deepEqual(notices, ['WARNING no-daemon'])
    assert.equal((await consumer(owner)).version, '2')
    assert.equal(await state(), 'no-daemon')
  })

  test('locates a start again only when a start_offset is given', async (t) => {
    const owner = await begun(t)
    const again = async (rest = ''): Promise<unknown[]> => {
      await owner.run(`SELECT pipeline_kafka.consume_end('topic', 't'); ${begin(rest)}`)
      const { start_offset, start_pending } = await consumer(owner)
      return [start_offset, start_pending]
    }
    const located = 'UPDATE millrace.consumer SET start_pending = false, located_at = now()'
    assert.deepEqual(await again(), [null, true], 'no daemon has located the end yet')
    await owner.run(located)
    assert.deepEqual(await again(), [null, false], 'goes on from the saved position')
    assert.deepEqual(await again(', start_offset := -2'), ['-2', true])
    await owner.run(located)
    assert.deepEqual(await again(', start_offset := -2'), ['-2', true], 'the same offset, asked for again')
    assert.deepEqual(await again(), ['-2', true], 'no daemon has looked it up yet, so it is still asked for')
    await owner.run(located)
    assert.deepEqual(await again(), [null, false])
  })

  test('keeps a start_offset that no daemon has looked up yet, whichever call begins again', async (t) => {
    const owner = await begun(t)
    const end = `SELECT pipeline_kafka.consume_end('topic', 't')`
    const again = [
      'SELECT pipeline_kafka.consume_begin()',
      begin(),
      'SELECT kafka_consume_begin()',
      `SELECT kafka_consume_begin('t', 'topic')`,
      `UPDATE millrace.consumer SET wanted = 'running', start_offset = NULL`,
      `UPDATE millrace.consumer SET wanted = 'running'`,
    ]
    await owner.run(`${end}; ${begin(', start_offset := 42')}`)
    for (const call of again) {
      await owner.run(`${end}; ${call}`)
      const { start_offset, start_pending, wanted } = await consumer(owner)
      assert.deepEqual([start_offset, start_pending, wanted], ['42', true, 'running'], call)
    }
    await owner.run(`${end}; ${begin(', start_offset := -1')}`)
    assert.equal((await consumer(owner)).start_offset, '-1')
  })

  // A version is what a daemon compares: without a new one it would load rows again at its next start.
  test('a start is located again only in a new version', async (t) => {
    const owner = await begun(t)
    await owner.run(`SELECT pipeline_kafka.consume_end('topic', 't'); ${begin(', start_offset := -2')}`)
    await owner.run('UPDATE millrace.consumer SET start_pending = false, located_at = now()')
    const before = await consumer(owner)
    for (const change of [
      'start_offset = start_offset',
      'start_offset = -2',
      `start_offset = -2, wanted = 'running'`,
    ]) {
      await owner.run(`UPDATE millrace.consumer SET ${change}`)
      const { version, start_pending } = await consumer(owner)
      assert.deepEqual([version, start_pending], [before.version, false], change)
    }
    await owner.run(`UPDATE millrace.consumer SET start_offset = 7, wanted = 'stopped'`)
    assert.equal((await consumer(owner)).start_pending, false)
    await owner.run(`UPDATE millrace.consumer SET start_offset = 8, wanted = 'running'`)
    const { version, start_pending } = await consumer(owner)
    assert.deepEqual([version, start_pending], [String(Number(before.version) + 1), true])
  })

  test('what a daemon records is no change of what is wanted', async (t) => {
    const owner = await begun(t)
    const before = (await consumer(owner)).version
    await owner.run(
      `UPDATE millrace.consumer SET start_pending = false, located_at = now(), warning = 'clamped'`,
    )
    const { version, warning } = await consumer(owner)
    assert.deepEqual([version, warning], [before, 'clamped'])
  })

  test('a direct UPDATE of an option starts a new version, a bad one is refused', async (t) => {
    const owner = await begun(t)
    await owner.run('UPDATE millrace.consumer SET batchsize = 7')
    assert.equal((await consumer(owner)).version, '2')
    assert.equal(await owner.refusal('UPDATE millrace.consumer SET batchsize = 0'), 'batchsize-invalid 22023')
  })
})

describe('beginning and ending all', () => {
  test('stops and starts what there is, and one that cannot start hinders none', async (t) => {
    const { as, roles } = await ownedDatabase(t)
    const owner = await as(roles.owner)
    await owner.run(`SELECT pipeline_kafka.add_broker('localhost');
      CREATE TABLE a (a int); CREATE TABLE b (a int); CREATE TABLE c (a int);
      SELECT pipeline_kafka.consume_begin('topic', r, 'csv', ',') FROM unnest(ARRAY['a', 'b', 'c']) AS r`)
    const wanted = (): Promise<unknown[]> => owner.column('SELECT wanted FROM millrace.consumer ORDER BY id')
    assert.equal(await owner.value('SELECT pipeline_kafka.consume_end()'), 'success')
    assert.deepEqual(await wanted(), ['stopped', 'stopped', 'stopped'])
    assert.deepEqual((await owner.run('SELECT pipeline_kafka.consume_end()')).notices, [])
    await owner.run('DROP TABLE b')
    const { rows, notices } = await owner.run('SELECT pipeline_kafka.consume_begin()')
    assert.deepEqual(rows, [{ consume_begin: 'success' }])
    assert.deepEqual(notices, ['WARNING relation-missing', 'WARNING no-daemon'])
    assert.deepEqual(await wanted(), ['running', 'stopped', 'running'])
    assert.deepEqual(await owner.column('SELECT format FROM millrace.consumer'), ['csv', 'csv', 'csv'])
  })
})

describe('beginning all with options (0.8)', () => {
  async function begun(t: Parameters<typeof ownedDatabase>[0]): Promise<RoleSession> {
    const { as, roles } = await ownedDatabase(t)
    const owner = await as(roles.owner)
    await owner.run(
      `SELECT pipeline_kafka.add_broker('localhost'); CREATE TABLE a (a int); CREATE TABLE b (a int)`,
    )
    return owner
  }

  const stored = (owner: RoleSession): Promise<unknown[]> =>
    owner.column(
      `SELECT concat_ws(' ', wanted, parallelism, format, delimiter) FROM millrace.consumer ORDER BY id`,
    )

  test('refuses what no consumer could have, whatever there is', async (t) => {
    const owner = await begun(t)
    const refused = async (): Promise<void> => {
      for (const [options, refusal] of [
        [`3, 'avro', 'ab'`, 'format-unknown 22023'],
        [`3, 'avro'`, 'format-unknown 22023'],
        [`3, 'text', 'ab'`, 'delimiter-invalid 22023'],
        [`3, 'text', 'x'`, 'delimiter-invalid 22023'],
        [`delimiter := 'ab'`, 'delimiter-invalid 22023'],
        ['0', 'parallelism-invalid 22023'],
      ])
        assert.equal(await owner.refusal(`SELECT kafka_consume_begin(${options})`), refusal, options)
    }
    await refused()
    await owner.run(`SELECT kafka_consume_begin('a', 'topic')`)
    await refused()
    await owner.run('SELECT kafka_consume_end()')
    await refused()
    assert.deepEqual(await stored(owner), ['stopped 1 text \t'])
  })

  test('takes every delimiter that some format takes', async (t) => {
    const owner = await begun(t)
    for (const options of [
      `3, 'csv', '"'`,
      `3, 'text', '"'`,
      `delimiter := '"'`,
      `delimiter := 'x'`,
      `3, 'json', 'ab'`,
    ])
      assert.equal(await owner.refusal(`SELECT kafka_consume_begin(${options})`), null, options)
  })

  test('warns that those which run keep what they have', async (t) => {
    const owner = await begun(t)
    await owner.run(`SELECT kafka_consume_begin('a', 'topic'); SELECT kafka_consume_begin('b', 'topic');
      SELECT kafka_consume_end('b', 'topic')`)
    const some = await owner.run(`SELECT kafka_consume_begin(3, 'csv', ';')`)
    assert.deepEqual(some.notices, ['WARNING already-running', 'WARNING no-daemon'])
    assert.deepEqual(await stored(owner), ['running 1 text \t', 'running 3 csv ;'])
    const all = await owner.run(`SELECT kafka_consume_begin(3, 'text', ';')`)
    assert.deepEqual(all.notices, ['WARNING already-running'])
    assert.deepEqual(all.rows, [{ kafka_consume_begin: 'success' }])
    assert.deepEqual(await stored(owner), ['running 1 text \t', 'running 3 csv ;'])
    assert.deepEqual((await owner.run('SELECT kafka_consume_begin()')).notices, [])
  })
})

describe('consume_end', () => {
  test('refuses what does not exist or does not run', async (t) => {
    const { as, roles } = await ownedDatabase(t)
    const owner = await as(roles.owner)
    await owner.run(`SELECT pipeline_kafka.add_broker('localhost'); CREATE TABLE t (a int)`)
    const end = `SELECT pipeline_kafka.consume_end('topic', 't')`
    assert.equal(await owner.refusal(end), 'consumer-missing 42704')
    await owner.run(`SELECT pipeline_kafka.consume_begin('topic', 't')`)
    assert.equal(await owner.value(end), 'success')
    assert.equal(await owner.refusal(end), 'consumer-not-running 55000')
    assert.equal(
      await owner.refusal(`SELECT pipeline_kafka.consume_end(NULL, NULL)`),
      'consumer-missing 42704',
    )
    assert.equal(
      await owner.refusal('SELECT pipeline_kafka.consume_end($1, $2)', ['x"; --', 'x"; drop table t; --']),
      'consumer-missing 42704',
    )
  })

  test('finds the relation by the name that consume_begin took', async (t) => {
    const { as, roles } = await ownedDatabase(t)
    const owner = await as(roles.owner)
    await owner.run(`SELECT pipeline_kafka.add_broker('localhost');
      CREATE SCHEMA "My Schema"; CREATE TABLE "My Schema"."My Table" (a int); CREATE TABLE plain (a int)`)
    const names = ['plain', 'PLAIN', 'public.plain', '"plain"', '"My Schema"."My Table"', ' public . plain ']
    for (const name of names) {
      await owner.run('SELECT pipeline_kafka.consume_begin($1, $2)', ['topic', name])
      await owner.run('SELECT pipeline_kafka.consume_end($1, $2)', ['topic', name])
    }
    assert.equal(await owner.value('SELECT count(*)::int FROM millrace.consumer'), 2)
    await owner.run(
      `SET search_path = "My Schema"; SELECT pipeline_kafka.consume_begin('topic', '"My Table"')`,
    )
    await owner.run(
      `SET search_path = public; SELECT pipeline_kafka.consume_end('topic', '"My Schema"."My Table"')`,
    )
  })

  test('works when the relation is gone or has another name', async (t) => {
    const { as, roles } = await ownedDatabase(t)
    const owner = await as(roles.owner)
    const end = (name: string): Promise<unknown> =>
      owner.value('SELECT pipeline_kafka.consume_end($1, $2)', ['topic', name])
    await owner.run(`SELECT pipeline_kafka.add_broker('localhost');
      CREATE SCHEMA one; CREATE SCHEMA two;
      CREATE TABLE one.t (a int); CREATE TABLE two.t (a int); CREATE TABLE gone (a int); CREATE TABLE renamed (a int);
      SELECT pipeline_kafka.consume_begin('topic', r)
      FROM unnest(ARRAY['one.t', 'two.t', 'gone', 'renamed']) AS r;
      DROP TABLE gone; ALTER TABLE renamed RENAME TO "new name"; DROP TABLE one.t; DROP SCHEMA two CASCADE`)
    assert.equal(await end('GONE'), 'success')
    assert.equal(await end('public.renamed'), 'success')
    assert.equal(
      await owner.refusal(`SELECT pipeline_kafka.consume_end('topic', 't')`),
      'consumer-ambiguous 42725',
    )
    await owner.run('SET search_path = two, one, public')
    assert.equal(await end('t'), 'success')
    assert.equal(await end('two.t'), 'success')
    assert.deepEqual(
      await owner.column(
        `SELECT target_schema || '.' || target_name FROM millrace.consumer WHERE wanted = 'running'`,
      ),
      [],
    )
  })

  test('of a table that took the place of a dropped one further down the search path', async (t) => {
    const { as, roles } = await ownedDatabase(t)
    const owner = await as(roles.owner)
    await owner.run(`SELECT pipeline_kafka.add_broker('localhost'); CREATE SCHEMA first;
      CREATE TABLE first.t (a int); SET search_path = first, public; SELECT pipeline_kafka.consume_begin('topic', 't');
      DROP TABLE first.t; CREATE TABLE public.t (a int)`)
    assert.equal(await owner.value(`SELECT pipeline_kafka.consume_end('topic', 't')`), 'success')
  })
})
