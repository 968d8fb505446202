// A code that is thrown but not in the table, in the table but thrown nowhere, or without its place in
// docs/errors.md is a failure that somebody will meet and not be able to look up.

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { inspect } from 'node:util'
import { describeError, errorCodes, isErrorCode, isMillraceError, MillraceError } from '../src/errors.ts'

const root = join(import.meta.dirname, '..')

function textOf(folder: string, ending: string, except: string[] = []): string {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith(ending) && !except.includes(file))
    .map((file) => readFileSync(join(root, folder, file), 'utf8'))
    .join('\n')
}

function all(text: string, pattern: RegExp): Set<string> {
  return new Set([...text.matchAll(pattern)].map(([, code]) => code!))
}

const source = textOf('src', '.ts', ['error-codes.ts'])
const sql = textOf('sql', '.sql')
const document = readFileSync(join(root, 'docs/errors.md'), 'utf8')
const codes = Object.entries(errorCodes)

describe('the table of error codes', () => {
  test('has kebab-case codes with a hint each', () => {
    for (const [code, { message, hint }] of codes) {
      assert.match(code, /^[a-z]+(-[a-z]+)*$/)
      assert.notEqual(message, '', code)
      assert.notEqual(hint, '', code)
    }
  })

  test('has every code that the program throws', () => {
    const thrown = all(source, /new MillraceError\(\s*'([^']*)'/g)
    assert.deepEqual(
      [...thrown].filter((code) => !isErrorCode(code)),
      [],
    )
  })

  test('has no code that the program says it throws and does not', () => {
    const unused = codes.filter(([code, { origin }]) => origin !== 'sql' && !source.includes(`'${code}'`))
    assert.deepEqual(
      unused.map(([code]) => code),
      [],
    )
  })

  test('has every code that the SQL raises, and no other as its', () => {
    const raised = all(sql, /'code: ([^'\s]+)/g)
    const known = codes.filter(([, { origin }]) => origin !== 'daemon').map(([code]) => code)
    assert.deepEqual([...raised].sort(), known.sort())
  })
})

test('docs/errors.md has one heading for every code, and no other', () => {
  const headings = [...document.matchAll(/^### `(.*)`$/gm)].map(([, code]) => code)
  assert.deepEqual(headings.sort(), codes.map(([code]) => code).sort())
})

describe('an error', () => {
  test('fills its facts into the message and leaves out the parts whose facts are missing', () => {
    const bare = new MillraceError('record-batch-corrupt')
    assert.equal(bare.message, 'a record batch is damaged')
    const placed = bare.with({ topic: 'orders', partition: 0, offset: 9007199254740993n })
    assert.equal(
      placed.message,
      'a record batch is damaged at offset 9007199254740993 of topic orders partition 0',
    )
    assert.equal(placed.code, 'record-batch-corrupt')
    assert.equal(placed.stack?.split('\n')[1], bare.stack?.split('\n')[1])
  })

  test('gives the reason of its cause, also where the cause has no message of its own', () => {
    const refused = Object.assign(new Error('connect ECONNREFUSED ::1:5432'), { code: 'ECONNREFUSED' })
    const error = new MillraceError('database-unreachable', { cause: new AggregateError([refused]) })
    assert.equal(error.message, 'PostgreSQL cannot be reached: connect ECONNREFUSED ::1:5432')
    assert.ok(isMillraceError(error, 'database-unreachable'))
    assert.ok(!isMillraceError(error, 'internal') && !isMillraceError(refused))
  })

  test('survives JSON with facts past 2^53', () => {
    const error = new MillraceError('offset-out-of-range', { offset: 9007199254740993n })
    assert.equal(JSON.parse(JSON.stringify(error)).facts.offset, '9007199254740993')
  })

  // pg hangs the row on the error (detail, where); URL hangs the URL on it (input).
  test('shows nothing else that hangs on its cause', () => {
    const cause = Object.assign(new Error('value too long'), {
      severity: 'ERROR',
      code: '22001',
      detail: 'Failing row contains (sentinel-row)',
      where: 'COPY t, line 1: "sentinel-row"',
      input: 'postgres://u:sentinel-row@h',
    })
    const error = new MillraceError('message-rejected', { topic: 't', partition: 1, offset: 2n, cause })
    assert.doesNotMatch(inspect(error, { depth: 9 }) + JSON.stringify(error) + error.stack, /sentinel-row/)
    assert.equal(describeError(error).cause?.sqlstate, '22001')
  })

  test('keeps only the beginning of a long reason', () => {
    const error = new MillraceError('message-rejected', { reason: 'x'.repeat(100_000) })
    assert.ok(error.message.length < 700)
    assert.ok(JSON.stringify(error).length < 3000)
  })

  test('ends at a cause that causes itself', () => {
    const cause = new Error('round')
    cause.cause = cause
    assert.ok(JSON.stringify(new MillraceError('internal', { cause })).length < 20_000)
  })
})
