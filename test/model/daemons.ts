// The daemons of a run. Those that are to die or to fall asleep at a failpoint are a kind of their own: when they do, nobody
// can say beforehand.
import assert from 'node:assert/strict'
import type { Cleanup } from '../support/cleanup.ts'
import { type Daemon, startDaemon } from '../support/daemon.ts'
import { promptSettings } from '../support/flow.ts'

/** Characters of a daemon's log that are shown when a run fails. */
const lastWords = 3000

export class Daemons {
  readonly awake: Daemon[] = []
  readonly asleep: Daemon[] = []
  /** How many ended in which way. */
  readonly kills: Record<string, number> = {}
  #doomed: { daemon: Daemon; failpoint: string }[] = []
  readonly #t: Cleanup
  readonly #url: string
  readonly #log: (daemon: Daemon) => void

  /** @param log is told of each daemon when it has ended */
  constructor(t: Cleanup, url: string, log: (daemon: Daemon) => void) {
    this.#t = t
    this.#url = url
    this.#log = log
  }

  count(what: string): void {
    this.kills[what] = (this.kills[what] ?? 0) + 1
  }

  async start(): Promise<void> {
    this.awake.push(await this.#start({}))
  }

  /** One that dies (`crash`) or falls asleep (`stop`) at its n-th passage. */
  async startDoomed(failpoint: string, action: 'crash' | 'stop', passage: number): Promise<void> {
    await this.endDoomed()
    const daemon = await this.#start({ MILLRACE_FAILPOINTS: `${failpoint}=${action}@${passage}` })
    this.#doomed.push({ daemon, failpoint })
    void daemon.exited.then(({ signal }) => {
      if (signal === 'SIGKILL' && this.#doomed.some((one) => one.daemon === daemon))
        this.count(`daemon at ${failpoint}`)
    })
  }

  async kill(daemon: Daemon | undefined): Promise<void> {
    if (!daemon) return
    daemon.kill('SIGKILL')
    await daemon.exited
    this.count('daemon')
    this.#log(daemon)
  }

  async stop(daemon: Daemon): Promise<void> {
    await daemon.waitForLog('connected to PostgreSQL')
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null }, daemon.output().slice(-lastWords))
    this.count('daemon by SIGTERM')
    this.#log(daemon)
  }

  async endDoomed(): Promise<void> {
    const doomed = this.#doomed
    this.#doomed = []
    for (const { daemon } of doomed) {
      daemon.kill('SIGKILL')
      await daemon.exited
      this.#log(daemon)
    }
  }

  sleep(): void {
    const daemon = this.awake.pop()
    if (!daemon) return
    daemon.kill('SIGSTOP')
    this.asleep.push(daemon)
    this.count('daemon by SIGSTOP')
  }

  wake(): void {
    const daemon = this.asleep.shift()
    if (!daemon) return
    daemon.kill('SIGCONT')
    this.awake.push(daemon)
  }

  /** None of those that are awake has ended by itself. */
  async assertAlive(): Promise<void> {
    for (const daemon of [...this.awake, ...this.asleep]) {
      const ended = await Promise.race([
        daemon.exited,
        new Promise<null>((resolve) => setImmediate(resolve, null)),
      ])
      if (ended)
        throw new Error(`a daemon ended with ${JSON.stringify(ended)}:\n${daemon.output().slice(-lastWords)}`)
    }
  }

  /** What the living ones said last. */
  lastWords(): string {
    const living = [...this.awake, ...this.asleep, ...this.#doomed.map(({ daemon }) => daemon)]
    return living.map((daemon) => `daemon ${daemon.pid}:\n${daemon.output().slice(-lastWords)}`).join('\n')
  }

  logAll(): void {
    for (const daemon of [...this.awake, ...this.asleep]) this.#log(daemon)
  }

  #start(env: Record<string, string>): Promise<Daemon> {
    return startDaemon(this.#t, {
      url: this.#url,
      env: { ...promptSettings, MILLRACE_LOG_LEVEL: process.env.MODEL_LOG_LEVEL ?? 'info', ...env },
    })
  }
}
