// Records as producers write them: rows of (text, numeric) in text and csv, in the many ways there are to write them,
// and the messages that carry them. In strings here every character is one byte.
import fc from 'fast-check'
import type { FormatOptions } from '../../src/formats/format.ts'

export type Dialect = Partial<FormatOptions> & { format: 'text' | 'csv' }

export const dialects: Dialect[] = [
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

export function nameOf({ format, ...options }: Dialect): string {
  return `${format} ${JSON.stringify(options)}`
}

/** The characters with a meaning. */
export function charactersOf({ delimiter, quote, escape: escaping }: Dialect): string[] {
  return [delimiter, quote ?? '"', escaping].filter((character) => typeof character === 'string')
}

export function latin1(text: string): Buffer {
  return Buffer.from(text, 'latin1')
}

const utf8 = (text: string) => Buffer.from(text).toString('latin1')

const values = fc.oneof(
  { weight: 9, arbitrary: fc.string({ unit: fc.constantFrom(...'ab01 .,;|\t\'"\\\n\r/é😀N') }).map(utf8) },
  { weight: 4, arbitrary: fc.string({ unit: 'binary' }).map((text) => utf8(text.replaceAll('\0', ''))) },
  { weight: 4, arbitrary: fc.constantFrom('', '\\N', '\\.', 'NULL', 'NaN', '-Infinity', '\r\n', '\\', '"') },
  { weight: 1, arbitrary: fc.integer({ min: 100, max: 9000 }).map((length) => 'long\r\n\\'.repeat(length)) },
)

const numerics = fc.oneof(
  fc
    .tuple(fc.bigInt(-(10n ** 40n), 10n ** 40n), fc.bigInt(0n, 10n ** 20n))
    .map(([whole, fraction]) => `${whole}.${fraction}`),
  fc.constantFrom('NaN', '0', '-0', '1e300'),
)

/** What no row can be made of. */
const unfit = fc.constantFrom('', 'a', '1,2,3', '\0', '\xff\xfe', '\xe2\x82', 'a\\.b')

/** A record has no line end, and is a row, or PostgreSQL says why it is none. */
export function recordsOf(dialect: Dialect): fc.Arbitrary<string[]> {
  const delimiter = dialect.delimiter ?? (dialect.format === 'text' ? '\t' : ',')
  const row = fc
    .tuple(fc.option(values, { freq: 8 }), fc.option(numerics, { freq: 8 }), fc.nat(3))
    .map(([a, n, how]) => field(dialect, a, how) + delimiter + field(dialect, n, how))
  const record = fc.oneof({ weight: 60, arbitrary: row }, { weight: 1, arbitrary: unfit })
  return fc.array(record, { maxLength: 12 })
}

/** A field that says `value`; `how` chooses one of the ways. */
function field(dialect: Dialect, value: string | null, how: number): string {
  if (dialect.format === 'text') {
    if (value === null) return '\\N'
    const special = new RegExp(`[\\\\\\n\\r\\t${dialect.delimiter ?? ''}]`, 'g')
    const letters: Record<string, string> = { '\n': 'n', '\r': 'r', '\t': 't' }
    return value.replace(special, (c) => `\\${how % 2 === 0 ? (letters[c] ?? c) : c}`)
  }
  const { delimiter = ',', quote = '"', escape: escaping = quote } = dialect
  if (value === null) return ''
  const plain = ![delimiter, quote, '\n', '\r'].some((special) => value.includes(special!))
  if (plain && value !== '' && how % 2 === 0) return value
  const escaped = [...value].map((c) => (c === quote || c === escaping ? escaping + c : c)).join('')
  return quote + escaped + quote
}

const lineEnds = [
  { text: '\n', more: false },
  { text: '\r\n', more: false },
  { text: '', more: false },
  { text: '\r', more: false },
  // the message goes on
  { text: '\n', more: true },
  { text: '\r\n', more: true },
]

/** How each record ends; used in turn. */
export const endings = fc.array(fc.constantFrom(...lineEnds), { minLength: 1, maxLength: 12 })

export function messagesOf(records: string[], ends: typeof lineEnds): Buffer[] {
  const messages: string[] = []
  let more = false
  for (const [i, record] of records.entries()) {
    const end = ends[i % ends.length]!
    if (more) messages[messages.length - 1] += record + end.text
    else messages.push(record + end.text)
    more = end.more
  }
  return messages.filter((message) => message !== '').map(latin1)
}

/** The same records in a file. An empty one without a line end is none. */
export function fileOf(records: string[], ends: typeof lineEnds): Buffer {
  const lines = records.filter((record, i) => record !== '' || ends[i % ends.length]!.text !== '')
  return latin1(lines.map((line) => `${line}\n`).join(''))
}
