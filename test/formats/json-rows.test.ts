// F14, json: the row that an object becomes is the one that PostgreSQL itself makes of it.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { type Loaded, sorted, Table } from './copy.ts'
import { encode } from './encode.ts'
import { anything, choices, type Json, numbers, strings, textOf } from './json-text.ts'
import { holds } from './property.ts'

const columns: Record<string, { type: string; value: fc.Arbitrary<Json> }> = {
  i: { type: 'bigint', value: fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n).map((n) => ({ number: `${n}` })) },
  'the n': {
    type: 'numeric',
    value: fc.oneof(
      numbers.map((number) => ({ number })),
      fc.constant('NaN'),
    ),
  },
  f: {
    type: 'double precision',
    value: fc.oneof(
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => ({ number: JSON.stringify(n) })),
      fc.constantFrom('NaN', '-Infinity', '1e5'),
    ),
  },
  b: { type: 'boolean', value: fc.constantFrom(true, false, 't', 'off') },
  é: { type: 'text', value: anything },
  d: {
    type: 'timestamptz',
    value: fc.constantFrom('2024-05-06T07:08:09.123456Z', '1999-12-31 BC', 'infinity'),
  },
  jb: { type: 'jsonb', value: anything },
  numbers: {
    type: 'numeric[]',
    value: fc.oneof(
      fc.array(fc.option(numbers.map((number) => ({ number })))),
      fc.array(fc.tuple(fc.constant({ number: '1' }), fc.constantFrom(null, 'NaN')), { minLength: 1 }),
      fc.constant('{1,NULL}'),
    ),
  },
  strings: {
    type: 'text[]',
    value: fc.array(
      fc.oneof(
        strings,
        fc.constantFrom(null, true, 'null', '', { number: '1.0' }),
        fc.array(fc.tuple(strings, anything), { maxLength: 3 }).map((object) => ({ object })),
      ),
    ),
  },
}

const definition = Object.entries(columns)
  .map(([name, { type }]) => `"${name}" ${type}`)
  .join(', ')

const unfit: fc.Arbitrary<Json> = fc.constantFrom<Json>('x', { number: '1e500' }, [{ number: '1' }], {
  object: [['x', null]],
})

/** Any of the columns, in any order, now and then twice, and keys that are no columns. */
const object: fc.Arbitrary<Json> = fc
  .tuple(
    fc.record(
      Object.fromEntries(
        Object.entries(columns).map(([name, { value }]) => [
          name,
          fc.oneof(
            { weight: 300, arbitrary: fc.option(value, { freq: 9 }) },
            { weight: 1, arbitrary: unfit },
          ),
        ]),
      ),
      { requiredKeys: [] },
    ),
    fc.array(fc.tuple(fc.constantFrom('I', 'the', '', 'x'.repeat(70)), anything), { maxLength: 2 }),
    fc.array(fc.tuple(fc.constantFrom('é', 'jb'), anything), { maxLength: 1 }),
  )
  .chain(([row, strangers, again]) =>
    fc
      .shuffledSubarray([...Object.entries(row), ...strangers], {
        minLength: Object.keys(row).length + strangers.length,
      })
      .map((members) => ({ object: [...members, ...again] as [string, Json][] })),
  )

const ends = [
  { text: '', more: false },
  { text: '\n', more: false },
  { text: '\r\n', more: false },
  { text: '\n', more: true },
  { text: ' ', more: true },
]

function messagesOf(texts: string[], chosen: typeof ends): string[] {
  const messages: string[] = []
  let more = false
  for (const [i, text] of texts.entries()) {
    const end = chosen[i]!
    if (more) messages[messages.length - 1] += text + end.text
    else messages.push(text + end.text)
    more = end.more
  }
  return messages
}

async function populate(table: Table, texts: string[]): Promise<Loaded> {
  try {
    const query =
      'SELECT json_populate_record(NULL::t, text::json)::text AS row FROM unnest($1::text[]) AS text'
    const { rows } = await table.client.query<{ row: string }>(query, [texts])
    return { rows: sorted(rows.map(({ row }) => row)) }
  } catch (error) {
    return { error: (error as Error).message }
  }
}

suite('F14 json into columns', () => {
  test('each object is the row that json_populate_record makes of it', async (t) => {
    const table = await Table.create(t, definition)
    const format = table.format({ format: 'json' })
    let loaded = 0
    const property = fc.asyncProperty(
      fc.array(fc.tuple(object, fc.constantFrom(...ends)), { minLength: 1, maxLength: 5 }),
      choices,
      async (objects, choose) => {
        const texts = objects.map(([value]) => textOf(value, choose))
        const expected = await populate(table, texts)
        const got = await table.load(
          format,
          messagesOf(
            texts,
            objects.map(([, end]) => end),
          ),
        )
        if ('error' in expected) assert.ok('error' in got, JSON.stringify({ got, expected }))
        else assert.deepEqual(got, expected)
        if ('rows' in expected) loaded++
      },
    )
    const runs = 300
    await holds(property, runs)
    assert.ok(loaded > runs / 2, `only ${loaded} times there were rows`)
  })
})

test('F14 json into a json column: not a byte changes', async (t) => {
  const table = await Table.create(t, 'j json, k int')
  const format = table.format({ format: 'json' })
  const property = fc.asyncProperty(anything, choices, async (value, choose) => {
    const text = textOf(value, choose)
    const encoded = encode(format, [`{"j":${text}}`])
    const [found] = await table.within(format, encoded, 'SELECT j::text FROM t')
    assert.equal(found!.j, value === null ? null : text)
  })
  await holds(property, 200)
})

test('F14 json into jsonb[]: an array of objects', async (t) => {
  const table = await Table.create(t, 'a jsonb[], k int')
  const format = table.format({ format: 'json' })
  const items = fc.array(
    fc.array(fc.tuple(strings, anything), { maxLength: 3 }).map((members) => ({ object: members })),
  )
  const property = fc.asyncProperty(items, choices, async (value, choose) => {
    const text = textOf(value, choose)
    const [found] = await table.within(
      format,
      encode(format, [`{"a":${text}}`]),
      'SELECT to_jsonb(a)::text AS a FROM t',
    )
    const { rows } = await table.client.query('SELECT $1::jsonb::text AS a', [text])
    assert.equal(found!.a, rows[0].a)
  })
  await holds(property, 100)
})

suite('F14 json, whole messages', () => {
  for (const type of ['jsonb', 'json', 'text']) {
    test(`into ${type}: a row for each value on lines of its own`, async (t) => {
      const table = await Table.create(t, `document ${type}`)
      const format = table.format({ format: 'json' })
      const documents = fc.array(fc.tuple(anything, fc.constantFrom('\n', '\r\n')), {
        minLength: 1,
        maxLength: 4,
      })
      const property = fc.asyncProperty(
        fc.array(documents, { maxLength: 3 }),
        choices,
        async (groups, choose) => {
          const texts = groups.map((group) =>
            group.map(([value, end]) => [textOf(value, choose), end] as const),
          )
          const messages = texts.map((group) => group.map(([text, end]) => text + end).join(''))
          const found = await table.within(format, encode(format, messages), 'SELECT document::text FROM t')
          const query = `SELECT text::${type}::text AS document FROM unnest($1::text[]) AS text`
          const expected = await table.client.query(query, [texts.flat().map(([text]) => text)])
          assert.deepEqual(found, expected.rows)
        },
      )
      await holds(property, 100)
    })
  }

  test("what is no JSON: PostgreSQL's own message, or a text", async (t) => {
    const jsonb = await Table.create(t, 'document jsonb')
    const loaded = await jsonb.load(jsonb.format({ format: 'json' }), ['{}', '{"a":1\n{"b":2}'])
    assert.deepEqual(loaded, { error: 'invalid input syntax for type json' })
    const text = await Table.create(t, 'document text')
    const lines = ['no\tjson\r\n\\.\nat all\n', '\\N']
    const found = await text.within(
      text.format({ format: 'json' }),
      encode(text.format({ format: 'json' }), lines),
    )
    assert.deepEqual(found, [{ document: 'no\tjson\r\n\\.\nat all' }, { document: '\\N' }])
  })
})

test('a key that is missing gives the default, null gives NULL', async (t) => {
  const table = await Table.create(
    t,
    "a int DEFAULT 7, b text, c text DEFAULT E'\\\\D', id int GENERATED ALWAYS AS IDENTITY, d int GENERATED ALWAYS AS (a * 2) STORED",
  )
  const format = table.format({ format: 'json' })
  const messages = [
    '{}',
    '{"b":"x"}',
    '{"a":null,"c":"\\\\D"}',
    '{"id":9,"a":1}',
    '{"d":5,"c":null}\n{"a":2}',
  ]
  const found = await table.within(format, encode(format, messages), 'SELECT a, b, c, id, d FROM t')
  assert.deepEqual(found.map(Object.values), [
    [7, null, '\\D', 1, 14],
    [7, 'x', '\\D', 2, 14],
    [null, null, '\\D', 3, null],
    [1, null, '\\D', 9, 2],
    [7, null, null, 4, 14],
    [2, null, '\\D', 5, 4],
  ])
})

test('a NUL is refused by PostgreSQL', async (t) => {
  const table = await Table.create(t, 'a text, b text')
  const loaded = await table.load(table.format({ format: 'json' }), ['{"a":"\\u0000"}'])
  assert.deepEqual(loaded, { error: 'invalid byte sequence for encoding "UTF8": 0x00' })
})
