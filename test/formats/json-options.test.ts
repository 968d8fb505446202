// Where a message's rows are, and what is asked of their keys.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { parseJsonPath } from '../../src/formats/json-path.ts'
import { Table } from './copy.ts'
import { bytesOf, column, encode, formatOf, outcome } from './encode.ts'
import { anything, choices, type Json, strings, textOf } from './json-text.ts'
import { holds } from './property.ts'

const json = (more: Parameters<typeof formatOf>[0]) =>
  formatOf({ format: 'json', relation: [column('a'), column('b')], ...more })

suite('json_path: what it may say', () => {
  const valid: [text: string, names: string[], array: boolean][] = [
    ['$', [], false],
    ['$[*]', [], true],
    ['a', ['a'], false],
    ['a.b', ['a', 'b'], false],
    ['$.a.b', ['a', 'b'], false],
    ['$.rows[*]', ['rows'], true],
    ["$['a b'].c", ['a b', 'c'], false],
    ["$[\"it's\"][ '\\'\"' ]", ["it's", `'"`], false],
    [' $.é_1-x ', ['é_1-x'], false],
  ]
  for (const [text, names, array] of valid) {
    test(text, () => assert.deepEqual(parseJsonPath(text), { names, array }))
  }
  for (const text of [
    '',
    '.a',
    '$a',
    '$.',
    '$..a',
    'a b',
    '$[0]',
    '$[*].a',
    '$.a[',
    "$['a",
    '$.a[*][*]',
    '$.a.*',
  ]) {
    test(`not: ${text}`, () =>
      assert.throws(
        () => parseJsonPath(text),
        (error: Error & { code: string }) => error.code === 'json-path-invalid',
      ))
  }
})

suite('json_path: what it finds', () => {
  const cases: [path: string, message: string, sent: string][] = [
    ['$.x', '{"x":{"a":1}}', '1\t\\N\n'],
    ['x.y', '{"x":{"a":9,"y":[{"a":1},{"b":2}]}}', '1\t\\N\n\\N\t2\n'],
    ['$.x[*]', '{"x":[{"a":1}]}', '1\t\\N\n'],
    ['$.x', '{"x":{"a":1},"x":{"a":2}}', '2\t\\N\n'],
    ['$.x', '{"\\u0078" : {"a":1}}\n{"x":[]}\n{"x":{"a":3}}', '1\t\\N\n3\t\\N\n'],
    ['$.x', '{"x":[]}', ''],
    ['$', '[{"a":1}]', '1\t\\N\n'],
    ['$.x', '{"y":1}', 'json-no-match in 0'],
    ['$.x', '{}', 'json-no-match in 0'],
    ['$.x', '[{"x":{}}]', 'json-no-match in 0'],
    ['$.x.y', '{"x":1}', 'json-no-match in 0'],
    ['$.x[*]', '{"x":{"a":1}}', 'json-no-match in 0'],
    ['$.x', '{"x":null}', 'json-not-object in 0'],
    ['$.x', '{"x":{"a":1}', 'json-invalid in 0'],
    ['$.x', '{"x":{"a":1}}\n{"y":1}', 'json-no-match in 0'],
  ]
  for (const [jsonPath, message, sent] of cases) {
    test(`${jsonPath} in ${message}`, () => assert.equal(outcome(json({ jsonPath }), message), sent))
  }
  test('at any depth, beside anything (property)', () => {
    const names = fc.array(strings, { maxLength: 4 })
    const strangers = fc.array(fc.tuple(strings, anything), { maxLength: 2 })
    fc.assert(
      fc.property(names, strangers, fc.integer(), choices, (names, strangers, n, choose) => {
        const wrap = (value: Json, name: string): Json => ({
          object: [...strangers.filter(([other]) => other !== name), [name, value]],
        })
        const message = textOf(names.reduceRight(wrap, { object: [['a', { number: `${n}` }]] }), choose)
        const jsonPath = `$${names.map((name) => `["${name.replace(/[\\"]/g, '\\$&')}"]`).join('')}`
        assert.equal(outcome(json({ jsonPath }), message), `${n}\t\\N\n`)
      }),
      { numRuns: 300 },
    )
  })
})

suite('a column for what matches no column', () => {
  const rest = (more = {}) =>
    json({ relation: [column('a'), column('rest', 'jsonb'), column('b')], restColumn: 'rest', ...more })
  const cases: [message: string, sent: string][] = [
    ['{"a":1,"b":2}', '1\t{}\t2\n'],
    ['{"x":1.50,"a":1,"y" : ["\\n"],"b":2}', '1\t{"x":1.50,"y" : ["\\\\n"]}\t2\n'],
    ['{"rest":{"z":1},"x":\t1}', '\\N\t{"rest":{"z":1},"x":\\t1}\t\\N\n'],
    ['{}', '\\N\t{}\t\\N\n'],
  ]
  for (const [message, sent] of cases) test(message, () => assert.equal(outcome(rest(), message), sent))
  test('it takes what would be an error', () => {
    assert.equal(
      outcome(rest({ unknownKeys: 'error', missingKeys: 'error' }), '{"a":1,"b":2,"c":3}'),
      '1\t{"c":3}\t2\n',
    )
  })
  test('rows of one message keep theirs apart', () => {
    assert.equal(outcome(rest(), '[{"x":1,"y":2},{"z":3}]'), '\\N\t{"x":1,"y":2}\t\\N\n\\N\t{"z":3}\t\\N\n')
  })
  test('not a byte of a value changes (property)', async (t) => {
    const table = await Table.create(t, 'a int, rest json')
    const format = table.format({ format: 'json', restColumn: 'rest' })
    const property = fc.asyncProperty(anything, strings, choices, async (value, key, choose) => {
      fc.pre(key !== 'a')
      const member = `${JSON.stringify(key)}:${textOf(value, choose)}`
      const encoded = encode(format, [`{"a":1,${member}}`])
      assert.deepEqual(await table.within(format, encoded, 'SELECT a, rest::text FROM t'), [
        { a: 1, rest: `{${member}}` },
      ])
    })
    await holds(property, 100)
  })
})

suite('strictness', () => {
  test('unknown keys', () => {
    const strict = json({ unknownKeys: 'error' })
    assert.equal(outcome(strict, '{"a":1}', '[{"b":2},{"c":3}]'), 'json-unknown-key in 1')
    const { bad } = encode(strict, ['{"a":1,"secret":2}'])
    assert.equal(bad?.reason, 'a key that is no column (byte 7)')
    assert.equal(outcome(strict, '{"a":{"x":1},"b":2}'), '{"x":1}\t2\n')
  })
  test('missing keys, of which null is none', () => {
    const strict = json({ missingKeys: 'error', relation: [column('a'), column('b', 'other', true)] })
    assert.equal(outcome(strict, '{"a":null,"b":1}'), '\\N\t1\n')
    assert.equal(outcome(strict, '{"a":1}'), 'json-missing-key in 0')
    assert.equal(encode(strict, ['{"a":1}']).bad?.reason, 'no key for column "b" (byte 0)')
    assert.equal(outcome(json({ missingKeys: 'error', columns: ['a'] }), '{"a":1}'), '1\n')
  })
})

test('json[] keeps the quotes of strings, box[] its semicolons', async (t) => {
  const table = await Table.create(t, 'id int, j json[], b box[], s text[]')
  const format = table.format({ format: 'json' })
  const message =
    '{"j":["a",1,{"x":"\\"é"},null,"\\n\\\\"],"b":["(2,2),(1,1)","(4,4),(3,3)"],"s":["a;b",null]}'
  const query = 'SELECT json_populate_record(NULL::t, $1)::text AS row'
  const { rows } = await table.client.query(query, [message])
  const [found] = await table.within(format, encode(format, [message]), 'SELECT t::text AS row FROM t')
  assert.deepEqual(found, rows[0])
})

test('F14 json[] and jsonb[]: what json_populate_record makes of them (property)', async (t) => {
  const table = await Table.create(t, 'id int, a json[], b jsonb[]')
  const format = table.format({ format: 'json' })
  const scalars = fc.array(
    fc.oneof(strings, fc.constantFrom<Json>(null, true, { number: '1.50' }, { object: [['x', 'y']] })),
  )
  const property = fc.asyncProperty(scalars, choices, async (items, choose) => {
    const message = `{"a":${textOf(items, choose)},"b":${textOf(items, choose)}}`
    // PostgreSQL writes the items of a json[] anew; here they stay as they are
    const query = 'SELECT a::jsonb[]::text AS a, b::text AS b FROM json_populate_record(NULL::t, $1)'
    const { rows } = await table.client.query(query, [message])
    const written = 'SELECT a::jsonb[]::text AS a, b::text AS b FROM t'
    const found = await table.within(format, encode(format, [message]), written)
    assert.deepEqual(found, rows)
  })
  await holds(property, 150)
})

test('whole messages: what the path finds, as it stands', () => {
  const whole = formatOf({ format: 'json', relation: [column('document', 'json')], jsonPath: '$.x' })
  assert.equal(
    bytesOf(encode(whole, ['{"x":[1, {"y":\t2}, [3]]}', '{"x":"é"}'])).toString(),
    '1\n{"y":\\t2}\n[3]\n"é"\n',
  )
  assert.equal(outcome(whole, '{"y":1}'), 'json-no-match in 0')
  assert.equal(outcome(whole, '{"x":1'), 'json-invalid in 0')
})
