// The program as its users start it: what is not understood is refused before anything is done, with a code, exit
// code 2, and without repeating what may be a secret.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { environment, launcher, millrace } from '../support/millrace.ts'

const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
const hint = 'hint: Run `millrace help` or `millrace COMMAND --help`.\n'

describe('millrace', () => {
  for (const args of [['help'], ['--help'], ['-h']]) {
    test(`${args.join(' ')} shows every command`, async () => {
      const { stdout, stderr } = await millrace(args)
      for (const command of ['install', 'uninstall', 'run', 'status', 'help', 'version']) {
        assert.match(stdout, new RegExp(`^ {2}${command}\\b`, 'm'))
      }
      assert.equal(stderr, '')
    })
  }

  for (const args of [['version'], ['--version']]) {
    test(`${args.join(' ')} is the package's`, async () => {
      assert.equal((await millrace(args)).stdout, `millrace ${manifest.version}\n`)
    })
  }

  for (const command of ['install', 'uninstall', 'run', 'status']) {
    for (const args of [
      [command, '--help'],
      [command, '-h'],
      ['help', command],
    ]) {
      test(`${args.join(' ')} shows its options`, async () => {
        const { stdout } = await millrace(args)
        assert.match(stdout, new RegExp(`^millrace ${command}: .*\n\nUsage: millrace ${command} `))
        assert.match(stdout, /^ {2}--database URL {2}/m)
      })
    }
  }

  test('without a command shows the help as an error', async () => {
    const { stdout, stderr } = await millrace([], { expect: 2 })
    assert.equal(stdout, '')
    assert.match(stderr, /^Usage: millrace COMMAND/m)
  })

  for (const [args, message] of [
    [['statsu'], 'no command statsu (did you mean status?)'],
    [['frobnicate'], 'no command frobnicate'],
    [['constructor'], 'no command constructor'],
    [['help', 'isntall'], 'no command isntall (did you mean install?)'],
    [['--databse=postgres://u:sentinel@h/d'], 'no option --databse'],
    [
      ['run', '--databse', 'postgres://u:sentinel@h/d'],
      'run: no option --databse (did you mean --database?)',
    ],
    [['run', '--databse=postgres://u:sentinel@h/d'], 'run: no option --databse (did you mean --database?)'],
    [['run', 'postgres://u:sentinel@h/d'], 'run: an argument that belongs to no option'],
    [['run', '--', '-x', 'y'], 'run: 2 arguments that belong to no option'],
    [['run', '--database'], 'run: --database needs a value (--database URL)'],
    [['run', '--database', '--config', 'x'], 'run: --database needs a value (--database URL)'],
    [['run', '--database='], 'run: --database needs a value (--database URL)'],
    [['run', '--config', 'a', '--config', 'b'], 'run: --config is given twice'],
    [['status', '--json=yes'], 'status: --json takes no value'],
    [['status', '-x'], 'status: no option -x'],
    [['status', '--constructor'], 'status: no option --constructor'],
  ] as const) {
    test(`${args.join(' ')} is refused`, async () => {
      const { stdout, stderr } = await millrace([...args], { expect: 2 })
      assert.equal(stderr, `millrace: usage: ${message}\n${hint}`)
      assert.equal(stdout, '')
    })
  }

  for (const command of ['run', 'status']) {
    test(`${command} is refused with every problem of its configuration`, async () => {
      const env = {
        MILLRACE_LOG_LEVL: 'info',
        MILLRACE_RETRY_MIN: 'soon',
        MILLRACE_KAFKA_SASL_PASSWORD: 'sentinel',
      }
      const { stdout, stderr } = await millrace([command, '--database', 'sentinel'], { env, expect: 2 })
      assert.match(stderr, /^millrace: config-invalid: the configuration cannot be used:\n {2}/)
      for (const part of [
        'MILLRACE_LOG_LEVEL?',
        'MILLRACE_RETRY_MIN: "soon"',
        '--database: must be',
        'cluster default: ',
      ]) {
        assert.ok(stderr.includes(part), part)
      }
      assert.doesNotMatch(stdout + stderr, /sentinel/)
    })
  }

  test('ends quietly when nobody reads what it says', () => {
    const { stderr, status } = spawnSync('sh', ['-c', '"$0" "$1" help | true', process.execPath, launcher], {
      env: environment(),
      encoding: 'utf8',
    })
    assert.deepEqual({ stderr, status }, { stderr: '', status: 0 })
  })
})
