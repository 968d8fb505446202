// F14, text and csv: what the messages become is what COPY makes of the same lines. COPY itself, of this server, is
// asked each time.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import type { FormatOptions } from '../../src/formats/format.ts'
import { type Loaded, Table } from './copy.ts'
import { encode } from './encode.ts'
import { holds } from './property.ts'

type Dialect = Partial<FormatOptions> & { format: 'text' | 'csv' }

const dialects: Dialect[] = [
  { format: 'text' },
  { format: 'text', delimiter: '|' },
  { format: 'csv' },
  { format: 'csv', delimiter: '\t', quote: "'" },
  { format: 'csv', delimiter: ';', escape: '\\' },
  { format: 'csv', delimiter: '|', quote: '"', escape: "'" },
  { format: 'csv', quote: '\\' },
  { format: 'csv', quote: '.' },
  { format: 'csv', quote: '.', escape: '\\' },
  { format: 'csv', delimiter: '.' },
  { format: 'csv', delimiter: '\\' },
]

const nameOf = ({ format, ...options }: Dialect) => `${format} ${JSON.stringify(options)}`
const latin1 = (text: string) => Buffer.from(text, 'latin1')

/** Latin-1 characters stand for bytes. */
const bytesOfUtf8 = (text: string) => Buffer.from(text).toString('latin1')

const values = fc.oneof(
  fc.string({ unit: fc.constantFrom(...'ab01 .,;|\t\'"\\\n\r/é😀N') }).map(bytesOfUtf8),
  fc.string({ unit: 'binary' }).map(bytesOfUtf8),
  fc.constantFrom('', '\\N', '\\.', 'NULL', 'NaN', '-Infinity', '\r\n', '\0', '\xff\xfe', '\xe2\x82'),
  fc.bigInt().map(String),
  fc.constant('x'.repeat(70_000)),
)

const numerics = fc.oneof(
  fc
    .tuple(fc.bigInt({ max: 10n ** 40n }), fc.bigInt({ min: 0n, max: 10n ** 20n }))
    .map(([a, b]) => `${a}.${b}`),
  fc.constantFrom('NaN', '0', '-0', '1e300', 'x'),
)

/** A field that says `value`, in one of the ways there are. `how` chooses. */
function field(dialect: Dialect, value: string | null, how: number): string {
  if (dialect.format === 'text') {
    if (value === null) return '\\N'
    const special = new RegExp(`[\\\\\\n\\r\\t${dialect.delimiter ?? ''}]`, 'g')
    const letters: Record<string, string> = { '\n': 'n', '\r': 'r', '\t': 't' }
    return value.replace(special, (c) => `\\${how % 2 === 0 ? (letters[c] ?? c) : c}`)
  }
  const { delimiter = ',', quote = '"', escape: escaping = quote } = dialect
  if (value === null) return ''
  const plain = ![delimiter, quote, '\n', '\r', '\\.'].some((special) => value.includes(special!))
  if (plain && value !== '' && how % 2 === 0) return value
  const escaped = [...value].map((c) => (c === quote || c === escaping ? escaping + c : c)).join('')
  return quote + escaped + quote
}

/** Records without a line end, each a row of (text, numeric). */
function records(dialect: Dialect): fc.Arbitrary<string[]> {
  const row = fc
    .tuple(fc.option(values, { freq: 8 }), fc.option(numerics, { freq: 8 }), fc.nat(3))
    .map(([a, b, how]) =>
      [a, b]
        .map((value) => field(dialect, value, how))
        .join(dialect.delimiter ?? (dialect.format === 'text' ? '\t' : ',')),
    )
  const odd = fc.constantFrom('', 'a', 'a,b,c', '\\N', 'a\\.b')
  const record = fc.oneof({ weight: 30, arbitrary: row }, { weight: 1, arbitrary: odd })
  return fc.array(
    record.filter((line) => encode(formatFor(dialect), [latin1(`${line}\n`)]).bad === null),
    { maxLength: 12 },
  )
}

let formatFor: (dialect: Dialect) => ReturnType<Table['format']>

/** The records as messages: several in one or not, with the line ends that `ends` chooses. */
function messagesOf(lines: string[], ends: number[]): Buffer[] {
  const messages: string[] = []
  let open = false
  for (const [i, line] of lines.entries()) {
    const end = ends[i % ends.length]!
    const text = line + ['\n', '\r\n', '', '\r', '\n', '\r\n'][end]!
    if (open) messages[messages.length - 1] += text
    else messages.push(text)
    // the last two go on in the same message
    open = end >= 4
  }
  return messages.filter((message) => message !== '').map(latin1)
}

/** What a message that is never sent would have been: an empty line is a row only if the message has its newline. */
function linesSent(lines: string[], ends: number[]): string[] {
  return lines.filter((line, i) => {
    const goesOn = i > 0 && ends[(i - 1) % ends.length]! >= 4
    return line !== '' || goesOn || ends[i % ends.length] !== 2
  })
}

suite('F14 records in messages are what COPY makes of the lines', () => {
  for (const dialect of dialects) {
    test(nameOf(dialect), async (t) => {
      const table = await Table.create(t, 'a text, n numeric')
      const format = table.format(dialect)
      formatFor = (of) => table.format(of)
      const ends = fc.array(fc.nat(5), { minLength: 1, maxLength: 12 })
      const property = fc.asyncProperty(records(dialect), ends, async (lines, chosen) => {
        const file = linesSent(lines, chosen)
          .map((line) => `${line}\n`)
          .join('')
        assert.deepEqual(
          await table.load(format, messagesOf(lines, chosen)),
          await table.copy(format, latin1(file)),
        )
      })
      await holds(property, 150)
    })
  }
})
