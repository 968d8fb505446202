// A daemon under test is a process of its own, so that it can be killed and stopped, and never outlives its test.
import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import memory from '../../bin/memory.json' with { type: 'json' }
import { guardGone, guardProcess } from '../../stack/guard.ts'
import { afterwards, type Cleanup } from './cleanup.ts'
import { eventually } from './eventually.ts'
import { environment, launcher } from './millrace.ts'

export interface Exit {
  code: number | null
  signal: NodeJS.Signals | null
}

export interface Daemon {
  pid: number
  /** Default SIGTERM. SIGSTOP and SIGCONT are signals too. */
  kill(signal?: NodeJS.Signals): void
  exited: Promise<Exit>
  /** SIGTERM, then its exit. */
  stop(): Promise<Exit>
  /** Everything it has written to standard output and error so far. */
  output(): string
  /** To standard output alone. */
  results(): string
  waitForLog(text: string | RegExp, options?: { deadline?: number }): Promise<void>
}

export interface DaemonOptions {
  url: string
  env?: Record<string, string | undefined>
  /** Written to a configuration file. */
  config?: object
  args?: string[]
  /** Default: run. */
  command?: string
}

/** With the options that the launcher would start it again for; test/cli/launcher.test.ts leaves that to it. */
export async function startDaemon(t: Cleanup, options: DaemonOptions): Promise<Daemon> {
  const env: Record<string, string | undefined> = { DATABASE_URL: options.url, ...options.env }
  if (options.config) env.MILLRACE_CONFIG = await configurationFile(t, options.config)
  const child = spawn(
    process.execPath,
    [...memory.nodeOptions, launcher, options.command ?? 'run', ...(options.args ?? [])],
    { stdio: ['ignore', 'pipe', 'pipe'], env: environment({ ...memory.environment, ...env }) },
  )
  let output = ''
  let results = ''
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text
    results += text
  })
  child.stderr.setEncoding('utf8').on('data', (text) => (output += text))
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve)
    child.once('error', reject)
  })
  const pid = child.pid!
  guardProcess(pid)
  let running = true
  const exited = new Promise<Exit>((resolve) => {
    child.once('exit', () => {
      running = false
      guardGone(pid)
    })
    // Later than 'exit': by now all of its output has been read.
    child.once('close', (code, signal) => resolve({ code, signal }))
  })
  const kill = (signal: NodeJS.Signals = 'SIGTERM'): void => {
    if (running) process.kill(pid, signal)
  }
  afterwards(t, async () => {
    // A stopped process is killed as well by SIGKILL as a running one.
    kill('SIGKILL')
    await exited
  })
  return {
    pid,
    kill,
    exited,
    stop: async () => {
      kill('SIGTERM')
      return exited
    },
    output: () => output,
    results: () => results,
    waitForLog: async (text, waiting) => {
      const found = (): boolean => (typeof text === 'string' ? output.includes(text) : text.test(output))
      await eventually(`log line ${text}`, () => found(), waiting).catch((error) => {
        throw new Error(`${error.message}; the daemon wrote:\n${output}`)
      })
    },
  }
}

async function configurationFile(t: Cleanup, config: object): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-test-'))
  afterwards(t, () => rm(folder, { recursive: true, force: true }))
  const path = join(folder, 'millrace.json')
  await writeFile(path, JSON.stringify(config))
  return path
}
