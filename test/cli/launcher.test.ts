// bin/millrace under a Node that is too old: one copy of it says it needs Node 999 and finds the test's own Node
// where the project's would be. What is started is a program that tells what it got and waits for signals.

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { eventually } from '../support/eventually.ts'
import { environment, launcher } from '../support/millrace.ts'

const program = `
  export async function main(args, env) {
    const variables = Object.keys(env).filter((name) => /^MILLRACE/.test(name))
    console.log(JSON.stringify({ pid: process.pid, args, variables, options: process.execArgv, arenas: env.MALLOC_ARENA_MAX }))
    if (args[1] === '--end') return 0
    if (args[0] === 'exit') return Number(args[1])
    if (args[0] === 'die') process.kill(process.pid, 'SIGKILL')
    setInterval(() => {}, 1000)
    let count = 0
    return new Promise((resolve) => process.on('SIGTERM', () => {
      console.log('signals: ' + ++count)
      setTimeout(() => resolve(40 + count), 200)
    }).on('SIGUSR2', () => console.log('usr2')))
  }`

interface Package {
  engines?: string
  node?: boolean
}

/** What npm would install: no sources, only what was built. */
function packageFor(t: TestContext, { engines = '>=999.1.0', node = true }: Package = {}): string {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-launcher-'))
  t.after(() => rmSync(folder, { recursive: true }))
  cpSync(dirname(launcher), join(folder, 'bin'), { recursive: true })
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module', engines: { node: engines } }))
  mkdirSync(join(folder, 'dist/cli'), { recursive: true })
  writeFileSync(join(folder, 'dist/cli/main.js'), program)
  if (node) {
    mkdirSync(join(folder, 'node_modules/node/bin'), { recursive: true })
    writeFileSync(join(folder, 'node_modules/node/package.json'), '{"name":"node","version":"24.0.0"}')
    symlinkSync(process.execPath, join(folder, 'node_modules/node/bin/node'))
  }
  return join(folder, 'bin/millrace')
}

class Launched {
  readonly child: ChildProcess
  readonly closed: Promise<[code: number | null, signal: NodeJS.Signals | null]>
  output = ''

  constructor(t: TestContext, path: string, args: string[], env: Record<string, string> = {}) {
    this.child = spawn(process.execPath, [path, ...args], { env: environment(env) })
    this.child.stdout!.setEncoding('utf8').on('data', (text) => (this.output += text))
    this.child.stderr!.setEncoding('utf8').on('data', (text) => (this.output += text))
    this.closed = once(this.child, 'close') as typeof this.closed
    t.after(() => this.child.kill('SIGKILL'))
  }

  async wrote(text: string): Promise<void> {
    await eventually(`${text} in ${this.output}`, () => this.output.includes(text))
  }

  get facts(): { pid: number; args: string[]; variables: string[]; options: string[]; arenas?: string } {
    return JSON.parse(this.output.split('\n')[0]!)
  }
}

describe('the launcher', () => {
  test('runs what was built itself when its Node is new enough', async (t) => {
    const launched = new Launched(t, packageFor(t, { engines: '>=18.0.0', node: false }), ['exit', '7'])
    assert.deepEqual(await launched.closed, [7, null])
    assert.equal(launched.facts.pid, launched.child.pid)
  })

  test('hands over to the Node that the project brings when its own is too old', async (t) => {
    const args = ['exit', '7', 'two words', '', '--x=*']
    const launched = new Launched(t, packageFor(t), args)
    assert.deepEqual(await launched.closed, [7, null])
    assert.notEqual(launched.facts.pid, launched.child.pid)
    assert.deepEqual(launched.facts.args, args)
    assert.deepEqual(launched.facts.variables, [])
  })

  test('says what is missing when there is none', async (t) => {
    const launched = new Launched(t, packageFor(t, { node: false }), ['exit', '0'])
    assert.deepEqual(await launched.closed, [2, null])
    assert.match(
      launched.output,
      /^millrace: needs Node >=999\.1\.0, this is \d+\.\d+\.\d+: install a newer one, .*\n$/,
    )
  })

  test('passes each signal on once', async (t) => {
    const launched = new Launched(t, packageFor(t), ['wait'])
    await launched.wrote('pid')
    launched.child.kill('SIGUSR2')
    await launched.wrote('usr2')
    launched.child.kill('SIGTERM')
    assert.deepEqual(await launched.closed, [41, null])
  })

  test('ends as its program ended', async (t) => {
    const launched = new Launched(t, packageFor(t), ['die'])
    assert.deepEqual(await launched.closed, [null, 'SIGKILL'])
  })

  test('takes its program with it when it is killed', async (t) => {
    const launched = new Launched(t, packageFor(t), ['wait'])
    await launched.wrote('pid')
    launched.child.kill('SIGKILL')
    // Standard output closes when the last process that holds it has ended.
    assert.deepEqual(await launched.closed, [null, 'SIGKILL'])
  })

  test('runs a daemon with the options that keep its memory small, as the same process', async (t) => {
    const launched = new Launched(t, packageFor(t, { engines: '>=18.0.0' }), ['run', '--end', 'a b'])
    assert.deepEqual(await launched.closed, [0, null])
    const { pid, args, options, arenas } = launched.facts
    assert.deepEqual([args, options, arenas], [['run', '--end', 'a b'], ['--max-semi-space-size=8'], '1'])
    assert.equal(pid, launched.child.pid)
  })

  test('gives these options to the Node that the project brings, too', async (t) => {
    const launched = new Launched(t, packageFor(t), ['run', '--end'])
    assert.deepEqual(await launched.closed, [0, null])
    const { options, arenas } = launched.facts
    assert.deepEqual([options, arenas], [['--max-semi-space-size=8'], '1'])
  })

  test("leaves the user's own options, and other commands, alone", async (t) => {
    const path = packageFor(t, { engines: '>=18.0.0' })
    const own = new Launched(t, path, ['run', '--end'], { NODE_OPTIONS: '--max-semi-space-size=32' })
    assert.deepEqual(await own.closed, [0, null])
    assert.deepEqual(own.facts.options, [])
    const other = new Launched(t, path, ['status', '--end'])
    assert.deepEqual(await other.closed, [0, null])
    assert.deepEqual(other.facts.options, [])
  })
})
