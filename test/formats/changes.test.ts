// A change event becomes what has to be done, in order; what is no event that is known is bad, never passed over.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { FormatOptions } from '../../src/formats/format.ts'
import { Table } from './copy.ts'
import { bytesOf, column, formatOf } from './encode.ts'
import { encodeRecords, type Given } from './message.ts'

const changes = (more: Partial<FormatOptions> = {}) =>
  formatOf({
    format: 'json',
    mode: 'changes',
    relation: [column('id'), column('name', 'text'), column('n', 'other', true)],
    keyColumns: ['id'],
    prefix: [
      { field: 'row', column: 'row' },
      { field: 'op', column: 'op' },
      { field: 'absent', column: 'absent' },
    ],
    ...more,
  })

function sent(records: (Given | object)[], more: Partial<FormatOptions> = {}): string {
  const given = records.map((record) =>
    'value' in record ? (record as Given) : { value: JSON.stringify(record) },
  )
  const encoded = encodeRecords(changes(more), given)
  return encoded.bad ? `${encoded.bad.code} in ${encoded.bad.tag}` : bytesOf(encoded).toString()
}

const row = (id: unknown, name: unknown = 'x', n: unknown = 1) => ({ id, name, n })

suite('what an event becomes', () => {
  test('create, read and update: the row after it', () => {
    for (const op of ['c', 'r', 'u']) {
      assert.equal(sent([{ before: null, after: row(1), op, ts_ms: 1, source: {} }]), '0\tu\t\\N\t1\tx\t1\n')
    }
  })
  test('with its schema', () => {
    const payload = { before: null, after: row(1), op: 'c' }
    assert.equal(sent([{ schema: { type: 'struct' }, payload }]), '0\tu\t\\N\t1\tx\t1\n')
  })
  test('a column that is not there has its default', () => {
    assert.equal(sent([{ after: { id: 1 }, op: 'c' }]), '0\tu\t{3}\t1\t\\N\t\\N\n')
  })
  test('delete: what was before', () => {
    assert.equal(sent([{ before: row(1), after: null, op: 'd' }]), '0\td\t\\N\t1\tx\t1\n')
    assert.equal(sent([{ before: { id: 1 }, op: 'd' }]), '0\td\t\\N\t1\t\\N\t\\N\n')
  })
  test('delete: the key, where before does not have it', () => {
    const value = JSON.stringify({ before: { name: 'x' }, op: 'd' })
    assert.equal(sent([{ key: '{"id":7}', value }]), '0\td\t\\N\t7\t\\N\t\\N\n')
    assert.equal(
      sent([{ key: '{"schema":{},"payload":{"id":7}}', value: '{"op":"d","before":null}' }]),
      '0\td\t\\N\t7\t\\N\t\\N\n',
    )
    assert.equal(sent([{ value }]), 'change-no-key in 0')
    assert.equal(sent([{ key: '{"id":null}', value }]), 'change-no-key in 0')
    assert.equal(sent([{ key: '{"id":1}', value }], { keyColumns: [] }), 'change-no-key in 0')
  })
  test('truncate', () => {
    assert.equal(sent([{ op: 't', before: null, after: null }]), '0\tt\t\\N\t\\N\t\\N\t\\N\n')
  })
  test('an update that changes the key deletes the old row first', () => {
    assert.equal(
      sent([
        { before: row(1), after: row(2), op: 'u' },
        { before: row(2), after: row(2, 'y'), op: 'u' },
      ]),
      '0\td\t\\N\t1\tx\t1\n1\tu\t\\N\t2\tx\t1\n2\tu\t\\N\t2\ty\t1\n',
    )
    const two = { keyColumns: ['id', 'name'] }
    assert.equal(
      sent([{ before: row(1), after: row(1, 'y'), op: 'u' }], two),
      '0\td\t\\N\t1\tx\t1\n1\tu\t\\N\t1\ty\t1\n',
    )
    // before does not say what the key was
    assert.equal(sent([{ before: { id: 1 }, after: row(2), op: 'u' }], two), '0\tu\t\\N\t2\tx\t1\n')
  })
  test('a tombstone is passed over, also one with a schema', () => {
    const encoded = encodeRecords(changes(), [
      { key: '{"id":1}', value: null },
      { value: '{"schema":null,"payload":null}' },
    ])
    assert.deepEqual([encoded.messages, encoded.skipped, encoded.segments], [1, 1, []])
  })
  test('F12 or deletes once more', () => {
    assert.equal(
      sent([{ key: '{"id":1}', value: null }], { tombstone: 'delete' }),
      '0\td\t\\N\t1\t\\N\t\\N\n',
    )
    assert.equal(sent([{ key: '{"x":1}', value: null }], { tombstone: 'delete' }), 'tombstone-no-key in 0')
  })
})

suite('what is refused', () => {
  const cases: [name: string, event: object | string, code: string][] = [
    ['no JSON', '{"op":"c"', 'json-invalid'],
    ['two events', '{"op":"t"}{"op":"t"}', 'json-invalid'],
    ['no object', '[1]', 'change-invalid'],
    ['a row without an envelope', row(1), 'change-invalid'],
    ['an unknown op', { op: 'm', message: {} }, 'change-invalid'],
    ['an op that is no letter', { op: 1, after: row(1) }, 'change-invalid'],
    ['a longer op', { op: 'create', after: row(1) }, 'change-invalid'],
    ['no after', { op: 'u', before: row(1) }, 'change-invalid'],
    ['an after that is null', { op: 'c', after: null }, 'change-invalid'],
    ['an after that is no object', { op: 'c', after: 'x' }, 'change-invalid'],
    [
      'a value that was not sent',
      { op: 'u', after: row(1, '__debezium_unavailable_value') },
      'change-value-unavailable',
    ],
  ]
  for (const [name, event, code] of cases) {
    test(name, () => {
      const value = typeof event === 'string' ? event : JSON.stringify(event)
      assert.equal(sent([{ op: 't' }, { value }, { op: 't' }]), `${code} in 1`)
    })
  }
  test('a value that was not sent, in the other ways Debezium has of saying so', () => {
    const placeholder = Buffer.from('__debezium_unavailable_value')
    for (const name of [placeholder.toString('hex'), placeholder.toString('base64'), [`${placeholder}`]]) {
      assert.equal(sent([{ op: 'u', after: row(1, name) }]), 'change-value-unavailable in 0')
    }
  })
  test('strictness is about the row after the change', () => {
    const strict = { unknownKeys: 'error', missingKeys: 'error' } as const
    assert.equal(sent([{ op: 'd', before: { id: 1, x: 2 } }], strict), '0\td\t\\N\t1\t\\N\t\\N\n')
    assert.equal(
      sent([{ op: 'u', before: { id: 1 }, after: { ...row(1), x: 2 } }], strict),
      'json-unknown-key in 0',
    )
    assert.equal(sent([{ op: 'c', after: { id: 1 } }], strict), 'json-missing-key in 0')
  })
})

test('PostgreSQL reads the rows', async (t) => {
  const table = await Table.create(
    t,
    '"row" bigint, op "char", absent int[], id bigint, name text, tags text[], rest jsonb',
  )
  const format = table.format({
    format: 'json',
    mode: 'changes',
    keyColumns: ['id'],
    restColumn: 'rest',
    prefix: [
      { field: 'row', column: 'row' },
      { field: 'op', column: 'op' },
      { field: 'absent', column: 'absent' },
    ],
  })
  const values = [
    '{"op":"c","after":{"id":9007199254740993,"name":"a\\t\\u00e9","tags":["x,y",null],"z":1}}',
    '{"op":"u","before":{"id":9007199254740993,"name":"a"},"after":{"id":2}}',
    '{"op":"t"}',
  ]
  const encoded = encodeRecords(
    format,
    values.map((value) => ({ value })),
  )
  assert.deepEqual(
    await table.within(format, encoded, 'SELECT op, absent, id, name, tags, rest FROM t ORDER BY "row"'),
    [
      { op: 'u', absent: null, id: '9007199254740993', name: 'a\té', tags: ['x,y', null], rest: { z: 1 } },
      { op: 'd', absent: null, id: '9007199254740993', name: 'a', tags: null, rest: null },
      { op: 'u', absent: null, id: '2', name: null, tags: null, rest: {} },
      { op: 't', absent: null, id: null, name: null, tags: null, rest: null },
    ],
  )
})

// What a connector writes with each of its settings, by Kafka Connect's JsonConverter, and what a column makes of it: null,
// that PostgreSQL refuses it. docs/formats.md says the same.
// https://debezium.io/documentation/reference/stable/connectors/postgresql.html#postgresql-data-types
suite('values as Debezium writes them', () => {
  const unscaled = 'BNI=' // 1234
  const bytes = Buffer.from('deadbeef', 'hex')
  const cases: [setting: string, column: string, value: unknown, becomes: string | null][] = [
    ['decimal.handling.mode string', 'numeric(10, 2)', '12.34', '12.34'],
    ['decimal.handling.mode string', 'numeric', 'NaN', 'NaN'],
    ['decimal.handling.mode string', 'numeric', '12345678901234567890.123', '12345678901234567890.123'],
    ['decimal.handling.mode double', 'numeric(10, 2)', 12.34, '12.34'],
    ['decimal.handling.mode precise', 'numeric(10, 2)', unscaled, null],
    ['decimal.handling.mode precise', 'text', unscaled, unscaled],
    ['decimal.handling.mode precise, no scale', 'numeric', { scale: 2, value: unscaled }, null],
    ['decimal.handling.mode precise, decimal.format NUMERIC', 'numeric(10, 2)', 12.34, '12.34'],
    ['binary.handling.mode hex', 'text', bytes.toString('hex'), 'deadbeef'],
    ['binary.handling.mode hex', 'bytea', bytes.toString('hex'), '\\x6465616462656566'],
    ['binary.handling.mode bytes', 'text', bytes.toString('base64'), '3q2+7w=='],
    ['binary.handling.mode bytes', 'bytea', bytes.toString('base64'), '\\x3371322b37773d3d'],
    ['binary.handling.mode base64-url-safe', 'bytea', bytes.toString('base64url'), '\\x3371322d3777'],
    ['time.precision.mode adaptive', 'date', 20_454, null],
    ['time.precision.mode adaptive', 'integer', 20_454, '20454'],
    ['time.precision.mode adaptive', 'time(3)', 11_045_123, null],
    // two minutes after midnight
    ['time.precision.mode adaptive, misread', 'time(3)', 123_456, '12:34:56'],
    ['time.precision.mode adaptive', 'time', 11_045_123_456, null],
    ['time.precision.mode adaptive', 'timestamp(3)', 1_767_323_045_123, null],
    ['time.precision.mode adaptive', 'timestamp', 1_767_323_045_123_456, null],
    // five hours after the beginning of 1970
    ['time.precision.mode adaptive, misread', 'timestamp(3)', 20_260_102, '2026-01-02 00:00:00'],
    ['time.precision.mode connect', 'timestamp', 1_767_323_045_123, null],
    ['time.precision.mode isostring', 'date', '2026-01-02Z', '2026-01-02'],
    ['time.precision.mode isostring', 'time', '03:04:05.123456Z', '03:04:05.123456'],
    [
      'time.precision.mode isostring',
      'timestamp',
      '2026-01-02T03:04:05.123456Z',
      '2026-01-02 03:04:05.123456',
    ],
    ['any', 'timestamptz', '2026-01-02T03:04:05.123456Z', '2026-01-02 03:04:05.123456+00'],
    ['any', 'timetz', '03:04:05.123Z', '03:04:05.123+00'],
    ['interval.handling.mode string', 'interval', 'P1Y2M3DT4H5M6.78S', '1 year 2 mons 3 days 04:05:06.78'],
    [
      'interval.handling.mode string',
      'interval',
      'P-1Y-2M-3DT-4H-5M-6.78S',
      '-1 years -2 mons -3 days -04:05:06.78',
    ],
    // microseconds, taken for seconds
    ['interval.handling.mode numeric, misread', 'interval', 3_600_000_000, '1000000:00:00'],
    ['hstore.handling.mode json', 'jsonb', '{"a":"1","b":null}', '{"a": "1", "b": null}'],
    ['hstore.handling.mode map', 'jsonb', { a: '1', b: null }, '{"a": "1", "b": null}'],
    ['any', 'json', '{"a": 1.50,  "b": "\\n\\u00e9"}', '{"a": 1.50,  "b": "\\n\\u00e9"}'],
    ['any', 'jsonb', '"text"', '"text"'],
    ['any', 'jsonb', 'null', 'null'],
    ['any', 'jsonb', null, 'NULL'],
    ['any', 'jsonb', '[1, "x"]', '[1, "x"]'],
    ['any', 'jsonb', 'no JSON', null],
    ['any', 'jsonb[]', ['{"a": 1}', '"x,y"', null], '{"{\\"a\\": 1}","\\"x,y\\"",NULL}'],
    ['any', 'uuid', '0b5c1a52-1c8e-4b4e-8a52-0d4b2d6f4f00', '0b5c1a52-1c8e-4b4e-8a52-0d4b2d6f4f00'],
    ['any', 'integer[]', [1, 2, null], '{1,2,NULL}'],
    ['any', 'text[]', ['a,b', null], '{"a,b",NULL}'],
    ['any', 'bit', true, null],
    ['any', 'bit(4)', 'Cg==', null],
    ['any', 'boolean', true, 'true'],
    ['any', 'point', { x: 1, y: 2, wkb: 'AQEAAAAAAAAAAADwPwAAAAAAAABA', srid: null }, null],
    ['any', 'int4range', '[1,3)', '[1,3)'],
  ]
  test('become these', async (t) => {
    const columns = cases.map(([, type], i) => `c${i} ${type}`)
    const prefix = ['row', 'op', 'absent'] as const
    const table = await Table.create(t, `"row" bigint, op "char", absent int[], ${columns.join(', ')}`)
    const format = table.format({
      format: 'json',
      mode: 'changes',
      prefix: prefix.map((field) => ({ field, column: field })),
    })
    for (const [i, [setting, type, value, becomes]] of cases.entries()) {
      const event = { before: null, after: { [`c${i}`]: value }, source: { name: 'x' }, op: 'c', ts_ms: 1 }
      const encoded = encodeRecords(format, [{ value: JSON.stringify(event) }])
      const query = `SELECT coalesce(c${i}::text, 'NULL') AS v FROM t`
      const found = await table.within(format, encoded, query).then(
        ([row]) => row?.v,
        () => null,
      )
      assert.equal(found, becomes, `${setting}, into ${type}`)
    }
  })
})
