// What is given to produce() is in the outbox as it was given, or refused with a code; whoever calls.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { outboxDatabase } from '../support/outbox.ts'

const produce = (args: string): string => `SELECT millrace.produce('topic', ${args})`

describe('millrace.produce', () => {
  test('takes text and bytea for value and key, in every combination', async (t) => {
    const { alice, outbox } = await outboxDatabase(t)
    const calls = [
      `'literal'`,
      `'literal', 'key'`,
      `'text'::text, 'key'::text`,
      `'bytes'::bytea, 'key'::bytea`,
      `'text'::text, 'key'::bytea`,
      `'bytes'::bytea, 'key'::text`,
      `'bytes'::bytea`,
      `NULL, 'key'`,
      `'', ''`,
    ]
    for (const args of calls) await alice.run(produce(args))
    const row = (value: string | null, key: string | null) => ({
      topic: 'topic',
      partition: null,
      key,
      value,
      source: null,
    })
    assert.deepEqual(await outbox(), [
      row('literal', null),
      row('literal', 'key'),
      ...[row('text', 'key'), row('bytes', 'key'), row('text', 'key'), row('bytes', 'key')],
      row('bytes', null),
      row(null, 'key'),
      row('', ''),
    ])
  })

  test('returns the number of the row, which names what else is known of it', async (t) => {
    const { alice, superuser, roles } = await outboxDatabase(t)
    const id = await alice.value(
      `BEGIN; ${produce(`'v', partition := 7, headers := '{"a": "b", "c": null}',
      cluster := 'default', "timestamp" := '2020-01-02 03:04:05.678Z'`)}`,
    )
    const xid = await alice.value('SELECT pg_current_xact_id()')
    await alice.run('COMMIT')
    const { rows } = await superuser.run(
      `SELECT id, xid, owner::text, partition, cluster, headers::text, "timestamp" FROM millrace.outbox`,
    )
    assert.deepEqual(rows, [
      {
        id,
        xid,
        owner: roles.alice,
        partition: 7,
        cluster: 'default',
        headers: String.raw`{"\\x61","\\x62","\\x63",NULL}`,
        timestamp: new Date('2020-01-02T03:04:05.678Z'),
      },
    ])
  })

  test('writes text as UTF-8, and bytes as they are', async (t) => {
    const { alice, superuser } = await outboxDatabase(t)
    await alice.run(produce(`'grün', 'ключ'`))
    await alice.run(produce(`'\\x00ff'::bytea, '\\xfe'::bytea`))
    assert.deepEqual(
      await superuser.column(
        `SELECT encode(key, 'hex') || ' ' || encode(value, 'hex') FROM millrace.outbox ORDER BY id`,
      ),
      ['d0bad0bbd18ed187 6772c3bc6e', 'fe 00ff'],
    )
  })

  test('gives each row the time at which it was written, when none is given', async (t) => {
    const { alice, superuser } = await outboxDatabase(t)
    await alice.run(`BEGIN; ${produce(`'a'`)}; ${produce(`'b'`)}; COMMIT`)
    assert.equal(
      await superuser.value(`SELECT bool_and("timestamp" BETWEEN now() - interval '1 min' AND clock_timestamp())
        AND count(DISTINCT "timestamp") = 2 FROM millrace.outbox`),
      true,
    )
  })

  test('takes headers as an object, and as the array that consuming loads', async (t) => {
    const { alice, superuser } = await outboxDatabase(t)
    const given = [
      `'{}'`,
      `'[]'`,
      'NULL',
      `'{"n": 1.50, "b": true}'`,
      `'[{"name": "a", "value": "1"}, {"name": "a", "hex": "00FF"}, {"name_hex": "fe", "value": null}]'`,
    ]
    for (const headers of given) await alice.run(produce(`'v', headers := ${headers}`))
    assert.deepEqual(
      await superuser.column(`SELECT (SELECT string_agg(coalesce(encode(h, 'escape'), 'null'), ' ' ORDER BY place)
        FROM unnest(headers) WITH ORDINALITY AS u (h, place)) FROM millrace.outbox ORDER BY id`),
      [null, null, null, 'b true n 1.50', String.raw`a 1 a \000\377 \376 null`],
    )
  })

  const refused: [args: string, expected: string][] = [
    [`NULL, 'v'`, 'topic-invalid 22023'],
    [`'', 'v'`, 'topic-invalid 22023'],
    [`'.', 'v'`, 'topic-invalid 22023'],
    [`'two words', 'v'`, 'topic-invalid 22023'],
    [`E'topic\\n', 'v'`, 'topic-invalid 22023'],
    [`'x''); DROP TABLE t; --', 'v'`, 'topic-invalid 22023'],
    [`repeat('x', 250), 'v'`, 'topic-invalid 22023'],
    [`'topic', 'v', partition := -1`, 'partition-invalid 22023'],
    [`'topic', 'v', headers := '1'`, 'headers-invalid 22023'],
    [`'topic', 'v', headers := '"text"'`, 'headers-invalid 22023'],
    [`'topic', 'v', headers := 'null'`, 'headers-invalid 22023'],
    [`'topic', 'v', headers := '["a", "b"]'`, 'headers-invalid 22023'],
    [`'topic', 'v', headers := '[{"name": "a"}]'`, 'headers-invalid 22023'],
    [`'topic', 'v', headers := '[{"value": "a"}]'`, 'headers-invalid 22023'],
    [`'topic', 'v', headers := '[{"name": null, "value": "a"}]'`, 'headers-invalid 22023'],
    [`'topic', 'v', headers := '[{"name": "a", "value": "a", "hex": "00"}]'`, 'headers-invalid 22023'],
    [`'topic', 'v', headers := '[{"name": "a", "value": "a", "more": 1}]'`, 'headers-invalid 22023'],
    [`'topic', 'v', headers := '[{"name": "a", "hex": "0"}]'`, 'headers-invalid 22023'],
    [`'topic', 'v', headers := '[{"name": "a", "hex": "zz"}]'`, 'headers-invalid 22023'],
    [`'topic', 'v', headers := '{"a": {"b": 1}}'`, 'headers-invalid 22023'],
    [`'topic', 'v', headers := '{"a": []}'`, 'headers-invalid 22023'],
    [`'topic', 'v', headers := '{"millrace-id": "forged"}'`, 'headers-invalid 22023'],
    [
      `'topic', 'v', headers := '[{"name_hex": "6d696c6c726163652d6964", "value": "x"}]'`,
      'headers-invalid 22023',
    ],
    [`'topic', 'v', "timestamp" := '1969-12-31 23:59:59Z'`, 'timestamp-invalid 22023'],
    [`'topic', 'v', "timestamp" := 'infinity'`, 'timestamp-invalid 22023'],
    [`'topic', 'v', "timestamp" := '-infinity'`, 'timestamp-invalid 22023'],
    [`'topic', 'v', cluster := 'mars'`, 'cluster-missing 42704'],
    [`'topic', 'v', cluster := ''`, 'cluster-missing 42704'],
  ]

  test('refuses what could not be sent, to the owner of the schema and to an ordinary role', async (t) => {
    const { owner, alice, values } = await outboxDatabase(t)
    for (const session of [owner, alice])
      for (const [args, expected] of refused)
        assert.equal(await session.refusal(`SELECT millrace.produce(${args})`), expected, args)
    assert.deepEqual(await values(), [])
    await alice.run(produce(`'v', "timestamp" := '1970-01-01Z', partition := 2147483647`))
  })

  test('asks which cluster where several have brokers, and needs one that has', async (t) => {
    const { owner, superuser } = await outboxDatabase(t)
    await owner.run(`SELECT millrace.add_cluster('other', 'localhost:9093')`)
    assert.equal(await owner.refusal(produce(`'v'`)), 'cluster-ambiguous 42725')
    await owner.run(produce(`'v', cluster := 'other'`))
    await owner.run(`SELECT millrace.remove_broker('localhost:9092')`)
    await owner.run(produce(`'v'`))
    assert.equal(await owner.refusal(produce(`'v', cluster := 'default'`)), 'no-broker 55000')
    assert.deepEqual(await superuser.column('SELECT cluster FROM millrace.outbox'), ['other', 'other'])
    await owner.run(`SELECT millrace.remove_broker('localhost:9093', 'other')`)
    assert.equal(await owner.refusal(produce(`'v'`)), 'no-broker 55000')
  })

  test('writes into the segment that is written now, whichever that is', async (t) => {
    const { owner, alice, superuser } = await outboxDatabase(t)
    for (const segment of [0, 1, 2, 3, 0]) {
      await owner.run('UPDATE millrace.outbox_writing SET segment = $1', [segment])
      for (const session of [owner, alice]) await session.run(produce(`'v'`))
    }
    assert.deepEqual(await superuser.column('SELECT segment FROM millrace.outbox ORDER BY id'), [
      ...[0, 0, 1, 1, 2, 2, 3, 3, 0, 0],
    ])
  })

  test('is refused by a transaction that may not write', async (t) => {
    const { alice } = await outboxDatabase(t)
    assert.match(
      String(await alice.refusal(`BEGIN READ ONLY; ${produce(`'v'`)}`)),
      /read-only transaction 25006$/,
    )
  })
})

describe('pipeline_kafka.produce_message', () => {
  const message = (args: string): string => `SELECT pipeline_kafka.produce_message(${args})`

  test('as its document writes it', async (t) => {
    const { alice, outbox } = await outboxDatabase(t)
    for (const args of [
      `'topic', 'one'`,
      `'topic', 'two', 3, 'key'`,
      `'topic', 'three', partition := NULL, key := NULL`,
      `'topic', 'four', key := 'key'`,
      `topic := 'topic', message := '\\x66697665', partition := 0`,
    ])
      assert.equal(await alice.value(message(args)), 'success', args)
    const row = (value: string, partition: number | null = null, key: string | null = null) => ({
      topic: 'topic',
      partition,
      key,
      value,
      source: null,
    })
    assert.deepEqual(await outbox(), [
      row('one'),
      row('two', 3, 'key'),
      row('three'),
      row('four', null, 'key'),
      row('five', 0),
    ])
  })

  test('goes to the cluster default, and refuses what produce() refuses', async (t) => {
    const { owner, alice, bob, superuser } = await outboxDatabase(t)
    await owner.run(`SELECT millrace.add_cluster('other', 'localhost:9093')`)
    await alice.run(message(`'topic', 'v'`))
    assert.deepEqual(await superuser.column('SELECT cluster FROM millrace.outbox'), ['default'])
    assert.equal(await alice.refusal(message(`'topic', 'v', -1`)), 'partition-invalid 22023')
    assert.equal(await alice.refusal(message(`NULL, 'v'`)), 'topic-invalid 22023')
    assert.equal(await bob.refusal(message(`'topic', 'v'`)), 'topic-not-granted 42501')
    await owner.run(`SELECT millrace.remove_broker('localhost:9092')`)
    assert.equal(await alice.refusal(message(`'topic', 'v'`)), 'no-broker 55000')
  })
})
