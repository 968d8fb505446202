import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { chunkBytes } from '../../src/formats/chunk-pool.ts'
import type { Column } from '../../src/formats/format.ts'
import { JsonScanner } from '../../src/formats/json-scanner.ts'
import { bytesOf, column, encode, formatOf, outcome } from './encode.ts'
import { holds } from './property.ts'

const into = (...columns: Column[]) => formatOf({ format: 'json', relation: columns })
const ab = into(column('a'), column('b'))

/** What the one column of a row becomes of this value. */
function field(json: string, type: Column['type'] = 'other'): string {
  const sent = outcome(into(column('a', type), column('b')), `{"a":${json}}`)
  assert.match(sent, /\t\\N\n$/, sent)
  return sent.slice(0, -4)
}

suite('json: values into columns', () => {
  const cases: [json: string, sent: string][] = [
    ['1', '1'],
    ['-0', '-0'],
    [
      '12345678901234567890123456789012345678.90123456789',
      '12345678901234567890123456789012345678.90123456789',
    ],
    ['1.50E+400', '1.50E+400'],
    ['true', 'true'],
    ['false', 'false'],
    ['null', '\\N'],
    ['""', ''],
    ['"a b"', 'a b'],
    ['"\\\\N"', '\\\\N'],
    ['"\\\\D"', '\\\\D'],
    ['"\\\\."', '\\\\.'],
    ['"NaN"', 'NaN'],
    ['"\\"\\/\\b\\f\\n\\r\\t\\\\"', '"/\b\f\\n\\r\\t\\\\'],
    ['"\\u0041\\u000a\\u0009\\u005C\\u005c"', 'A\\n\\t\\\\\\\\'],
    ['"\\u00e9\\u20AC\\uD83D\\ude00"', Buffer.from('é€😀').toString('latin1')],
    ['"é€😀"', Buffer.from('é€😀').toString('latin1')],
    ['"\\u0000"', '\0'],
    ['{}', '{}'],
    ['{"x": [1, "\\n"]}', '{"x": [1, "\\\\n"]}'],
    ['{"x":\t1,\r\n"y":2}', '{"x":\\t1,\\r\\n"y":2}'],
    ['[1, 2]', '[1, 2]'],
  ]
  for (const [json, sent] of cases) test(json, () => assert.equal(field(json), sent))
})

suite('json: values into json columns', () => {
  const cases: [json: string, sent: string][] = [
    ['"a"', '"a"'],
    ['"a\\n\\ud800"', '"a\\\\n\\\\ud800"'],
    ['null', '\\N'],
    ['1.0', '1.0'],
    ['[null]', '[null]'],
  ]
  for (const type of ['json', 'jsonb'] as const) {
    for (const [json, sent] of cases) test(`${type}: ${json}`, () => assert.equal(field(json, type), sent))
  }
})

suite('json: values into array columns', () => {
  const cases: [json: string, sent: string][] = [
    ['[]', '{}'],
    ['[1, 2.50 ,3]', '{1,2.50,3}'],
    ['[true,false,null]', '{true,false,NULL}'],
    ['["a","","null","NULL"]', '{"a","","null","NULL"}'],
    ['["a,b{}","\\"","\\\\","\\n"]', '{"a,b{}","\\\\"","\\\\\\\\","\\n"}'],
    ['[[1,2],[3,4]]', '{{1,2},{3,4}}'],
    ['[{"x":"\\"]}"}, {}]', '{"{\\\\"x\\\\":\\\\"\\\\\\\\\\\\"]}\\\\"}","{}"}'],
    ['[\r\n\t"\\u00e9"]', `{"${Buffer.from('é').toString('latin1')}"}`],
    ['"{1,2}"', '{1,2}'],
    ['null', '\\N'],
    ['1', '1'],
  ]
  for (const [json, sent] of cases) test(json, () => assert.equal(field(json, 'array'), sent))
})

suite('json: keys', () => {
  const cases: [name: string, message: string, sent: string][] = [
    ['in any order', '{"b":1,"a":2}', '2\t1\n'],
    ['unknown ones are passed over', '{"c":{"a":1},"a":2,"A":3}', '2\t\\N\n'],
    ['the last of equal ones counts', '{"a":1,"a":2,"a":null,"b":3}', '\\N\t3\n'],
    ['escaped', '{"\\u0061":1,"\\u0062\\u0000":2}', '1\t\\N\n'],
    ['with whitespace everywhere', ' {\n"a" :\t1 ,\r"b": 2 } \r\n', '1\t2\n'],
    ['none', '{}', '\\N\t\\N\n'],
    ['none that is a column', '{"x":1}', '\\N\t\\N\n'],
    ['half of a surrogate pair where nothing reads it', '{"x":"\\ud800","a":1}', '1\t\\N\n'],
    ['a byte order mark', '\u{feff}{"a":1}', '1\t\\N\n'],
  ]
  for (const [name, message, sent] of cases) test(name, () => assert.equal(outcome(ab, message), sent))

  test('other keys, or the same in another order, in every message', () => {
    const messages = [
      '{"a":1,"b":2}',
      '{"b":3,"a":4}',
      '{"ab":5,"b":6}',
      '{"b":7}',
      '{"a":8,"b":9}',
      '{"a": 1,"b":0}',
    ]
    assert.equal(outcome(ab, ...messages), '1\t2\n4\t3\n\\N\t6\n\\N\t7\n8\t9\n1\t0\n')
  })
  test('names that are no ASCII, long ones, and many', () => {
    const names = ['é', '键', 'x'.repeat(63), 'with"quote', 'with\\backslash', 'with\nnewline', '']
    for (let i = 0; i < 100; i++) names.push(`c${i}`)
    const format = into(...names.map((name) => column(name)))
    const message = JSON.stringify(Object.fromEntries(names.map((name, i) => [name, i])))
    const sent = `${names.map((_, i) => i).join('\t')}\n`
    assert.equal(outcome(format, message, message), sent + sent)
  })
  test('a relation without columns takes every object', () => {
    const encoded = encode(into(), ['{"a":1}', '{}'])
    assert.equal(bytesOf(encoded).toString(), '\n\n')
    assert.equal(encoded.segments[0]!.columns, null)
  })
})

suite('json: several objects in a message are several rows', () => {
  test('a line each', () =>
    assert.equal(outcome(ab, '{"a":1}\n{"b":2}\r\n{}\n', '{"a":3}'), '1\t\\N\n\\N\t2\n\\N\t\\N\n3\t\\N\n'))
  test('in an array', () => {
    assert.equal(
      outcome(ab, '[{"a":1}, {"b":2}\n]', ' [ ] ', '[{}]\n{"a":3}'),
      '1\t\\N\n\\N\t2\n\\N\t\\N\n3\t\\N\n',
    )
  })
  test('an empty array is a message without rows', () => {
    const { messages, segments } = encode(ab, ['[]'])
    assert.deepEqual([messages, segments], [1, []])
  })
  test('on one line', () => assert.equal(outcome(ab, '{"a":1} {"a":2}'), '1\t\\N\n2\t\\N\n'))
  test('all of them or none', () => {
    for (const last of ['{"a":1', '[1]', '{"a":"\\ud800"}', 'x', '{}{}']) {
      const encoded = encode(ab, ['{"a":0}', `{"a":1}\n{"a":2}\n${last}`, '{}'])
      assert.equal(bytesOf(encoded).toString(), '0\t\\N\n', last)
      assert.deepEqual([encoded.messages, encoded.bad?.tag], [1, 1], last)
    }
  })
})

suite('json: what is refused', () => {
  const cases: [message: string, code: string][] = [
    ['1', 'json-not-object'],
    ['"a"', 'json-not-object'],
    ['null\n', 'json-not-object'],
    ['[1]', 'json-not-object'],
    ['[{"a":1},2]', 'json-not-object'],
    ['[{"a":1},[]]', 'json-not-object'],
    ['[{"a":1}', 'json-invalid'],
    ['[{"a":1},]', 'json-invalid'],
    ['[{"a":1} {"a":2}]', 'json-invalid'],
    ['[{"a":1}]{"a":2}', 'json-invalid'],
    ['{} 1', 'json-not-object'],
    [' ', 'json-invalid'],
    ['\n', 'json-invalid'],
    ['\u{feff}', 'json-invalid'],
    ['a', 'json-invalid'],
    ['1a', 'json-invalid'],
    ['{', 'json-invalid'],
    ['{"a"', 'json-invalid'],
    ['{"a":', 'json-invalid'],
    ['{"a":1', 'json-invalid'],
    ['{"a":1,', 'json-invalid'],
    ['{"a":1,}', 'json-invalid'],
    ['{,}', 'json-invalid'],
    ['{a:1}', 'json-invalid'],
    ["{'a':1}", 'json-invalid'],
    ['{"a" 1}', 'json-invalid'],
    ['{"a":1 "b":2}', 'json-invalid'],
    ['{"a":1}}', 'json-invalid'],
    ['{"a":1}x', 'json-invalid'],
    ['{}{}', 'json-invalid'],
    ['{"a":1}\0', 'json-invalid'],
    ['{"a":NaN}', 'json-invalid'],
    ['{"a":Infinity}', 'json-invalid'],
    ['{"a":01}', 'json-invalid'],
    ['{"a":1.}', 'json-invalid'],
    ['{"a":.5}', 'json-invalid'],
    ['{"a":+1}', 'json-invalid'],
    ['{"a":1e}', 'json-invalid'],
    ['{"a":-}', 'json-invalid'],
    ['{"a":0x1}', 'json-invalid'],
    ['{"a":tru}', 'json-invalid'],
    ['{"a":nul', 'json-invalid'],
    ['{"a":"\t"}', 'json-invalid'],
    ['{"a":"\\x"}', 'json-invalid'],
    ['{"a":"\\u12g4"}', 'json-invalid'],
    ['{"a":"\\u123"}', 'json-invalid'],
    ['{"a":"\\ud800"}', 'json-invalid'],
    ['{"a":"\\udc00"}', 'json-invalid'],
    ['{"a":"\\ud800\\u0041"}', 'json-invalid'],
    ['{"a":[1,]}', 'json-invalid'],
    ['{"a":[1}', 'json-invalid'],
    ['{"a":[1]]}', 'json-invalid'],
    ['{"x":{"y":[1,{"z":01}]}}', 'json-invalid'],
  ]
  for (const [message, code] of cases) {
    test(JSON.stringify(message), () => {
      assert.equal(outcome(ab, message), `${code} in 0`)
      assert.equal(outcome(ab, '{"a":1}', message, '{"a":2}'), `${code} in 1`)
    })
  }
  test('the reason has a position and nothing of the message', () => {
    const { bad } = encode(ab, ['{"a":1}', '{"a":1,"secret" 2}'])
    assert.equal(bad?.reason, 'a colon is missing (byte 16)')
  })
  test('half of a surrogate pair in an array column', () => {
    assert.equal(outcome(into(column('a', 'array'), column('b')), '{"a":["\\ud800"]}'), 'json-invalid in 0')
  })
})

suite('json: columns with a default', () => {
  const columns = [column('a'), column('d', 'other', true), column('e', 'other', true)]
  const messages = ['{"a":1}', '{"a":2,"d":null}', '{"a":3,"d":4}', '{"e":5}', '{}']

  test('from version 16 on a marker stands for it, and null stays null', () => {
    const format = formatOf({ format: 'json', relation: columns, serverVersion: 160000 })
    assert.equal(
      outcome(format, ...messages),
      '1\t\\D\t\\D\n2\t\\N\t\\D\n3\t4\t\\D\n\\N\t\\D\t5\n\\N\t\\D\t\\D\n',
    )
    const [segment] = encode(format, messages).segments
    assert.equal(
      format.copyStatement(segment!),
      `COPY "public"."t" ("a", "d", "e") FROM STDIN WITH (FORMAT text, DELIMITER E'\\t', DEFAULT E'\\\\D', ENCODING 'UTF8')`,
    )
  })
  test('before, rows that leave out the same columns are a segment', () => {
    const format = formatOf({ format: 'json', relation: columns, serverVersion: 150000 })
    const { segments } = encode(format, messages)
    assert.deepEqual(
      segments.map(({ columns, chunks }) => [columns, Buffer.concat(chunks).toString()]),
      [
        [['a'], '1\n'],
        [['a', 'd'], '2\t\\N\n3\t4\n'],
        [['a', 'e'], '\\N\t5\n'],
        [['a'], '\\N\n'],
      ],
    )
    assert.equal(
      format.copyStatement(segments[2]!),
      `COPY "public"."t" ("a", "e") FROM STDIN WITH (FORMAT text, DELIMITER E'\\t', ENCODING 'UTF8')`,
    )
  })
  test('before, an object that fills no column at all cannot be loaded when all have a default', () => {
    const format = formatOf({ format: 'json', relation: columns.slice(1), serverVersion: 150000 })
    assert.equal(outcome(format, '{"d":1}', '{}'), 'json-no-columns in 1')
    assert.equal(outcome(format, '{"d":1}', '{"e":1}\n{"x":1}'), 'json-no-columns in 1')
    assert.equal(outcome(format, '{"d":1}', '{"x":1,}'), 'json-invalid in 1')
    assert.equal(outcome(format, '{"d":1}', '{"e":1}\n{"x":1'), 'json-invalid in 1')
    assert.equal(outcome(format, '{"d":1}', '1'), 'json-not-object in 1')
  })
})

suite('json: whole messages', () => {
  const whole = (type: Column['type'], ...messages: (string | Uint8Array)[]) =>
    outcome(into(column('document', type)), ...messages)

  test('as they are, but for the newline at the end', () => {
    for (const type of ['json', 'jsonb', 'text'] as const) {
      assert.equal(
        whole(type, ' {"a" :1.0}\n', '{"a":"\\n"}\r\n', '"é"'),
        ' {"a" :1.0}\n{"a":"\\\\n"}\n"\xc3\xa9"\n',
      )
    }
  })
  test('one value on several lines is one row', () => {
    assert.equal(whole('jsonb', '{\n\t"a": 1\r\n}\n'), '{\\n\\t"a": 1\\r\\n}\n')
    assert.equal(whole('text', '{\n\t"a": 1\r\n}\n'), '{\\n\\t"a": 1\\r\\n}\n')
  })
  test('one value keeps the whitespace around it', () => {
    assert.equal(whole('text', ' {\n} \n\n'), ' {\\n} \\n\n')
    assert.equal(whole('json', '\n1\n\n'), '\\n1\\n\n')
  })
  test('several values on lines of their own are as many rows', () => {
    assert.equal(whole('jsonb', '{"a":"\\\\"}\n[\n1]\r\n\n2\n'), '{"a":"\\\\\\\\"}\n[\\n1]\n2\n')
    assert.equal(whole('text', '1\n2'), '1\n2\n')
  })
  test('what is no JSON goes on', () => {
    assert.equal(whole('jsonb', '{"a":1\n{"b":2}'), '{"a":1\\n{"b":2}\n')
    assert.equal(whole('text', 'no\tjson\n\\.'), 'no\\tjson\\n\\\\.\n')
    assert.equal(whole('text', '1 2\n3'), '1 2\\n3\n')
    assert.equal(whole('text', '\\N', '\n', 'a\0\xff'), '\\\\N\n\na\0\xc3\xbf\n')
  })
  test('a byte order mark is no part of JSON, but of text', () => {
    assert.equal(whole('jsonb', '\u{feff}{}'), '{}\n')
    assert.equal(whole('text', '\u{feff}{}'), '\xef\xbb\xbf{}\n')
  })
  test('the column is named', () => {
    const format = into(column('the "document"', 'jsonb'))
    assert.equal(
      format.copyStatement(encode(format, ['1']).segments[0]!),
      `COPY "public"."t" ("the ""document""") FROM STDIN WITH (FORMAT text, DELIMITER E'\\t', ENCODING 'UTF8')`,
    )
  })
  test('one column of another type is filled by key', () => {
    assert.equal(outcome(into(column('a')), '{"a":1}'), '1\n')
    assert.equal(outcome(into(column('a', 'array')), '{"a":[1]}'), '{1}\n')
  })
})

test('json: messages around and above the size of a chunk', () => {
  for (const length of [chunkBytes - 40, chunkBytes - 20, chunkBytes, 2 * chunkBytes]) {
    const long = 'x\\n'.repeat(length / 3)
    const message = `{"a":1,"b":"${long}"}`
    const encoded = encode(ab, ['{"a":0}', message, message, '{"a":2}'])
    const row = `1\t${long}\n`
    assert.ok(bytesOf(encoded).equals(Buffer.from(`0\t\\N\n${row}${row}2\t\\N\n`)))
    const whole = encode(into(column('a', 'text')), [message, '{}', message])
    const line = `${message.replaceAll('\\', '\\\\')}\n`
    assert.ok(bytesOf(whole).equals(Buffer.from(`${line}{}\n${line}`)))
  }
})

suite('json: rows that outgrow their messages, until several chunks are full', () => {
  test('by columns', () => {
    const columns = Array.from({ length: 1600 }, (_, i) => column(`c${i}`))
    const row = `\\N${'\t\\N'.repeat(1599)}\n`
    assert.equal(outcome(into(...columns), ...Array(100).fill('{} {}')), row.repeat(200))
  })
  test('by escapes', () => {
    const message = `{"a":${'[\t'.repeat(5000)}${']'.repeat(5000)}}`
    const row = `${'[\\t'.repeat(5000)}${']'.repeat(5000)}\t\\N\n`
    assert.equal(outcome(ab, ...Array(100).fill(message)), row.repeat(100))
  })
  test('by escapes in an array', () => {
    const message = `{"a":["x",{"":"${'\\\\'.repeat(5000)}"}]}`
    const row = `{"x","{\\\\"\\\\":\\\\"${'\\'.repeat(8 * 5000)}\\\\"}"}\t\\N\n`
    assert.equal(
      outcome(into(column('a', 'array'), column('b')), ...Array(100).fill(message)),
      row.repeat(100),
    )
  })
})

test('json: any depth', () => {
  const deep = '['.repeat(1_000_000) + ']'.repeat(1_000_000)
  assert.equal(field(deep), deep)
  assert.equal(field(deep, 'array'), deep.replaceAll('[', '{').replaceAll(']', '}'))
  assert.equal(outcome(ab, `{"x":${deep.slice(0, -1)}}`), 'json-invalid in 0')
})

test('json: the grammar accepts what JSON.parse accepts', async () => {
  const piece = fc.constantFrom(
    ...[
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"',
      '\\',
      'u',
      '00e9',
      'n',
      '0',
      '1',
      '-',
      '+',
      '.',
      'e',
      'E5',
      ' ',
      '\n',
      '\t',
    ],
    ...['true', 'false', 'null', '"a"', '"a":', '"\\ud83d"', '{}', '[]', '[1,2]', '{"a":1}', '\0', '/', 'é'],
  )
  const broken = fc.tuple(fc.json(), fc.nat(), fc.nat(3), piece).map(([json, at, gone, put]) => {
    const i = at % (json.length + 1)
    return json.slice(0, i) + put + json.slice(i + gone)
  })
  const texts = fc.oneof(
    fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join('')),
    fc.json(),
    broken,
  )
  const scanner = new JsonScanner()
  const property = fc.property(texts, (text) => {
    let valid = true
    try {
      JSON.parse(text)
    } catch {
      valid = false
    }
    const bytes = Buffer.from(`]${text}1`)
    const end = bytes.length - 1
    let p = scanner.value(bytes, scanner.gap(bytes, 1, end), end)
    if (p >= 0) p = scanner.gap(bytes, p, end)
    assert.equal(p === end, valid)
  })
  await holds(property, 20_000)
})
