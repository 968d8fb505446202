// One line is one event, for a machine as for a person, whatever is in it.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { MillraceError } from '../src/errors.ts'
import { createLog, type LogOptions } from '../src/log.ts'

function logged(options: LogOptions, write: (log: ReturnType<typeof createLog>) => void): string {
  let output = ''
  write(createLog({ ...options, write: (line) => (output += line) }))
  return output
}

const offset = 9007199254740993n

describe('the JSON log', () => {
  test('has level, time, message and facts by name', () => {
    const line = JSON.parse(logged({}, (log) => log.child({ topic: 't' }).warn({ partition: 3 }, 'slow')))
    assert.match(line.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    assert.deepEqual(
      { ...line, time: 0, pid: 0 },
      { level: 'warn', time: 0, pid: 0, topic: 't', partition: 3, msg: 'slow' },
    )
  })

  test('has the code, facts, hint and cause of an error', () => {
    const cause = Object.assign(new Error('invalid input'), {
      severity: 'ERROR',
      code: '22P02',
      detail: 'row',
    })
    const err = new MillraceError('message-rejected', { topic: 't', partition: 0, offset, cause })
    const line = JSON.parse(logged({}, (log) => log.error({ err }, 'stopped')))
    assert.equal(line.err.code, 'message-rejected')
    assert.deepEqual(line.err.facts, { topic: 't', partition: 0, offset: String(offset) })
    assert.equal(line.err.cause.sqlstate, '22P02')
    assert.ok(line.err.hint && !('detail' in line.err.cause))
  })

  test('keeps every digit of an offset', () => {
    assert.match(
      logged({}, (log) => log.info({ offset }, 'x')),
      /"offset":9007199254740993,/,
    )
  })

  test('is one line for each event', () => {
    const lines = logged({}, (log) => log.info({ name: 'a\nb' }, 'c\nd'))
    assert.equal(lines.trimEnd().split('\n').length, 1)
  })
})

describe('the human log', () => {
  test('has the message first, then the facts', () => {
    const line = logged({ format: 'human' }, (log) => log.info({ topic: 't', name: 'a b', offset }, 'began'))
    assert.match(
      line,
      /^\d\d:\d\d:\d\d\.\d{3} INFO {2}began topic=t name="a b" offset="?9007199254740993"?\n$/,
    )
  })

  test('has an error with its code and hint below', () => {
    const err = new MillraceError('schema-missing')
    const text = logged({ format: 'human' }, (log) => log.error({ err }, 'stopped'))
    assert.match(text, /ERROR stopped\n {4}\[schema-missing\] the schema .*\n {4}hint: Install it with/)
    assert.doesNotMatch(text, /\bat /)
  })

  test('has the reason of an error once', () => {
    const err = new MillraceError('kafka-unreachable', { cause: new Error('refused') })
    const text = logged({ format: 'human' }, (log) => log.warn({ err }, 'away'))
    assert.equal(text.match(/refused/g)?.length, 1)
    assert.doesNotMatch(text, /\bat /)
  })

  test('has the stack of an error that nobody foresaw', () => {
    assert.match(
      logged({ format: 'human' }, (log) => log.error({ err: new TypeError('x') }, 'y')),
      /log\.test\.ts/,
    )
  })

  test('lets nobody else move the cursor', () => {
    const text = logged({ format: 'human' }, (log) =>
      log.info({ topic: '\x1b[2J\x9b1m' }, '\x1b]0;title\x07'),
    )
    assert.doesNotMatch(text, /[\x1b\x9b\x07]/)
  })
})

test('what is below the level is not written', () => {
  const write = (log: ReturnType<typeof createLog>): void => {
    log.debug('d')
    log.info('i')
    log.warn('w')
  }
  assert.equal(logged({ level: 'warn' }, write).trimEnd().split('\n').length, 1)
  assert.equal(logged({ level: 'silent' }, write), '')
})
