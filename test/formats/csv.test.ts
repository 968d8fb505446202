import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { FormatOptions } from '../../src/formats/format.ts'
import { bytesOf, encode, formatOf, outcome } from './encode.ts'

const csvWith = (options: Partial<FormatOptions>) => formatOf({ format: 'csv', ...options })
const csv = csvWith({})

suite('csv: what is sent', () => {
  const cases: [name: string, message: string, sent: string][] = [
    ['no newline: one is added', 'a,b', 'a,b\n'],
    ['CRLF: the carriage return goes', 'a,b\r\n', 'a,b\n'],
    ['a carriage return at the end goes', '"a",b\r', '"a",b\n'],
    ['only a newline: an empty line', '\n', '\n'],
    ['several records', 'a,b\n"c",d\r\ne,f', 'a,b\n"c",d\ne,f\n'],
    ['line ends inside quotes stay', '"a\r\nb\nc\rd",e\r\n', '"a\r\nb\nc\rd",e\n'],
    ['line ends on both sides of a quote', 'a,b\r\n"c\r\nd",e\r\nf,g', 'a,b\n"c\r\nd",e\nf,g\n'],
    ['doubled quotes', '"a""\n""b"', '"a""\n""b"\n'],
    ['a quote in the middle of a field', 'a"\n"b', 'a"\n"b\n'],
    ['a backslash at the end is data', 'a,\\', 'a,\\\n'],
    ['\\. with anything around is data', 'a\\.\n\\.b\n"\\."\nc,\\.', 'a\\.\n\\.b\n"\\."\nc,\\.\n'],
    ['\\. alone inside quotes is data', '"a\n\\.\nb"', '"a\n\\.\nb"\n'],
    ['\\. alone is written so that no version takes it for the end', '\\.', '"\\".\n'],
    ['\\. alone and CRLF', '\\.\r\n', '"\\".\n'],
    ['\\. alone among other records', 'a\n\\.\n\\.\r\nb\n\\.', 'a\n"\\".\n"\\".\nb\n"\\".\n'],
  ]
  for (const [name, message, sent] of cases) test(name, () => assert.equal(outcome(csv, message), sent))
})

suite('csv: what is refused', () => {
  const cases: [name: string, message: string, code: string][] = [
    ['an open quote', 'a,"b', 'unbalanced-quote'],
    ['an open quote before a newline', 'a,"b\n', 'unbalanced-quote'],
    ['an open quote after others', '"a","b""\n', 'unbalanced-quote'],
    ['an open quote before CRLF', '"a\r\n', 'unbalanced-quote'],
    ['a carriage return outside quotes', 'a\rb', 'carriage-return'],
    ['a carriage return after a quoted field', '"a"\r,b', 'carriage-return'],
    ['two carriage returns before the newline', 'a\r\r\n', 'carriage-return'],
  ]
  for (const [name, message, code] of cases) {
    test(name, () => {
      assert.equal(outcome(csv, message), `${code} in 0`)
      assert.equal(outcome(csv, '"x"', message, '"y"'), `${code} in 1`)
    })
  }
})

test('two open quotes do not close each other', () => {
  const encoded = encode(csv, ['1,"a"', '2,"a', 'b",c', '3,"a"'])
  assert.equal(bytesOf(encoded).toString(), '1,"a"\n')
  assert.deepEqual([encoded.messages, encoded.bad?.tag], [1, 1])
})

test('what precedes a bad message is mended all the same', () => {
  const encoded = encode(csv, ['\\.', 'a\r\nb', '\\.\n\\.', '\\.\n"', '\\.'])
  assert.equal(bytesOf(encoded).toString(), '"\\".\na\nb\n"\\".\n"\\".\n')
  assert.deepEqual([encoded.messages, encoded.bad?.tag, encoded.bad?.code], [3, 3, 'unbalanced-quote'])
})

test('so many \\. that the run outgrows its chunk', () => {
  const messages = Array.from({ length: 100_000 }, (_, i) => (i % 3 === 0 ? 'abc' : '\\.'))
  const sent = messages.map((message) => (message === 'abc' ? 'abc\n' : '"\\".\n')).join('')
  const encoded = encode(csv, messages)
  assert.equal(encoded.messages, 100_000)
  assert.ok(bytesOf(encoded).equals(Buffer.from(sent)))
})

suite('csv: another escape than the quote', () => {
  const backslash = csvWith({ escape: '\\' })
  const cases: [name: string, message: string, sent: string][] = [
    ['an escaped quote', '"a\\"",b', '"a\\"",b\n'],
    ['an escaped escape', '"a\\\\",b', '"a\\\\",b\n'],
    ['an escape outside quotes is data', 'a\\"b"', 'a\\"b"\n'],
    ['an escape before something else is data', '"a\\b"', '"a\\b"\n'],
    ['\\. alone', '\\.', '"\\\\".\n'],
    ['an escaped quote leaves it open', '"a\\"', 'unbalanced-quote in 0'],
    ['an escape outside quotes leaves it open', '\\"', 'unbalanced-quote in 0'],
  ]
  for (const [name, message, sent] of cases) test(name, () => assert.equal(outcome(backslash, message), sent))
})

suite('csv: \\. alone where one of its two bytes has a meaning', () => {
  const cases: [name: string, options: Partial<FormatOptions>, message: string, sent: string][] = [
    ['the dot is the delimiter', { delimiter: '.' }, '\\.', '"\\".\n'],
    ['the backslash is the delimiter', { delimiter: '\\' }, '\\.', '\\"."\n'],
    ['the backslash is the quote', { quote: '\\' }, '\\.\nb\\', '.\\\nb\\\n'],
    ['the dot is the quote', { quote: '.' }, '\\.\nb.', '.\\\nb.\n'],
    ['the dot is the quote, the backslash escapes', { quote: '.', escape: '\\' }, '\\.\nb.', '.\\\\\nb.\n'],
    ['the dot is the escape', { escape: '.' }, '\\.', '"\\".\n'],
  ]
  for (const [name, options, message, sent] of cases) {
    test(name, () => assert.equal(outcome(csvWith(options), message), sent))
  }
  test('both have one: only version 18 can take it', () => {
    const options = { quote: '\\', delimiter: '.' }
    assert.equal(outcome(csvWith(options), '\\.\nb\\'), '\\.\nb\\\n')
    assert.equal(outcome(csvWith({ ...options, serverVersion: 170000 }), '\\.\nb\\'), 'copy-end-marker in 0')
  })
})

test('the quote may be another character', () => {
  const single = csvWith({ quote: "'" })
  assert.equal(outcome(single, `'a\n"'`), `'a\n"'\n`)
  assert.equal(outcome(single, `"a'`), 'unbalanced-quote in 0')
})

test('a quote that is half of a character is none', () => {
  // 0x7C is both | and the second byte of ポ in Shift JIS
  const po = Buffer.from([0x83, 0x7c])
  assert.equal(outcome(csvWith({ quote: '|', encoding: 'SJIS' }), po), '\x83|\n')
  assert.equal(outcome(csvWith({ quote: '|', encoding: 'UTF8' }), po), 'unbalanced-quote in 0')
  assert.equal(
    outcome(csvWith({ escape: '\\', encoding: 'SJIS' }), Buffer.from('"\x83\\"', 'latin1')),
    '"\x83\\"\n',
  )
})
