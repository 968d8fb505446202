// How a daemon ends, with a daemon that does as it is told: a real one stops too quickly for a second signal.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { eventually } from '../support/eventually.ts'
import { environment } from '../support/millrace.ts'

const serve = new URL('../../src/cli/serve.ts', import.meta.url)
const log = new URL('../../src/log.ts', import.meta.url)
const errors = new URL('../../src/errors.ts', import.meta.url)

/** Runs `serve` with the given body of `start`, and sends each signal once the log has the text before it. */
async function served(start: string, steps: [text: string, signal: NodeJS.Signals][] = [], timeout = 20_000) {
  const program = `
    import { serve } from '${serve}'
    import { createLog } from '${log}'
    import { MillraceError } from '${errors}'
    const log = createLog({ format: 'json' })
    const alive = setInterval(() => {}, 1000)
    const never = new Promise(() => {})
    process.exit(await serve(async () => { ${start} }, ${timeout}, log))`
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], { env: environment() })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text) => (output += text))
  child.stderr.setEncoding('utf8').on('data', (text) => (output += text))
  const closed = once(child, 'close')
  try {
    for (const [text, signal] of steps) {
      await eventually(`the log has ${text}: ${output}`, () => output.includes(text))
      child.kill(signal)
    }
    const [code] = await closed
    const lines = output.split('\n').filter((line) => line.startsWith('{'))
    return { code, output, lines: lines.map((line) => JSON.parse(line)) }
  } finally {
    child.kill('SIGKILL')
  }
}

const running = `log.info('running')`
const obedient = `let end; const done = new Promise((resolve) => { end = resolve })
  ${running}; return { done, stop: async () => { log.info('committing'); end() } }`
const stubborn = `${running}; return { done: never,
  stop: () => { setTimeout(() => log.info('committing'), 100); return never } }`

describe('a daemon', () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    test(`finishes what it has in hand after ${signal}, and exits with 0`, async () => {
      const { code, lines } = await served(obedient, [['running', signal]])
      assert.equal(code, 0)
      assert.deepEqual(
        lines.map(({ msg }) => msg),
        ['running', 'stopping', 'committing', 'stopped'],
      )
    })
  }

  for (const [first, second, expected] of [
    ['SIGTERM', 'SIGTERM', 143],
    ['SIGINT', 'SIGINT', 130],
    ['SIGINT', 'SIGTERM', 143],
  ] as const) {
    test(`exits with ${expected} at once when ${second} follows ${first}`, async () => {
      const { code } = await served(stubborn, [
        ['running', first],
        ['committing', second],
      ])
      assert.equal(code, expected)
    })
  }

  test('takes one signal that arrives twice, by itself and by its process group, for one', async () => {
    const { code, lines } = await served(obedient, [
      ['running', 'SIGTERM'],
      ['running', 'SIGTERM'],
    ])
    assert.equal(code, 0)
    assert.equal(lines.at(-1).msg, 'stopped')
  })

  test('that does not stop in time is left, with a code', async () => {
    const { code, lines } = await served(stubborn, [['running', 'SIGTERM']], 50)
    assert.equal(code, 1)
    assert.equal(lines.at(-1).err.code, 'shutdown-timeout')
  })

  test('that is still starting exits with 0 when it is told to', async () => {
    const { code } = await served(`${running}; return never`, [['running', 'SIGTERM']])
    assert.equal(code, 0)
  })

  for (const [error, expected] of [
    ['database-unreachable', 3],
    ['schema-missing', 4],
    ['internal', 1],
  ] as const) {
    for (const [when, start] of [
      ['starts', `throw new MillraceError('${error}')`],
      ['runs', `return { done: Promise.reject(new MillraceError('${error}')), stop: async () => {} }`],
    ] as const) {
      test(`that meets ${error} when it ${when} logs it once and exits with ${expected}`, async () => {
        const { code, lines } = await served(start)
        assert.equal(code, expected)
        assert.deepEqual(
          lines.map(({ level, err }) => [level, err.code]),
          [['fatal', error]],
        )
      })
    }
  }

  test('that fails while it stops says so', async () => {
    const start = `${running}; return { done: never, stop: async () => { throw new MillraceError('internal') } }`
    const { code, lines } = await served(start, [['running', 'SIGTERM']])
    assert.equal(code, 1)
    assert.equal(lines.at(-1).err.code, 'internal')
  })

  // Node would print the error with everything that hangs on it: pg hangs the row on it.
  for (const [what, defect] of [
    ['an error that nobody caught', 'setImmediate(() => { throw error })'],
    ['a rejection that nobody handled', 'Promise.reject(error)'],
  ] as const) {
    test(`dies of ${what}, and shows no more of it than of others`, async () => {
      const start = `const error = Object.assign(new Error('oops'), { severity: 'ERROR', code: '22P02', detail: 'sentinel' })
        ${defect}; return { done: never, stop: () => never }`
      const { code, output, lines } = await served(start)
      assert.equal(code, 1)
      assert.equal(lines.at(-1).err.code, 'internal')
      assert.equal(lines.at(-1).err.cause.message, 'oops')
      assert.doesNotMatch(output, /sentinel/)
    })
  }
})
