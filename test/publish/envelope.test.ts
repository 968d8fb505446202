// The three envelopes, byte for byte where that is possible, and every type's JSON.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { publishedDatabase } from '../support/published.ts'

const table = 'CREATE TABLE t (id int PRIMARY KEY, v text)'

describe('debezium', () => {
  test('before, after, op, source, tombstones', async (t) => {
    const { alice, sent, database } = await publishedDatabase(t)
    const before = Date.now()
    await alice.run(`${table}; INSERT INTO t VALUES (1, 'a'); SELECT millrace.publish('t', envelope := 'debezium');
      INSERT INTO t VALUES (2, 'b'); UPDATE t SET v = 'c' WHERE id = 2; UPDATE t SET id = 3 WHERE id = 2; DELETE FROM t WHERE id = 3; TRUNCATE t`)
    const events = await sent()
    const short = events.map(({ key, value }) => {
      const { op, before, after } = (value ?? {}) as Record<string, unknown>
      return value === null ? [key, null] : [key, op, before, after]
    })
    assert.deepEqual(short, [
      ['{"id":1}', 'r', null, { id: 1, v: 'a' }],
      ['{"id":2}', 'c', null, { id: 2, v: 'b' }],
      ['{"id":2}', 'u', { id: 2, v: 'b' }, { id: 2, v: 'c' }],
      ['{"id":2}', 'd', { id: 2, v: 'c' }, null],
      ['{"id":2}', null],
      ['{"id":3}', 'c', null, { id: 3, v: 'c' }],
      ['{"id":3}', 'd', { id: 3, v: 'c' }, null],
      ['{"id":3}', null],
      [null, 't', null, null],
    ])
    const { source, ts_ms } = events[0]!.value as { source: Record<string, unknown>; ts_ms: number }
    assert.ok(ts_ms >= before && ts_ms <= Date.now() && (source.ts_ms as number) <= ts_ms)
    assert.equal(typeof source.txId, 'number')
    assert.deepEqual(
      { ...source, ts_ms: 0, txId: 0 },
      {
        version: '1',
        connector: 'millrace',
        name: 'default',
        ts_ms: 0,
        snapshot: 'true',
        db: database.name,
        sequence: null,
        schema: 'public',
        table: 't',
        txId: 0,
        lsn: null,
        xmin: null,
      },
    )
    assert.equal((events[1]!.value as { source: { snapshot: string } }).source.snapshot, 'false')
  })

  test("with Connect's schema, which the values fit", async (t) => {
    const { alice, sent } = await publishedDatabase(t)
    await alice.run(`CREATE DOMAIN cents AS bigint; CREATE TABLE t (id uuid PRIMARY KEY, small smallint, d cents, f float8, yes boolean,
        n numeric, raw bytea, doc jsonb, at timestamptz, words text[]);
      SELECT millrace.publish('t', envelope := 'debezium', with_schema := true);
      INSERT INTO t VALUES ('00000000-0000-0000-0000-000000000001', 1, 9007199254740993, 1.5, true, 12345678901234567890.10, '\\x00ff', '{"a": 1}', '2026-01-01 00:00:00+00', '{a,b}')`)
    const [event] = await sent()
    const { schema, payload } = event!.value as {
      schema: { fields: { field: string; fields: object[] }[] }
      payload: { after: object }
    }
    assert.deepEqual(
      schema.fields.map(({ field }) => field),
      ['before', 'after', 'source', 'op', 'ts_ms'],
    )
    assert.deepEqual(schema.fields[1]!.fields, [
      { type: 'string', name: 'io.debezium.data.Uuid', version: 1, optional: true, field: 'id' },
      { type: 'int16', optional: true, field: 'small' },
      { type: 'int64', optional: true, field: 'd' },
      { type: 'double', optional: true, field: 'f' },
      { type: 'boolean', optional: true, field: 'yes' },
      { type: 'string', optional: true, field: 'n' },
      { type: 'bytes', optional: true, field: 'raw' },
      { type: 'string', name: 'io.debezium.data.Json', version: 1, optional: true, field: 'doc' },
      { type: 'string', name: 'io.debezium.time.ZonedTimestamp', version: 1, optional: true, field: 'at' },
      { type: 'string', optional: true, field: 'words' },
    ])
    assert.deepEqual(payload.after, {
      id: '00000000-0000-0000-0000-000000000001',
      small: 1,
      d: JSON.parse('9007199254740993'),
      f: 1.5,
      yes: true,
      n: '12345678901234567890.10',
      raw: 'AP8=',
      doc: '{"a": 1}',
      at: '2026-01-01T00:00:00+00:00',
      words: '{a,b}',
    })
    const key = JSON.parse(event!.key as string)
    assert.deepEqual(key.payload, { id: '00000000-0000-0000-0000-000000000001' })
    assert.equal(key.schema.fields[0].optional, false)
  })
})

test('pg2kafka: five members, what changed, nothing where nothing did', async (t) => {
  const { alice, sent } = await publishedDatabase(t)
  await alice.run(`${table}; INSERT INTO t VALUES (1, 'a'); SELECT millrace.publish('t', envelope := 'pg2kafka', key := '{v}');
    UPDATE t SET id = 2; UPDATE t SET id = id; UPDATE t SET v = 'b'; INSERT INTO t VALUES (3, NULL); DELETE FROM t WHERE id = 2; TRUNCATE t`)
  const events = await sent()
  assert.deepEqual(Object.keys(events[0]!.value as object), [
    'uuid',
    'external_id',
    'statement',
    'data',
    'created_at',
  ])
  assert.deepEqual(
    events.map(({ key, value }) => {
      const { external_id, statement, data } = value as Record<string, unknown>
      assert.equal(external_id, key)
      return [key, statement, data]
    }),
    [
      ['a', 'SNAPSHOT', { id: 1, v: 'a' }],
      ['a', 'UPDATE', { id: 2 }],
      ['a', 'DELETE', {}],
      ['b', 'INSERT', { id: 2, v: 'b' }],
      [null, 'INSERT', { id: 3, v: null }],
      ['b', 'DELETE', {}],
      [null, 'DELETE', {}],
    ],
  )
})

/** Column type, a value in SQL, its JSON. */
const types: [string, string, string][] = [
  ['numeric', '12345678901234567890.123456789012345678900', '12345678901234567890.123456789012345678900'],
  ['numeric', `'NaN'`, '"NaN"'],
  ['int8', '9223372036854775807', '9223372036854775807'],
  ['float8', '0.1::float8 + 0.2', '0.30000000000000004'],
  ['float8', `'-Infinity'`, '"-Infinity"'],
  ['bool', 'true', 'true'],
  ['bytea', `'\\x00ff'`, String.raw`"\\x00ff"`],
  ['date', `'2026-03-01'`, '"2026-03-01"'],
  ['timestamp', `'2026-03-01 12:00:00.123456'`, '"2026-03-01T12:00:00.123456"'],
  ['timestamptz', `'2026-03-01 12:00:00.5+09'`, '"2026-03-01T03:00:00.5+00:00"'],
  ['time', `'12:00'`, '"12:00:00"'],
  ['interval', `'1 year 2 days 03:04:05'`, '"1 year 2 days 03:04:05"'],
  ['tstzrange', `'[2026-03-01 12:00+09, infinity)'`, String.raw`"[\"2026-03-01 03:00:00+00\",infinity)"`],
  ['int4range', `'[1,5]'`, '"[1,6)"'],
  ['numeric[]', `'{1.10,NULL,3}'`, '[1.10,null,3]'],
  ['timestamptz[]', `'{2026-03-01 12:00+00}'`, '["2026-03-01T12:00:00+00:00"]'],
  ['bytea[]', `ARRAY['\\x01'::bytea]`, String.raw`["\\x01"]`],
  ['json', `'{"b" : 1, "a":  1.0, "a": 2}'`, '{"b" : 1, "a":  1.0, "a": 2}'],
  ['jsonb', `'{"b": 1, "a": 1.0}'`, '{"a": 1.0, "b": 1}'],
  ['text', `E'q"\\\\\\n\\u20ac'`, String.raw`"q\"\\\n€"`],
  ['char(3)', `'a'`, '"a  "'],
  ['uuid', `'00000000-0000-0000-0000-000000000001'`, '"00000000-0000-0000-0000-000000000001"'],
  ['inet', `'10.0.0.1/8'`, '"10.0.0.1/8"'],
  ['point', `'(1,2)'`, '"(1,2)"'],
  ['regclass', `'pg_class'`, '"pg_class"'],
  ['xml', `'<a/>'`, '"<a/>"'],
  ['pair', `ROW(1.0, '2026-01-01 00:00+00')`, '{"n":1.0,"at":"2026-01-01T00:00:00+00:00"}'],
  ['mood', `'fine'`, '"fine"'],
  ['cents', '1.50', '1.50'],
]

test('JSON is exact for every type, whatever the session has set', async (t) => {
  const { alice, lines } = await publishedDatabase(t)
  const columns = types.map(([type], i) => `c${i} ${type}`).join(', ')
  await alice.run(`CREATE TYPE pair AS (n numeric, at timestamptz); CREATE TYPE mood AS ENUM ('fine'); CREATE DOMAIN cents AS numeric;
    CREATE TABLE t (id int PRIMARY KEY, ${columns}); SELECT millrace.publish('t'), millrace.publish('t', 'rows', capture := 'row')`)
  const version = Number(await alice.value(`SELECT current_setting('server_version_num')`))
  await alice.run(`SET timezone = 'Asia/Tokyo'; SET datestyle = 'German'; SET intervalstyle = 'iso_8601'; SET bytea_output = 'escape';
    SET extra_float_digits = 0; SET search_path = pg_temp, pg_catalog; SET xmloption = 'content'`)
  await alice.run(`INSERT INTO public.t VALUES (1, ${types.map(([, value]) => value).join(', ')})`)
  const expected = `1={"id":1,${types.map(([, , json], i) => `"c${i}":${json}`).join(',')}}`
  assert.deepEqual(await lines(), [expected, expected])
  assert.ok(version >= 130000)
})

test('hstore is an object', async (t) => {
  const { alice, owner, superuser, lines } = await publishedDatabase(t)
  if (
    (await superuser.value(`SELECT count(*)::int FROM pg_available_extensions WHERE name = 'hstore'`)) === 0
  )
    return t.skip('this server has no hstore')
  await owner.run('CREATE EXTENSION hstore')
  await alice.run(
    `CREATE TABLE t (id int PRIMARY KEY, h hstore); SELECT millrace.publish('t'); INSERT INTO t VALUES (1, 'a=>1, b=>NULL')`,
  )
  assert.deepEqual(await lines(), ['1={"id":1,"h":{"a": "1", "b": null}}'])
})

test('generated columns are computed, virtual ones too', async (t) => {
  const { alice, lines } = await publishedDatabase(t)
  const virtual = Number(await alice.value(`SELECT current_setting('server_version_num')`)) >= 180000
  await alice.run(`CREATE TABLE t (id int PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED
      ${virtual ? ', thrice int GENERATED ALWAYS AS (n * 3) VIRTUAL' : ''}); INSERT INTO t VALUES (1, 1);
    SELECT millrace.publish('t'), millrace.publish('t', 'rows', capture := 'row', snapshot := false); UPDATE t SET n = 2`)
  const row = (n: number) => `1={"id":1,"n":${n},"twice":${n * 2}${virtual ? `,"thrice":${n * 3}` : ''}}`
  assert.deepEqual(await lines(), [row(1), row(2), row(2)])
})
