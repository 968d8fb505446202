// FAULTS F39: a sentinel secret is absent from logs and errors, whichever way it got near them.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { inspect } from 'node:util'
import { loadConfig } from '../src/config/config.ts'
import { MillraceError } from '../src/errors.ts'
import { createLog } from '../src/log.ts'
import { hide, scrub } from '../src/secret.ts'

const sentinel = 'sentinel"s3cret/ä#'
const encoded = encodeURIComponent(sentinel)
const url = `postgresql://millrace:${encoded}@db.example/shop`

const config = loadConfig({
  env: {
    DATABASE_URL: url,
    MILLRACE_KAFKA_SASL_MECHANISM: 'SCRAM-SHA-512',
    MILLRACE_KAFKA_SASL_USERNAME: 'u',
    MILLRACE_KAFKA_SASL_PASSWORD: sentinel,
  },
})
const secret = config.clusters.get('default')!.sasl!.password

function assertHidden(text: string): void {
  assert.doesNotMatch(text, /s3cret/)
  assert.ok(text.length > 0)
}

function logged(format: 'json' | 'human', write: (log: ReturnType<typeof createLog>) => void): string {
  let output = ''
  write(createLog({ format, level: 'trace', write: (line) => (output += line) }))
  return output
}

describe('a secret', () => {
  test('is given by reveal() and by nothing else', () => {
    assert.equal(secret.reveal(), sentinel)
    for (const shown of [
      String(secret),
      `${secret}`,
      secret + '',
      JSON.stringify({ secret }),
      inspect(secret, { showHidden: true, depth: 9, customInspect: false }),
      inspect({ deep: { deeper: [secret] } }, { depth: 9, showHidden: true }),
      Object.values(secret).join() + Object.getOwnPropertyNames(secret).join() + '.',
    ]) {
      assertHidden(shown)
    }
  })

  test('is not in a configuration that is printed', () => {
    assertHidden(inspect(config, { depth: 9, showHidden: true }))
    assertHidden(JSON.stringify({ ...config, clusters: [...config.clusters] }))
  })

  test('is not in an error: as a fact, in the cause, or hanging on the cause', () => {
    const cause = Object.assign(new Error(`cannot log in with ${sentinel} at ${url}`), {
      input: url,
      sasl: sentinel,
    })
    const error = new MillraceError('database-unreachable', { database: url, password: secret, cause })
    assertHidden(JSON.stringify(error))
    assertHidden(inspect(error, { depth: 9, showHidden: true }))
    assertHidden(scrub(error.message))
    assertHidden(new MillraceError('kafka-unreachable', { cause }).message)
  })

  for (const format of ['json', 'human'] as const) {
    test(`is not in a line of the ${format} log, wherever the caller put it`, () => {
      const cause = Object.assign(new Error(`refused: ${sentinel}`), {
        connection: { url, password: sentinel },
      })
      for (const line of [
        logged(format, (log) => log.info({ config }, 'started')),
        logged(format, (log) => log.info({ url, list: [sentinel] }, `connecting to ${url}`)),
        logged(format, (log) => log.error({ err: cause }, `failed: ${sentinel}`)),
        logged(format, (log) => log.error(cause)),
        logged(format, (log) => log.child({ secret, sentinel }).warn({ deep: { url } }, 'child')),
      ]) {
        assertHidden(line)
      }
    })
  }
})

describe('scrubbing', () => {
  test('takes the password out of any URL, known or not', () => {
    for (const [given, clean] of [
      ['postgres://u:pw@h/d', 'postgres://u:[secret]@h/d'],
      ['"amqp://:pw@h" kafka://u@h', '"amqp://:[secret]@h" kafka://u@h'],
      ['postgres://u:p@w:x@h/d and http://h:80/', 'postgres://u:[secret]@h/d and http://h:80/'],
      ['postgres:///d?user=u&password=pw&x=1', 'postgres:///d?user=u&password=[secret]&x=1'],
      ['http://h:9092,h2:9092 is no secret', 'http://h:9092,h2:9092 is no secret'],
    ] as const) {
      assert.equal(scrub(given), clean)
    }
  })

  test('leaves words alone that somebody also uses as a short password', () => {
    hide('test')
    assert.equal(scrub('a test'), 'a test')
  })

  // The first pattern took time that grew with the square of the length: 11 s for 100 kB.
  test('finds a password in a long line', () => {
    const long = ' x://'.repeat(4000)
    const clean = scrub(`${long} postgres://user:hunter2@host/db${long}`)
    assert.ok(!clean.includes('hunter2'))
    assert.ok(clean.startsWith(long) && clean.endsWith(`@host/db${long}`))
  })
})
