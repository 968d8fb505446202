// The sessions of the reference documents, as far as SQL alone shows them: what their users typed works as it is.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ownedDatabase, type RoleSession } from '../support/owned-database.ts'

/** A database owner in a fresh database, with `my_table`, `my_stream`, and the dialect as an extension. */
async function session(t: Parameters<typeof ownedDatabase>[0]): Promise<RoleSession> {
  const { as, roles } = await ownedDatabase(t)
  const owner = await as(roles.owner)
  await owner.run(
    'CREATE EXTENSION pipeline_kafka; CREATE TABLE my_table (a int, b text); CREATE TABLE my_stream (a int)',
  )
  return owner
}

const unwatched = ['WARNING no-daemon']

test('the README’s session', async (t) => {
  const owner = await session(t)
  assert.equal(await owner.value(`SELECT pipeline_kafka.add_broker('localhost:9092')`), 'success')
  const begun = await owner.run(`SELECT pipeline_kafka.consume_begin('my_topic', 'my_table', format := 'csv',
    delimiter := ',', start_offset := -2)`)
  assert.deepEqual(begun, { rows: [{ consume_begin: 'success' }], notices: unwatched })
})

test('pipeline_kafka 0.9', async (t) => {
  const owner = await session(t)
  const success = async (sql: string, notices = unwatched): Promise<void> => {
    const outcome = await owner.run(`SELECT ${sql} AS outcome`)
    assert.deepEqual(outcome, { rows: [{ outcome: 'success' }], notices }, sql)
  }
  await success(`pipeline_kafka.add_broker('localhost:9092')`, [])
  await success(`pipeline_kafka.add_broker('second.example.com')`, [])
  assert.deepEqual(await owner.column('SELECT host FROM pipeline_kafka.brokers ORDER BY host'), [
    'localhost:9092',
    'second.example.com',
  ])
  await success(`pipeline_kafka.remove_broker('second.example.com')`, [])

  await success(`pipeline_kafka.consume_begin('my_topic', 'my_stream')`)
  await success(`pipeline_kafka.consume_begin('my_topic', 'my_table', format := 'text', delimiter := E'\\t', quote := NULL,
    escape := NULL, batchsize := 1000, maxbytes := 32000000, parallelism := 1, start_offset := NULL)`)
  await success(`pipeline_kafka.consume_end('my_topic', 'my_stream')`)
  await success(`pipeline_kafka.consume_end()`)
  await success(`pipeline_kafka.consume_begin()`)
  await success(`pipeline_kafka.consume_begin('json_topic', 'my_table', 'json')`)
  await success(
    `pipeline_kafka.consume_begin('csv_topic', 'my_table', 'csv', ',', '"', '\\', 10, 1000, 2, -1)`,
  )

  const { rows } = await owner.run('SELECT * FROM pipeline_kafka.consumers ORDER BY id')
  assert.deepEqual(Object.keys(rows[0]!), [
    ...['id', 'topic', 'relation', 'group_id', 'format', 'delimiter', 'quote', 'escape'],
    ...['batchsize', 'maxbytes', 'parallelism', 'timeout'],
  ])
  assert.deepEqual(
    rows.map(({ topic, relation, format }) => [topic, relation, format]),
    [
      ['my_topic', 'my_stream', 'text'],
      ['my_topic', 'my_table', 'text'],
      ['json_topic', 'my_table', 'json'],
      ['csv_topic', 'my_table', 'csv'],
    ],
  )
  // The columns of the last release, which is what people's queries know.
  assert.deepEqual(Object.keys(await described(owner, 'pipeline_kafka.offsets')), [
    'consumer_id',
    'partition',
    'offset',
  ])
  assert.deepEqual(Object.keys(await described(owner, 'pipeline_kafka.consumer_lag')), [
    ...['consumer_id', 'group_id', 'topic', 'partition', 'offset', 'high_watermark', 'lag'],
    // of this project's own
    'age',
  ])
})

/** A row of the view, columns without values: it may be empty. */
async function described(owner: RoleSession, view: string): Promise<Record<string, unknown>> {
  return (await owner.run(`SELECT v.* FROM (SELECT) AS one LEFT JOIN ${view} AS v ON true`)).rows[0]!
}

describe('pipeline_kafka 0.8', () => {
  test('its tables are read and brokers are inserted', async (t) => {
    const owner = await session(t)
    await owner.run(`INSERT INTO pipeline_kafka_brokers VALUES ('localhost:9092')`)
    await owner.run(`INSERT INTO pipeline_kafka_brokers (host) VALUES ('a'), ('b:1')`)
    await owner.run(`UPDATE pipeline_kafka_brokers SET host = 'c' WHERE host = 'a'`)
    await owner.run(`DELETE FROM pipeline_kafka_brokers WHERE host = 'b:1'`)
    assert.deepEqual(await owner.column('SELECT host FROM pipeline_kafka_brokers ORDER BY 1'), [
      'c',
      'localhost:9092',
    ])
    assert.equal(
      await owner.refusal(`INSERT INTO pipeline_kafka_brokers VALUES ('c:9092')`),
      'broker-exists 42710',
    )
    assert.deepEqual(await owner.column('SELECT host FROM pipeline_kafka.brokers ORDER BY 1'), [
      'c',
      'localhost:9092',
    ])
    assert.deepEqual(Object.keys(await described(owner, 'pipeline_kafka_offsets')), [
      'consumer_id',
      'partition',
      'offset',
    ])
    assert.deepEqual(Object.keys(await described(owner, 'pipeline_kafka_consumers')), [
      ...['id', 'relation', 'topic', 'format', 'delimiter', 'quote', 'escape', 'batchsize', 'parallelism'],
    ])
  })

  // Which of the two functions a call means is decided by PostgreSQL's rules for overloaded functions.
  const calls: [string, Record<string, unknown>][] = [
    [`'my_stream', 'my_topic'`, { parallelism: 1, format: 'text', delimiter: '\t' }],
    [`'my_stream', 'my_topic', 2`, { parallelism: 2, format: 'text' }],
    [`'my_stream', 'my_topic', 2, 'csv', ','`, { parallelism: 2, format: 'csv', delimiter: ',' }],
    [`'my_stream', 'my_topic', parallelism := 4`, { parallelism: 4 }],
    [
      `'my_stream', 'my_topic', format := 'csv', delimiter := '|'`,
      { parallelism: 1, format: 'csv', delimiter: '|' },
    ],
    [`'my_stream', 'my_topic', 1, 'text', '\\t'`, { delimiter: '\t' }],
    [`stream := 'my_stream', topic := 'my_topic', delimiter := '\\t'`, { delimiter: '\t' }],
    [`'my_stream'::text, 'my_topic'::text`, { parallelism: 1 }],
  ]
  for (const [args, expected] of calls) {
    test(`kafka_consume_begin(${args})`, async (t) => {
      const owner = await session(t)
      await owner.run(`INSERT INTO pipeline_kafka_brokers VALUES ('localhost')`)
      assert.equal(await owner.value(`SELECT kafka_consume_begin(${args})`), 'success')
      const { rows } = await owner.run('SELECT * FROM pipeline_kafka_consumers')
      assert.deepEqual({ ...rows[0], ...expected, relation: 'my_stream', topic: 'my_topic' }, rows[0])
      assert.equal(await owner.value(`SELECT kafka_consume_end('my_stream', 'my_topic')`), 'success')
    })
  }

  test('all consumers at once: what is left out stays, what is given changes', async (t) => {
    const owner = await session(t)
    await owner.run(`INSERT INTO pipeline_kafka_brokers VALUES ('localhost');
      SELECT kafka_consume_begin('my_stream', 'one', 3, 'csv', ','), kafka_consume_begin('my_table', 'two')`)
    const options = async (call: string): Promise<unknown[]> => {
      assert.equal(await owner.value('SELECT kafka_consume_end()'), 'success')
      assert.deepEqual(await owner.column('SELECT DISTINCT state FROM millrace.consumers'), ['stopped'])
      assert.equal(await owner.value(`SELECT ${call}`), 'success')
      assert.deepEqual(await owner.column('SELECT DISTINCT state FROM millrace.consumers'), ['no-daemon'])
      return owner.column(
        'SELECT parallelism || format || delimiter FROM pipeline_kafka_consumers ORDER BY topic',
      )
    }
    assert.deepEqual(await options('kafka_consume_begin()'), ['3csv,', '1text\t'])
    assert.deepEqual(await options('kafka_consume_begin(4)'), ['4csv,', '4text\t'])
    assert.deepEqual(await options('kafka_consume_begin(parallelism := 5)'), ['5csv,', '5text\t'])
    assert.deepEqual(await options(`kafka_consume_begin(2, 'csv')`), ['2csv,', '2csv\t'])
    assert.deepEqual(await options(`kafka_consume_begin(format := 'text', delimiter := '|')`), [
      '2text|',
      '2text|',
    ])
  })

  test('the two ends take the relation first, the two of 0.9 the topic', async (t) => {
    const owner = await session(t)
    await owner.run(
      `INSERT INTO pipeline_kafka_brokers VALUES ('localhost'); SELECT kafka_consume_begin('my_stream', 'topic')`,
    )
    assert.equal(
      await owner.refusal(`SELECT kafka_consume_end('topic', 'my_stream')`),
      'consumer-missing 42704',
    )
    assert.equal(await owner.value(`SELECT pipeline_kafka.consume_end('topic', 'my_stream')`), 'success')
  })
})

describe('brokers', () => {
  const good = [
    'localhost',
    'localhost:1',
    'kafka-1.example.com:65535',
    '10.0.0.1:9092',
    '[::1]',
    '[::1]:9093',
    'my_host',
    'host.',
  ]
  const bad = [
    ...[
      '',
      ' ',
      'a b',
      'a,b',
      'a:',
      ':9092',
      'a:0',
      'a:65536',
      'a:99999',
      'a:x',
      'kafka://a',
      'a/b',
      '-a',
      '::1',
      '[::1',
      '[x]',
    ],
    ...['u:p@host', 'x"; drop table t; --', `x'`, 'a\n', 'a'.repeat(262)],
  ]

  test('are host or host:port', async (t) => {
    const owner = await session(t)
    for (const host of good) {
      assert.equal(await owner.refusal('SELECT pipeline_kafka.add_broker($1)', [host]), null, host)
    }
    for (const host of [...bad, null]) {
      assert.equal(
        await owner.refusal('SELECT pipeline_kafka.add_broker($1)', [host]),
        'broker-invalid 22023',
        host ?? 'NULL',
      )
    }
    assert.deepEqual((await owner.column('SELECT host FROM millrace.broker')).sort(), [...good].sort())
  })

  test('are there once, however they are written', async (t) => {
    const owner = await session(t)
    await owner.run(`SELECT pipeline_kafka.add_broker('localhost')`)
    for (const host of ['localhost', 'localhost:9092', 'LOCALHOST:9092']) {
      assert.equal(await owner.refusal('SELECT pipeline_kafka.add_broker($1)', [host]), 'broker-exists 42710')
    }
    assert.equal(await owner.refusal(`SELECT pipeline_kafka.remove_broker('other')`), 'broker-missing 42704')
    assert.equal(await owner.refusal(`SELECT pipeline_kafka.remove_broker(NULL)`), 'broker-missing 42704')
    assert.equal(await owner.refusal(`SELECT millrace.add_broker('a', 'mars')`), 'cluster-missing 42704')
  })

  // F39: what is no address may be a URL with a password.
  test('that are refused are not repeated', async (t) => {
    const owner = await session(t)
    await assert.rejects(
      owner.run(`SELECT pipeline_kafka.add_broker('user:sentinel@host')`),
      (error: Error) => {
        assert.doesNotMatch(error.message, /sentinel/)
        return true
      },
    )
  })
})
