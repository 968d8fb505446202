// Each row has what its record has: nothing that a key, a topic or a header contains changes what the row's own fields
// mean, and the other way round. COPY itself, of this server, is asked.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import type { PrefixField } from '../../src/formats/format.ts'
import { headersJson, timestampText } from '../../src/formats/metadata-text.ts'
import { Table } from './copy.ts'
import { bytesOf, column, encode, formatOf } from './encode.ts'
import { encodeRecords, type Given } from './message.ts'
import { holds } from './property.ts'
import { type Dialect, dialects, endings, messagesOf, nameOf, recordsOf } from './records.ts'

const prefix: PrefixField[] = [
  { field: 'row', column: 'row' },
  { field: 'tag', column: 'tag' },
  { field: 'op', column: 'op' },
  { field: 'absent', column: 'absent' },
  { field: 'key', column: 'k', type: 'text' },
  { field: 'key', column: 'kb', type: 'bytea' },
  { field: 'topic', column: 'topic' },
  { field: 'partition', column: 'p' },
  { field: 'offset', column: 'o' },
  { field: 'timestamp', column: 'ts' },
  { field: 'headers', column: 'h', type: 'jsonb' },
]

const metadata = `"row" bigint, tag bigint, op "char", absent int[], k text, kb bytea, topic text, p int, o bigint,
  ts timestamptz, h jsonb`
const seen = `SELECT "row"::int, tag::int, op, absent, k, encode(kb, 'hex') AS kb, topic, p, o::text,
  to_char(ts AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS ts, h`

const texts = fc.string({ unit: fc.constantFrom(...'ab01 .,;|\t\'"\\\n\r/é😀NxD{}:+-') })
const given = fc.record({
  key: fc.option(texts),
  headers: fc.array(fc.tuple(texts, fc.option(texts)), { maxLength: 3 }),
  timestamp: fc.option(fc.integer({ min: 0, max: 4e12 }), { nil: -1 }),
  topic: fc.constantFrom('t', 'a-b.c_d', `x"; drop table t; --`, 'N\t\\.'),
  partition: fc.nat(5),
  offset: fc.bigInt(0n, 2n ** 63n - 1n),
})
const metas = fc.array(given, { minLength: 1, maxLength: 12 })

function expectedOf(record: Given, tag: number) {
  const { key, topic, partition, offset, timestamp, headers } = record
  return {
    tag,
    op: 'u',
    absent: null,
    k: key,
    kb: key === null || key === undefined ? null : Buffer.from(key).toString('hex'),
    topic,
    p: partition,
    o: String(offset),
    ts: timestamp! < 0 ? null : new Date(timestamp!).toISOString(),
    h: headers!.map(([name, value]) => ({ name, value })),
  }
}

const oddDialects: Dialect[] = [
  { format: 'text', delimiter: ':' },
  { format: 'text', delimiter: '-' },
  { format: 'text', delimiter: '{' },
  { format: 'csv', delimiter: '1', quote: 'u' },
  { format: 'csv', delimiter: '-', quote: '0', escape: '2' },
]

suite('a prefix before each line', () => {
  for (const dialect of [...dialects, ...oddDialects]) {
    test(nameOf(dialect), async (t) => {
      const table = await Table.create(t, `${metadata}, a text, n numeric`)
      const plain = await Table.create(t, 'a text, n numeric')
      const into = table.format({ ...dialect, prefix })
      assert.deepEqual(into.columns, ['a', 'n'])
      let loaded = 0
      const property = fc.asyncProperty(recordsOf(dialect), endings, metas, async (lines, ends, metas) => {
        const values = messagesOf(lines, ends)
        const records = values.map((value, i): Given => ({ ...metas[i % metas.length]!, value }))
        const encoded = encodeRecords(into, records)
        const alone = encode(plain.format(dialect), values)
        assert.deepEqual(encoded.bad, alone.bad)
        assert.deepEqual([encoded.messages, encoded.skipped], [alone.messages, 0])
        const expected = await plain.send(plain.format(dialect), alone)
        const outcome = await table.send(into, encoded)
        if ('error' in expected) {
          assert.ok('error' in outcome, JSON.stringify(outcome))
          return
        }
        const rows = await table.within(
          into,
          { ...encoded, bad: null },
          `${seen}, a, n::text FROM t ORDER BY "row"`,
        )
        const own = await plain.within(
          plain.format(dialect),
          { ...alone, bad: null },
          'SELECT a, n::text FROM t ORDER BY ctid',
        )
        assert.deepEqual(
          rows.map(({ a, n }) => ({ a, n })),
          own,
        )
        for (const [i, { a, n, row, ...meta }] of rows.entries()) {
          assert.equal(row, i)
          assert.deepEqual(meta, expectedOf(records[meta.tag]!, meta.tag))
        }
        const tags = new Set(rows.map(({ tag }) => tag))
        assert.equal(tags.size, encoded.messages)
        loaded++
      })
      await holds(property, 40)
      assert.ok(loaded > 10, `only ${loaded} times there were rows`)
    })
  }
})

suite('a prefix before each row of json', () => {
  test('into columns', async (t) => {
    const table = await Table.create(t, `${metadata}, a text, n numeric DEFAULT 7`)
    const into = table.format({ format: 'json', prefix })
    const rowsOf = fc.array(fc.record({ a: fc.option(texts), n: fc.integer() }, { requiredKeys: [] }), {
      maxLength: 3,
    })
    const property = fc.asyncProperty(fc.array(rowsOf, { maxLength: 5 }), metas, async (messages, metas) => {
      const records = messages.map(
        (rows, i): Given => ({ ...metas[i % metas.length]!, value: JSON.stringify(rows) }),
      )
      const found = await table.within(
        into,
        encodeRecords(into, records),
        `${seen}, a, n::int FROM t ORDER BY "row"`,
      )
      const expected = messages.flatMap((rows, tag) =>
        rows.map((row) => ({
          ...expectedOf(records[tag]!, tag),
          absent: row.n === undefined ? [2] : null,
          a: row.a ?? null,
          n: row.n ?? null,
        })),
      )
      assert.deepEqual(
        found,
        expected.map((row, i) => ({ row: i, ...row })),
      )
    })
    await holds(property, 60)
  })

  test('whole messages', async (t) => {
    const table = await Table.create(t, `${metadata}, document jsonb`)
    const into = table.format({ format: 'json', prefix })
    const [meta] = fc.sample(given, 1)
    const encoded = encodeRecords(into, [{ ...meta!, value: '{"a":\t1}\n[2]' }])
    const found = await table.within(into, encoded, `${seen}, document FROM t ORDER BY "row"`)
    const expected = expectedOf({ ...meta!, value: '' }, 0)
    assert.deepEqual(found, [
      { row: 0, ...expected, document: { a: 1 } },
      { row: 1, ...expected, document: [2] },
    ])
  })
})

test('without `absent` a default is COPY’s, in every version', async () => {
  const options = {
    format: 'json',
    relation: [column('k'), column('a'), column('d', 'other', true)],
    prefix: [{ field: 'key', column: 'k' }],
  } as const
  const records = [
    { key: 'x', value: '{"a":1}' },
    { key: 'y', value: '{"d":2}' },
  ]
  const marked = formatOf({ ...options, prefix: [...options.prefix], relation: [...options.relation] })
  assert.equal(bytesOf(encodeRecords(marked, records)).toString(), 'x\t1\t\\D\ny\t\\N\t2\n')
  const older = formatOf({
    ...options,
    prefix: [...options.prefix],
    relation: [...options.relation],
    serverVersion: 150000,
  })
  assert.deepEqual(
    encodeRecords(older, records).segments.map(({ columns, chunks }) => [
      columns,
      Buffer.concat(chunks).toString(),
    ]),
    [
      [['k', 'a'], 'x\t1\n'],
      [['k', 'a', 'd'], 'y\t\\N\t2\n'],
    ],
  )
})

test('tag and row need no record, everything else does', () => {
  const counted = formatOf({
    prefix: [
      { field: 'tag', column: 't' },
      { field: 'row', column: 'r' },
    ],
  })
  assert.equal(counted.needsRecords, false)
  assert.equal(
    bytesOf(encode(counted, ['a\nb', 'c'], undefined, 2 ** 52)).toString(),
    `${2 ** 52}\t0\ta\n${2 ** 52}\t1\tb\n${2 ** 52 + 1}\t2\tc\n`,
  )
  const keyed = formatOf({ prefix: [{ field: 'key', column: 'k' }] })
  assert.equal(keyed.needsRecords, true)
  assert.throws(() => encode(keyed, ['a']), TypeError)
})

test('columns: the message fills these, in this order', async (t) => {
  const table = await Table.create(t, 'id int GENERATED ALWAYS AS IDENTITY, a text, b text, k text')
  const text = { columns: ['b', 'a'] }
  for (const [options, value] of [
    [{ format: 'text', ...text }, '1\t2'],
    [{ format: 'csv', ...text }, '1,2'],
    [{ format: 'json', ...text }, '{"id":9,"a":2,"b":1,"k":3}'],
  ] as const) {
    const prefix: PrefixField[] = [{ field: 'key', column: 'k' }]
    const plain = table.format({ ...options, columns: ['b', 'a'] })
    const [row] = await table.within(plain, encode(plain, [value]), 'SELECT a, b, k FROM t')
    assert.deepEqual(row, { a: '2', b: '1', k: null })
    const keyed = table.format({ ...options, columns: ['b', 'a'], prefix })
    const [withKey] = await table.within(
      keyed,
      encodeRecords(keyed, [{ key: 'x', value }]),
      'SELECT a, b, k FROM t',
    )
    assert.deepEqual(withKey, { a: '2', b: '1', k: 'x' })
  }
})

suite('F12 a tombstone', () => {
  const messages: Given[] = [
    { key: 'a', value: null },
    { key: 'b', value: '' },
  ]
  for (const format of ['text', 'csv', 'json'] as const) {
    const value = { text: '1\t2', csv: '1,2', json: '{"a":1,"d":2}' }[format]
    const definition = 'k text, a int, d int DEFAULT 7'
    test(`${format}: is passed over and counted`, async (t) => {
      const table = await Table.create(t, definition)
      const into = table.format({ format, prefix: [{ field: 'key', column: 'k' }] })
      const encoded = encodeRecords(into, [...messages, { key: 'c', value }])
      assert.deepEqual([encoded.messages, encoded.skipped], [1, 2])
      assert.deepEqual(await table.within(into, encoded), [{ k: 'c', a: 1, d: 2 }])
    })
    test(`${format}: is a row of NULLs`, async (t) => {
      const table = await Table.create(t, definition)
      const nulls = { a: null, d: null }
      for (const prefix of [[{ field: 'key', column: 'k' }] as PrefixField[], []]) {
        const into = table.format({ format, prefix, columns: ['a', 'd'], tombstone: 'row' })
        assert.equal(into.needsRecords, true)
        const encoded = encodeRecords(into, [...messages, { key: 'c', value }])
        assert.deepEqual([encoded.messages, encoded.skipped], [3, 0])
        const key = (k: string) => ({ k: prefix.length > 0 ? k : null })
        assert.deepEqual(await table.within(into, encoded), [
          { ...key('a'), ...nulls },
          { ...key('b'), ...nulls },
          { ...key('c'), a: 1, d: 2 },
        ])
      }
    })
    test(`${format}: says which row to delete`, async (t) => {
      const table = await Table.create(t, `op "char", ${definition}`)
      const prefix: PrefixField[] = [{ field: 'op', column: 'op' }]
      const into = table.format({
        format,
        prefix,
        columns: ['a', 'd'],
        tombstone: 'delete',
        keyColumns: ['a'],
      })
      const encoded = encodeRecords(into, [
        { key: '5', value: null },
        { key: '6', value: '' },
        { key: '1', value },
      ])
      assert.deepEqual([encoded.messages, encoded.skipped], [2, 1])
      assert.deepEqual(await table.within(into, encoded, 'SELECT op, a, d FROM t'), [
        { op: 'd', a: 5, d: null },
        { op: 'u', a: 1, d: 2 },
      ])
      const keyless = encodeRecords(into, [{ key: '1', value }, { value: null }])
      assert.deepEqual([keyless.bad?.tag, keyless.bad?.code], [1, 'tombstone-no-key'])
      const two = table.format({
        format,
        prefix,
        columns: ['a', 'd'],
        tombstone: 'delete',
        keyColumns: ['a', 'd'],
      })
      assert.equal(encodeRecords(two, [{ key: '1', value: null }]).bad?.code, 'tombstone-no-key')
    })
  }
  test('json: the key is an object, with or without its schema, or a scalar', () => {
    const into = (keyColumns: string[]) =>
      formatOf({
        format: 'json',
        prefix: [{ field: 'op', column: 'op' }],
        tombstone: 'delete',
        keyColumns,
        missingKeys: 'error',
        unknownKeys: 'error',
      })
    const sent = (keyColumns: string[], key: string) => {
      const encoded = encodeRecords(into(keyColumns), [{ key, value: null }])
      return encoded.bad?.code ?? bytesOf(encoded).toString()
    }
    assert.equal(sent(['b'], '{"b":"x\\ty","c":1}'), 'd\t\\N\tx\\ty\n')
    assert.equal(
      sent(['b'], '{"schema":{"type":"struct"},"payload":{"b":12345678901234567890}}'),
      'd\t\\N\t12345678901234567890\n',
    )
    assert.equal(sent(['b'], '{"payload":"x","schema":null}'), 'd\t\\N\tx\n')
    assert.equal(sent(['b'], ' "x" '), 'd\t\\N\tx\n')
    assert.equal(sent(['b'], 'order\t7\\'), 'd\t\\N\torder\\t7\\\\\n')
    assert.equal(sent(['a', 'b'], '{"a":1,"b":2}'), 'd\t1\t2\n')
    assert.equal(sent(['a'], '{"a":1,"b":2}'), 'd\t1\t\\N\n')
    for (const key of ['{"a":1}', '{"b":null}', 'null', '{"schema":{},"payload":null}']) {
      assert.equal(sent(['b'], key), 'tombstone-no-key', key)
    }
    assert.equal(sent(['a', 'b'], '1'), 'tombstone-no-key')
    assert.equal(sent([], '1'), 'tombstone-no-key')
  })
})

suite('the whole message as a value', () => {
  for (const format of ['text', 'csv', 'json'] as const) {
    test(format, async (t) => {
      const table = await Table.create(t, 'k text, value text, raw bytea')
      const prefix: PrefixField[] = [{ field: 'key', column: 'k' }]
      const values = fc.oneof(texts, fc.json()).filter((text) => text !== '')
      const property = fc.asyncProperty(fc.array(values, { maxLength: 5 }), async (values) => {
        const records = values.map((value) => ({ key: 'x', value }))
        const raw = table.format({ format, prefix, value: column('raw', 'bytea') })
        const bytes = await table.within(
          raw,
          encodeRecords(raw, records),
          "SELECT encode(raw, 'hex') AS raw FROM t",
        )
        assert.deepEqual(
          bytes.map(({ raw }) => raw),
          values.map((value) => Buffer.from(value).toString('hex')),
        )
        if (format === 'json') return
        const text = table.format({ format, prefix, value: column('value', 'text') })
        const found = await table.within(text, encodeRecords(text, records), 'SELECT value FROM t')
        assert.deepEqual(
          found.map(({ value }) => value),
          values,
        )
      })
      await holds(property, 60)
    })
  }
  test('of json is one value, or those that the path finds', () => {
    const into = formatOf({
      format: 'json',
      value: column('value', 'jsonb'),
      prefix: [{ field: 'row', column: 'row' }],
    })
    assert.equal(bytesOf(encode(into, ['{"a":"\\n"}\n', '[1]'])).toString(), '0\t{"a":"\\\\n"}\n1\t[1]\n')
    const found = formatOf({ format: 'json', value: column('value', 'jsonb'), jsonPath: '$.a' })
    assert.equal(
      bytesOf(encode(found, ['{"a":[1, {"b":"\\n"}]}', '{"a":null}'])).toString(),
      '1\n{"b":"\\\\n"}\nnull\n',
    )
  })
})

test('a time is the one that Date says, to the millisecond (property)', () => {
  const times = fc.oneof(fc.integer({ min: 0, max: 4e12 }), fc.integer({ min: 0, max: 8.64e15 }))
  fc.assert(
    fc.property(times, (time) => {
      const [date, clock] = new Date(time).toISOString().replace(/^\+0*/, '').slice(0, -1).split('T')
      assert.equal(timestampText(time), `${date} ${clock}+00`)
    }),
    { numRuns: 2000 },
  )
})

suite('headers', () => {
  const json = (name: string | Uint8Array, value: Uint8Array | null, ascii = false) =>
    headersJson([[Buffer.from(name), value && Buffer.from(value)]], ascii).toString()
  test('text, null and nothing', () => {
    assert.equal(json('a"', Buffer.from('é\n')), '[{"name":"a\\"","value":"é\\n"}]')
    assert.equal(json('', null), '[{"name":"","value":null}]')
    assert.equal(headersJson([], false).toString(), '[]')
  })
  test('bytes that are no text, or that jsonb cannot hold', () => {
    assert.equal(json('a', Buffer.from([0xff, 0])), '[{"name":"a","hex":"ff00"}]')
    assert.equal(json('a', Buffer.from([0x61, 0])), '[{"name":"a","hex":"6100"}]')
    assert.equal(json(Buffer.from([0xff]), Buffer.from('b')), '[{"name_hex":"ff","value":"b"}]')
  })
  test('in another encoding than UTF-8', () => {
    assert.equal(json('a', Buffer.from('é😀'), true), '[{"name":"a","value":"\\u00e9\\ud83d\\ude00"}]')
  })
})
