// The daemon reconciles: it looks at what SQL wants at each notification and every now and then. Its connection to
// PostgreSQL may come and go; what runs looks after itself meanwhile.

import { randomUUID } from 'node:crypto'
import type { Config } from '../config/config.ts'
import { ConsoleServer } from '../console/server.ts'
import { MillraceError } from '../errors.ts'
import { ChunkPool } from '../formats/chunk-pool.ts'
import { MemoryBudget } from '../inbound/memory-budget.ts'
import { ResponsePool } from '../kafka/response-pool.ts'
import type { Logger } from '../log.ts'
import { Backoff } from '../pipeline/backoff.ts'
import { Bell } from '../pipeline/bell.ts'
import { pause } from '../pipeline/interruption.ts'
import { databaseOutage, Outages, postgresAway } from '../pipeline/outage.ts'
import type { Session } from '../postgres/session.ts'
import { Connections } from './connections.ts'
import { checkRole, isSuperuser, matchSchema, readInstance } from './identity.ts'
import { keepReporting } from './reporting.ts'
import { Reports } from './reports.ts'
import { Vitals } from './vitals.ts'
import { Whereabouts } from './whereabouts.ts'
import { Work } from './work.ts'

/** Held, shared, by every connected daemon: SQL looks for it to tell whether one is there. */
const presenceLock = 'SELECT pg_catalog.pg_try_advisory_lock_shared(1298756723, 1) AS held'

export interface RunningDaemon {
  /** Finishes the batches in hand, commits and lets go of everything. */
  stop(): Promise<void>
  /** Settles when the daemon has ended; rejects when it cannot go on. */
  done: Promise<void>
}

/**
 * Starts at once and waits for PostgreSQL and Kafka as long as it takes.
 * @throws MillraceError http-listen-failed
 */
export async function startDaemon(config: Config, log: Logger): Promise<RunningDaemon> {
  const daemon = new Daemon(config, log)
  await daemon.openConsole()
  const done = daemon.run()
  done.catch(() => {})
  return { stop: () => daemon.stop(), done }
}

class Daemon {
  readonly #config: Config
  readonly #log: Logger
  readonly #id = randomUUID()
  readonly #stop = new AbortController()
  readonly #bell = new Bell()
  readonly #outages = new Outages()
  readonly #whereabouts: Whereabouts
  readonly #connections: Connections
  readonly #reports: Reports
  readonly #vitals: Vitals
  readonly #work: Work
  #console: ConsoleServer | null = null
  #ended = Promise.withResolvers<void>()

  constructor(config: Config, log: Logger) {
    const { memoryBudget, reconcileInterval } = config.daemon
    this.#config = config
    this.#log = log
    this.#whereabouts = new Whereabouts(log)
    this.#connections = new Connections({
      database: config.database,
      whereabouts: this.#whereabouts,
      watch: (use, opening) => this.#vitals.noteOpening(use, opening),
      onRefused: () => this.#bell.ring(),
    })
    const { shared, sessions } = this.#connections
    const budget = new MemoryBudget(memoryBudget)
    const chunks = new ChunkPool(Math.floor(memoryBudget / 8))
    const responses = new ResponsePool(Math.floor(memoryBudget / 8), memoryBudget)
    this.#reports = new Reports(this.#id, shared)
    this.#vitals = new Vitals({
      sessions,
      budget,
      reconcileInterval,
      pipelineOf: (consumer) => this.#work.pipelineOf(consumer),
      sending: () => this.#work.sending,
    })
    this.#work = new Work({
      config,
      daemonId: this.#id,
      shared: { shared, sessions, chunks, budget, responses },
      whereabouts: this.#whereabouts,
      vitals: this.#vitals,
      reports: this.#reports,
      outages: this.#outages,
      log,
      onEnd: () => this.#bell.ring(),
      openRelay: () => this.#connections.openRelay(),
    })
  }

  /** @throws MillraceError http-listen-failed */
  async openConsole(): Promise<void> {
    const { listen, partitions } = this.#config.http
    if (!listen) return
    this.#console = await ConsoleServer.open({ listen, partitions }, this.#vitals, this.#log)
    this.#log.info({ address: this.#console.address }, 'serving /metrics, /healthz and /readyz')
  }

  /** Runs until stopped. @throws what no waiting can mend */
  async run(): Promise<void> {
    const backoff = new Backoff(this.#config.retry.min, this.#config.retry.max)
    const reporting = keepReporting({
      reports: this.#reports,
      work: this.#work,
      whereabouts: this.#whereabouts,
      settings: this.#config.daemon,
      log: this.#log,
      signal: this.#stop.signal,
    })
    try {
      while (!this.#stop.signal.aborted) {
        try {
          await this.#reconcileWhileConnected(backoff)
        } catch (error) {
          if (this.#stop.signal.aborted) break
          this.#vitals.noteTrouble(error)
          if (isFatal(error)) throw error
          this.#sayAway(error)
          await pause(backoff.next(), this.#stop.signal)
        }
      }
    } finally {
      this.#stop.abort()
      this.#vitals.noteStopping()
      await this.#work.end()
      await reporting
      await this.#reports.unregister().catch(() => {})
      await this.#connections.close()
      await this.#console?.close()
      this.#ended.resolve()
    }
  }

  /** Once for each thing that is wrong. */
  #sayAway(error: unknown): void {
    const outage = databaseOutage(error) ?? postgresAway
    if (this.#outages.begin(outage, this.#id)) this.#log.warn({ err: error }, outage.message)
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    this.#vitals.noteStopping()
    this.#bell.ring()
    await this.#ended.promise
  }

  /** One connection's life: announce, then reconcile at each notification and every now and then. */
  async #reconcileWhileConnected(backoff: Backoff): Promise<void> {
    const session = await this.#connections.openListener()
    try {
      this.#vitals.noteConnected()
      await matchSchema(session, this.#log)
      await checkRole(session)
      this.#vitals.noteSchemaMatched()
      let lost: Error | null = null
      const instance = await readInstance(session)
      await session.listen(
        'millrace',
        () => this.#bell.ring(),
        (error) => {
          lost = error
          this.#bell.ring()
        },
      )
      if (this.#whereabouts.arrive(instance)) await this.#beginAnew()
      let announced = false
      while (!this.#stop.signal.aborted) {
        if (lost) throw lost
        this.#whereabouts.check()
        const { installation, anew, error } = await this.#whereabouts.look(session)
        if (anew) await this.#work.end()
        if (error) this.#vitals.noteForeign(error)
        if (installation !== null) {
          if (!announced) await this.#announce(session, backoff)
          announced = true
          await this.#work.reconcile(session, installation)
        }
        await this.#bell.sleep(this.#config.daemon.reconcileInterval)
      }
    } finally {
      this.#vitals.noteDisconnected()
      session.close()
    }
  }

  /** What was begun on another server, or before this one was started again, is given up there. */
  async #beginAnew(): Promise<void> {
    this.#log.info('PostgreSQL was started again, or another server has taken its place: beginning anew')
    const stopped = this.#work.end()
    this.#connections.abandon()
    await stopped
  }

  /** Lets SQL see that a daemon is there. */
  async #announce(session: Session, backoff: Backoff): Promise<void> {
    const [presence] = await session.query<{ held: boolean }>(presenceLock)
    if (!presence?.held) {
      this.#log.warn('another session holds the lock by which SQL sees that a daemon is there')
    }
    await this.#reports.register(session.pid)
    this.#log.info(
      { daemon: this.#id, user: session.user, server: session.serverVersion },
      'connected to PostgreSQL',
    )
    backoff.reset()
    const over = this.#outages.end(this.#id)
    if (over.length > 0) this.#log.info({ over }, 'recovered')
    if (await isSuperuser(session)) {
      this.#log.warn(
        'the daemon runs as a superuser; in production give it a role of its own (docs/security.md)',
      )
    }
  }
}

/** What waiting does not mend: a person has to install, upgrade or grant something. */
const fatalCodes: readonly string[] = [
  'schema-missing',
  'schema-newer',
  'not-daemon-role',
  'database-refused',
  'pooler-transaction-mode',
]

function isFatal(error: unknown): boolean {
  return error instanceof MillraceError && fatalCodes.includes(error.code)
}
