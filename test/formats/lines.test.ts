// F14, text and csv: what becomes of the messages is what COPY makes of the same lines in a file. COPY itself, of this
// server, is asked each time.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import type { BadCode, Format } from '../../src/formats/format.ts'
import { type Loaded, sorted, Table } from './copy.ts'
import { encode } from './encode.ts'
import { holds } from './property.ts'
import {
  charactersOf,
  type Dialect,
  dialects,
  endings,
  fileOf,
  latin1,
  messagesOf,
  nameOf,
  recordsOf,
} from './records.ts'

const runs = 60
const twoColumns = 'a text, n numeric'

/** Before 18 a record that begins with a line of \. alone ends a csv file: no file can say what its messages say. */
function endsFile(table: Table, dialect: Dialect, record: string): boolean {
  return table.serverVersion < 180000 && dialect.format === 'csv' && /^\\\.([\r\n]|$)/.test(record)
}

function isGood(format: Format, message: string): boolean {
  return encode(format, [latin1(message)]).bad === null
}

suite('F14 records in messages are what COPY makes of them in a file', () => {
  for (const dialect of dialects) {
    test(nameOf(dialect), async (t) => {
      const table = await Table.create(t, twoColumns)
      const format = table.format(dialect)
      let loaded = 0
      const property = fc.asyncProperty(recordsOf(dialect), endings, async (all, ends) => {
        const records = all.filter(
          (record) => !endsFile(table, dialect, record) && isGood(format, `${record}\n`),
        )
        const expected = await table.copy(format, fileOf(records, ends))
        assert.deepEqual(await table.load(format, messagesOf(records, ends)), expected)
        if ('rows' in expected) loaded++
      })
      await holds(property, runs)
      assert.ok(loaded > runs / 4, `only ${loaded} times there were rows`)
    })
  }
})

suite('F14 a bad message: what precedes it loads, and nothing of it or after it', () => {
  const bad: Record<'text' | 'csv', [message: string, code: BadCode][]> = {
    text: [
      ['x\t1\\', 'trailing-backslash'],
      ['x\t1\\\n', 'trailing-backslash'],
      ['\\.', 'copy-end-marker'],
      ['x\t1\nx\t2\\.\nx\t3', 'copy-end-marker'],
      ['x\t1\rx\t2', 'carriage-return'],
    ],
    csv: [
      ['x,"1', 'unbalanced-quote'],
      ['x,1\n"x,1\r\n', 'unbalanced-quote'],
      ['x,1\rx,2', 'carriage-return'],
    ],
  }
  for (const format of ['text', 'csv'] as const) {
    test(format, async (t) => {
      const table = await Table.create(t, twoColumns)
      const into = table.format({ format })
      const property = fc.asyncProperty(
        recordsOf({ format }),
        recordsOf({ format }),
        endings,
        fc.constantFrom(...bad[format]),
        async (first, last, ends, [message, code]) => {
          const fit = (record: string) => !endsFile(table, { format }, record) && isGood(into, `${record}\n`)
          const records = first.filter(fit)
          const before = messagesOf(records, ends)
          const encoded = encode(into, [...before, message, ...messagesOf(last, ends)])
          assert.deepEqual([encoded.bad?.tag, encoded.bad?.code], [before.length, code])
          assert.equal(encoded.messages, before.length)
          assert.deepEqual(await table.send(into, encoded), await table.copy(into, fileOf(records, ends)))
        },
      )
      await holds(property, runs)
    })
  }
})

// What follows takes messages of the worst bytes there are, into one column, so that most of them are rows.
const bytes = (dialect: Dialect, ...more: string[]) =>
  fc.constantFrom(...['a', '\n', '\\', '.', '\\.', '\\.\n'], ...charactersOf(dialect), ...more)

const short = (byte: fc.Arbitrary<string>) =>
  fc.array(byte, { minLength: 1, maxLength: 6 }).map((parts) => parts.join(''))

suite('F14 a message means the same beside any other', () => {
  for (const dialect of dialects) {
    test(nameOf(dialect), async (t) => {
      const table = await Table.create(t, 'a text')
      const format = table.format(dialect)
      const alone = (message: string): Promise<Loaded> => table.load(format, [latin1(message)])
      const message = short(bytes(dialect, '\r', '\r\n', '\xe9')).filter((text) => isGood(format, text))
      const property = fc.asyncProperty(
        fc.array(message, { minLength: 2, maxLength: 4 }),
        async (messages) => {
          const rows: string[] = []
          let fails = false
          for (const text of messages) {
            const loaded = await alone(text)
            if ('error' in loaded) fails = true
            else rows.push(...loaded.rows)
          }
          const together = await table.load(format, messages.map(latin1))
          if (fails) assert.ok('error' in together, JSON.stringify(together))
          else assert.deepEqual(together, { rows: sorted(rows) })
        },
      )
      await holds(property, runs)
    })
  }
})

suite('F14 a message is refused only where COPY would take more or less than its lines, and else taken alike', () => {
  for (const dialect of dialects) {
    test(nameOf(dialect), async (t) => {
      const table = await Table.create(t, 'a text')
      const format = table.format(dialect)
      const after = 'after'
      for (const lineEnd of ['\n', '\r\n']) {
        const message = short(bytes(dialect)).map((text) => text.replaceAll('\n', lineEnd))
        const property = fc.asyncProperty(message, async (text) => {
          // here a file with CRLF line ends says something else than its lines: the escape ends at the CR
          fc.pre(lineEnd === '\n' || dialect.format === 'csv' || !text.includes('\\\r'))
          const file = latin1(text + (text.endsWith(lineEnd) ? '' : lineEnd) + after + lineEnd)
          const expected = await table.copy(format, file)
          const encoded = encode(format, [latin1(text), after])
          if (encoded.bad) {
            assert.equal(encoded.bad.tag, 0)
            const intact = 'rows' in expected && expected.rows.includes(`(${after})`)
            assert.ok(!intact, `${encoded.bad.code}, but ${JSON.stringify(expected)}`)
          } else if (table.serverVersion >= 180000 || dialect.format === 'text' || !text.includes('\\.')) {
            const loaded = await table.send(format, encoded)
            // the names of line ends in PostgreSQL's messages differ
            if ('error' in expected) assert.ok('error' in loaded, JSON.stringify(loaded))
            else assert.deepEqual(loaded, expected)
          }
        })
        await holds(property, runs)
      }
    })
  }
})

test('csv: \\. alone is a value, whatever the version', async (t) => {
  const table = await Table.create(t, 'a text')
  for (const quote of ['"', "'", '.']) {
    for (const escaping of [quote, '\\', '.']) {
      const format = table.format({ format: 'csv', quote, escape: escaping })
      const message = quote === '.' ? '\\.\nx.' : '\\.'
      const value = quote === '.' ? '("\\\\\nx")' : '("\\\\.")'
      const loaded = await table.load(format, ['a', message, `${message}\r\n`, 'b'])
      assert.deepEqual(loaded, { rows: sorted(['(a)', value, value, '(b)']) }, `${quote}${escaping}`)
    }
  }
  const withBackslash = table.format({ format: 'csv', quote: '\\' })
  assert.deepEqual(await table.load(withBackslash, ['a', '\\.\nx\\', 'b']), {
    rows: ['(".\nx")', '(a)', '(b)'],
  })
})
