// F14, exploding: each message by itself is the rows that COPY makes of it, in text columns, or is refused with COPY's
// own words. COPY itself, of this server, is asked.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { ChunkPool } from '../../src/formats/chunk-pool.ts'
import { createExploder, type ExplodedFormat, type Refusal } from '../../src/formats/explode.ts'
import type { Encoded, Format, FormatOptions, PrefixField } from '../../src/formats/format.ts'
import { CopyIn } from '../../src/postgres/copy.ts'
import { Table } from './copy.ts'
import { column, encode } from './encode.ts'
import { appendRecords, type Given } from './message.ts'
import { holds } from './property.ts'
import {
  charactersOf,
  type Dialect,
  dialects,
  endings,
  latin1,
  messagesOf,
  nameOf,
  recordsOf,
} from './records.ts'

type Outcome = { rows: unknown[] } | { sqlstate: string | null; reason: string }

function explode(
  format: ExplodedFormat,
  records: Given[],
): { refusals: (Refusal | null)[]; encoded: Encoded } {
  const exploder = format.exploder(new ChunkPool())
  const refusals = appendRecords(exploder, records)
  return { refusals, encoded: exploder.finish() }
}

/** What COPY makes of it, the rows sorted: space that was rolled back is used again in any order. */
async function copied(
  table: Table,
  format: Pick<Format, 'copyStatement'>,
  { segments }: Encoded,
  query = 'SELECT * FROM t',
): Promise<Outcome> {
  const { client } = table
  await client.query('BEGIN')
  try {
    for (const segment of segments) {
      await client.query(new CopyIn(format.copyStatement(segment), segment.chunks)).done
    }
    const { rows } = await client.query(query)
    return { rows: rows.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)) }
  } catch (error) {
    const { code, message } = error as Error & { code: string }
    return { sqlstate: code, reason: message }
  } finally {
    await client.query('ROLLBACK')
  }
}

function optionsOf(table: Table, columns: string[], more: Partial<FormatOptions>): FormatOptions {
  return {
    format: 'text',
    delimiter: null,
    quote: null,
    escape: null,
    encoding: null,
    serverVersion: table.serverVersion,
    target: { schema: 'pg_temp', name: 't', columns: columns.map((name) => column(name, 'text')) },
    ...more,
  }
}

async function compare(table: Table, dialect: Dialect, columns: string[], message: Buffer): Promise<Outcome> {
  const plain = table.format(dialect)
  const exploded = createExploder(optionsOf(table, columns, dialect))
  const encoded = encode(plain, [message])
  const { refusals, encoded: rows } = explode(exploded, [{ value: message }])
  if (encoded.bad) {
    const { code, reason } = encoded.bad
    assert.deepEqual(refusals, [{ code, sqlstate: '22P04', reason }])
    assert.deepEqual(rows.segments, [])
    return { sqlstate: '22P04', reason }
  }
  const expected = await copied(table, plain, encoded)
  const [refusal] = refusals
  if (refusal) {
    const { code, sqlstate, reason } = refusal
    assert.deepEqual({ code, sqlstate, reason }, { code: 'message-rejected', ...expected })
    assert.deepEqual(rows.segments, [])
  } else {
    assert.deepEqual(await copied(table, exploded, rows), expected)
  }
  return expected
}

suite('F14 an exploded message is what COPY reads in it', () => {
  for (const dialect of dialects) {
    test(`records: ${nameOf(dialect)}`, async (t) => {
      const table = await Table.create(t, 'a text, b text')
      let loaded = 0
      let runs = 0
      const property = fc.asyncProperty(recordsOf(dialect), endings, async (records, ends) => {
        for (const message of messagesOf(records, ends)) {
          runs++
          if ('rows' in (await compare(table, dialect, ['a', 'b'], message))) loaded++
        }
      })
      await holds(property, 25)
      assert.ok(loaded > runs / 2, `only ${loaded} of ${runs} times there were rows`)
    })
    test(`the worst bytes: ${nameOf(dialect)}`, async (t) => {
      const one = await Table.create(t, 'a text')
      const two = await Table.create(t, 'a text, b text')
      const part = fc.constantFrom(
        ...[
          'a',
          '\\',
          '.',
          '\\.',
          '\n',
          '\r\n',
          '\t',
          '\0',
          '\xff',
          '\xe2\x82',
          '\xc3\xa9',
          '\xed\xa0\x80',
          '\\N',
        ],
        ...[
          '\\xc3',
          '\\xa9',
          '\\303',
          '\\251',
          '\\0',
          '\\x0',
          '\\xg',
          '\\x',
          '\\8',
          '\\1777',
          '\\b\\v',
          ',,',
          '\t\t',
        ],
        ...charactersOf(dialect),
      )
      const message = fc.array(part, { minLength: 1, maxLength: 6 }).map((parts) => parts.join(''))
      const property = fc.asyncProperty(message, async (text) => {
        await compare(one, dialect, ['a'], latin1(text))
        await compare(two, dialect, ['a', 'b'], latin1(text))
      })
      await holds(property, 150)
    })
  }
})

test('a refused message changes nothing about its neighbours', async (t) => {
  const table = await Table.create(t, 'k text, a text, b text')
  const prefix: PrefixField[] = [{ field: 'key', column: 'k', type: 'text' }]
  const exploded = createExploder(optionsOf(table, ['k', 'a', 'b'], { format: 'csv', prefix }))
  assert.deepEqual([exploded.columns, exploded.needsRecords], [['a', 'b'], true])
  const { refusals, encoded } = explode(exploded, [
    { key: 'k\t1', value: 'a,"b\t\\N"\r\n,""' },
    { key: 'x', value: 'a,b\nc' },
    { key: 'x', value: 'a,b,c' },
    { key: 'x', value: 'a,"b' },
    { key: Buffer.from([0x61, 0xe2, 0x28]), value: 'a,b' },
    { key: null, value: null },
    { key: null, value: 'c,d' },
  ])
  assert.deepEqual(
    refusals.map((refusal) => refusal && [refusal.code, refusal.sqlstate, refusal.reason]),
    [
      null,
      ['message-rejected', '22P04', 'missing data for column "b"'],
      ['message-rejected', '22P04', 'extra data after last expected column'],
      ['unbalanced-quote', '22P04', 'it opens a quote that it does not close'],
      ['message-rejected', '22021', 'invalid byte sequence for encoding "UTF8": 0xe2 0x28'],
      null,
      null,
    ],
  )
  assert.deepEqual([encoded.messages, encoded.skipped, encoded.bad], [2, 1, null])
  assert.deepEqual(await copied(table, exploded, encoded), {
    rows: [
      { k: 'k\t1', a: 'a', b: 'b\t\\N' },
      { k: 'k\t1', a: null, b: '' },
      { k: null, a: 'c', b: 'd' },
    ],
  })
})

suite('json', () => {
  const columns = [column('a', 'text'), column('j', 'jsonb', true), column('n', 'array')]
  const prefix: PrefixField[] = [
    { field: 'tag', column: 'tag' },
    { field: 'absent', column: 'absent' },
  ]
  test('values are as their types read them, and what is missing is numbered', async (t) => {
    const table = await Table.create(t, 'tag bigint, absent int[], a text, j text, n text')
    const target = { schema: 'pg_temp', name: 't', columns }
    const exploded = createExploder(optionsOf(table, [], { format: 'json', target, prefix }))
    assert.equal(exploded.needsRecords, false)
    const { refusals, encoded } = explode(exploded, [
      { value: '{"a":"\\u00e9\\n","j":"x","n":[1,null]}' },
      { value: '[{"a":null}, {"j":null}]' },
      { value: '{"a":1' },
      { value: '[1]' },
      { value: '{"a":"\\u0000"}' },
      { value: latin1('{"a":"\xff"}') },
      { value: '{"x":"\\u0000","j":"\\u0000"}' },
      { value: latin1('{"x":"\xff","a":"last"}') },
    ])
    assert.deepEqual(
      refusals.map((refusal) => refusal && [refusal.code, refusal.sqlstate]),
      [
        null,
        null,
        ['json-invalid', null],
        ['json-not-object', null],
        ['message-rejected', '22021'],
        ['message-rejected', '22021'],
        null,
        null,
      ],
    )
    assert.deepEqual(await copied(table, exploded, encoded), {
      rows: [
        { tag: '0', absent: null, a: 'é\n', j: '"x"', n: '{1,NULL}' },
        { tag: '1', absent: [2], a: null, j: null, n: null },
        { tag: '1', absent: null, a: null, j: null, n: null },
        { tag: '6', absent: null, a: null, j: '"\\u0000"', n: null },
        { tag: '7', absent: [2], a: 'last', j: null, n: null },
      ],
    })
  })
})

test('a value is judged too', async (t) => {
  const table = await Table.create(t, 'value text, raw bytea')
  const text = createExploder(optionsOf(table, [], { value: column('value', 'text') }))
  const { refusals } = explode(text, [{ value: 'a\tb\n' }, { value: 'a\0' }])
  assert.deepEqual(
    refusals.map((refusal) => refusal?.reason),
    [undefined, 'invalid byte sequence for encoding "UTF8": 0x00'],
  )
  const raw = createExploder(optionsOf(table, [], { value: column('raw', 'bytea') }))
  const bytes = explode(raw, [{ value: Buffer.from([0, 255]) }])
  assert.deepEqual(bytes.refusals, [null])
  assert.deepEqual(await copied(table, raw, bytes.encoded, "SELECT encode(raw, 'hex') AS raw FROM t"), {
    rows: [{ raw: '00ff' }],
  })
})

suite('in other encodings', () => {
  for (const [encoding, value, rows] of [
    ['LATIN1', Buffer.from('\xe9\t\\351', 'latin1'), null],
    ['LATIN1', Buffer.from('\xe9\tb', 'latin1'), [{ a: 'é', b: 'b' }]],
    ['SJIS', Buffer.from([0x83, 0x5c, 9, 0x62]), [{ a: 'ソ', b: 'b' }]],
  ] as const) {
    test(`${encoding} ${value.toString('hex')}`, async (t) => {
      const table = await Table.create(t, 'a text, b text')
      const plain = table.format({ encoding })
      const expected = await copied(table, plain, encode(plain, [value]))
      if (rows) assert.deepEqual(expected, { rows })
      const exploded = createExploder(optionsOf(table, ['a', 'b'], { encoding, databaseEncoding: 'UTF8' }))
      const { encoded } = explode(exploded, [{ value }])
      assert.deepEqual(await copied(table, exploded, encoded), expected)
    })
  }
})
