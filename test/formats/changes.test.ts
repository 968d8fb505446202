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
