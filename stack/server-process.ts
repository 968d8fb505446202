// A server that runs is known to the guard, and one that ended is known to have ended: nobody waits for a
// process that is gone, and nobody signals a process id that may belong to somebody else by now.
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { guardGone, guardProcess } from './guard.ts'

export interface ServerCommand {
  name: string
  file: string
  args: string[]
  env?: NodeJS.ProcessEnv
  cwd: string
  /** Standard output and error are appended to this file. */
  logFile: string
  /** Another user to run as; only root can ask for it. */
  identity?: { uid: number; gid: number } | undefined
}

export class ServerProcess {
  readonly pid: number
  readonly #command: ServerCommand
  readonly #ended: Promise<void>
  #running = true

  static async start(command: ServerCommand): Promise<ServerProcess> {
    const log = openSync(command.logFile, 'a')
    try {
      const child = spawn(command.file, command.args, {
        stdio: ['ignore', log, log],
        cwd: command.cwd,
        env: command.env ?? process.env,
        // A process group of its own: Ctrl-C in the terminal must not reach it before we end it in order.
        detached: true,
        ...command.identity,
      })
      await new Promise<void>((resolve, reject) => {
        child.once('spawn', resolve)
        child.once('error', reject)
      })
      return new ServerProcess(command, child)
    } finally {
      closeSync(log)
    }
  }

  private constructor(command: ServerCommand, child: ChildProcess) {
    this.#command = command
    this.pid = child.pid!
    guardProcess(this.pid)
    child.unref()
    this.#ended = new Promise((resolve) => {
      child.once('exit', () => {
        this.#running = false
        guardGone(this.pid)
        resolve()
      })
    })
  }

  get running(): boolean {
    return this.#running
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#running) process.kill(this.pid, signal)
  }

  /** Resolves when the process has ended, however it came to that. */
  whenEnded(): Promise<void> {
    return this.#ended
  }

  /** True once the process has ended, false when the deadline came first. */
  async ended(deadlineMs: number): Promise<boolean> {
    // The child does not keep this process alive; this timer does, for as long as somebody waits.
    const cancel = new AbortController()
    await Promise.race([
      this.#ended,
      delay(deadlineMs, undefined, { signal: cancel.signal }).catch(() => undefined),
    ])
    cancel.abort()
    return !this.#running
  }

  /** The given signals one after the other, each with its time, until the process has ended. */
  async end(...steps: [signal: NodeJS.Signals, deadlineMs: number][]): Promise<void> {
    for (const [signal, deadlineMs] of steps) {
      this.signal(signal)
      if (await this.ended(deadlineMs)) return
    }
    this.signal('SIGKILL')
    if (!(await this.ended(10_000))) throw new Error(`${this.#command.name} (pid ${this.pid}) does not end`)
  }

  /** Waits until `answers` resolves; throws with the end of the log when the process ends or time runs out. */
  async ready(answers: () => Promise<unknown>, deadlineMs: number): Promise<void> {
    const deadline = Date.now() + deadlineMs
    let last: unknown
    while (this.#running && Date.now() < deadline) {
      try {
        await answers()
        return
      } catch (error) {
        last = error
        await this.ended(50)
      }
    }
    const what = this.#running ? `did not answer within ${deadlineMs / 1000} s` : 'ended while starting'
    throw new Error(`${this.#command.name} ${what}:\n${tail(this.#command.logFile)}`, { cause: last })
  }
}

export function tail(logFile: string, lines = 15): string {
  return readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-lines).join('\n')
}
