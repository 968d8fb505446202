// The demo runs the program that users run: bin/millrace, by the Node that runs this.
import { type ChildProcess, spawn } from 'node:child_process'
import { openSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { guardGone, guardProcess } from '../stack/guard.ts'
import { StackProblem } from '../stack/problem.ts'
import { tail } from '../stack/server-process.ts'

const launcher = fileURLToPath(new URL('../bin/millrace', import.meta.url))

/** Runs a command to its end and returns what it wrote. */
export async function millrace(args: string[], databaseUrl: string): Promise<string> {
  const child = spawn(process.execPath, [launcher, ...args], {
    env: { ...process.env, DATABASE_URL: databaseUrl },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text) => (output += text))
  child.stderr.setEncoding('utf8').on('data', (text) => (output += text))
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  if (code !== 0) throw new StackProblem(`millrace ${args[0]} failed:\n${output.trimEnd()}`)
  return output
}

export class Daemon {
  readonly #child: ChildProcess
  readonly #logFile: string
  readonly ended: Promise<void>

  constructor(databaseUrl: string, logFile: string) {
    const log = openSync(logFile, 'a')
    this.#logFile = logFile
    this.#child = spawn(process.execPath, [launcher, 'run'], {
      env: { ...process.env, DATABASE_URL: databaseUrl },
      stdio: ['ignore', log, log],
      // Ctrl-C in the terminal is for the demo, which then ends the daemon in order.
      detached: true,
    })
    const pid = this.#child.pid
    if (pid) guardProcess(pid)
    this.ended = new Promise((resolve) => {
      this.#child.once('error', () => resolve())
      this.#child.once('exit', () => {
        guardGone(pid!)
        resolve()
      })
    })
  }

  /** The end of its log, for when it ended by itself. */
  lastWords(): string {
    return tail(this.#logFile)
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGTERM')
    const patience = setTimeout(() => this.#child.kill('SIGKILL'), 10_000)
    await this.ended
    clearTimeout(patience)
  }
}
