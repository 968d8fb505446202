// The daemon reconciles: it reads what SQL wants, compares it with what runs, and starts, stops or replaces
// pipelines. Its connection to PostgreSQL may come and go; the pipelines look after themselves meanwhile.

import { randomUUID } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import type { Config } from '../config/config.ts'
import { describeDatabase } from '../config/database-url.ts'
import { ConsoleServer } from '../console/server.ts'
import { MillraceError } from '../errors.ts'
import { ChunkPool } from '../formats/chunk-pool.ts'
import type { ConsumerSpec } from '../inbound/consumer.ts'
import { MemoryBudget } from '../inbound/memory-budget.ts'
import { Pipeline } from '../inbound/pipeline.ts'
import type { ClusterAccess } from '../kafka/access.ts'
import { ResponsePool } from '../kafka/response-pool.ts'
import type { Logger } from '../log.ts'
import { Backoff } from '../pipeline/backoff.ts'
import { databaseOutage, Outages, postgresAway } from '../pipeline/outage.ts'
import { Session } from '../postgres/session.ts'
import { SessionPool } from '../postgres/session-pool.ts'
import { SharedSession } from '../postgres/shared-session.ts'
import { Bell } from './bell.ts'
import { clusterAccess } from './cluster-access.ts'
import { readDesiredState } from './desired.ts'
import { Housekeeping } from './housekeeping.ts'
import { checkRole, isSuperuser, matchSchema, readInstance } from './identity.ts'
import { Reports } from './reports.ts'
import { Requests } from './requests.ts'
import { TopicPatterns } from './topic-patterns.ts'
import { Vitals } from './vitals.ts'
import { readWatermarks, Watcher } from './watcher.ts'
import { Whereabouts } from './whereabouts.ts'

/** Held, shared, by every connected daemon: SQL looks for it to tell whether one is there. */
const presenceLock = 'SELECT pg_catalog.pg_try_advisory_lock_shared(1298756723, 1) AS held'

/** Of the connections allowed, one listens and one serves the short statements. */
const ownConnections = 2

interface Running {
  pipeline: Pipeline
  /** Of the relation, when it began. */
  shape: string | undefined
  brokers: string
  ended: Promise<void>
}

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
  readonly #running = new Map<string, Running>()
  readonly #shared: SharedSession
  readonly #sessions: SessionPool
  readonly #chunks: ChunkPool
  readonly #budget: MemoryBudget
  readonly #responses: ResponsePool
  readonly #reports: Reports
  readonly #vitals: Vitals
  readonly #bell = new Bell()
  readonly #outages = new Outages()
  readonly #watcher = new Watcher()
  readonly #patterns: TopicPatterns
  readonly #housekeeping: Housekeeping
  readonly #requests: Requests
  #brokers = new Map<string, string[]>()
  #console: ConsoleServer | null = null
  readonly #whereabouts: Whereabouts
  #ended = Promise.withResolvers<void>()

  constructor(config: Config, log: Logger) {
    this.#config = config
    this.#log = log
    this.#whereabouts = new Whereabouts(log)
    this.#shared = new SharedSession(() => this.#openChecked('control'))
    const loading = { synchronous_commit: config.database.synchronousCommit }
    this.#sessions = new SessionPool(
      () => this.#openChecked('pump', loading),
      config.database.maxConnections - ownConnections,
    )
    this.#budget = new MemoryBudget(config.daemon.memoryBudget)
    this.#responses = new ResponsePool(Math.floor(config.daemon.memoryBudget / 4), config.daemon.memoryBudget)
    this.#chunks = new ChunkPool(Math.floor(config.daemon.memoryBudget / 4))
    this.#reports = new Reports(this.#id, this.#shared)
    this.#housekeeping = new Housekeeping(this.#sessions, log)
    this.#patterns = new TopicPatterns({
      runner: this.#shared,
      log,
      interval: config.kafka.metadataInterval,
      accessOf: (cluster) => this.#accessOf(cluster),
      forget: (report) => this.#reports.forget(report),
    })
    this.#requests = new Requests({
      daemonId: this.#id,
      shared: this.#shared,
      sessions: this.#sessions,
      chunks: this.#chunks,
      budget: this.#budget,
      responses: this.#responses,
      retry: config.retry,
      log,
      accessOf: (cluster) => this.#accessOf(cluster),
      onEnd: () => this.#bell.ring(),
    })
    this.#vitals = new Vitals({
      sessions: this.#sessions,
      budget: this.#budget,
      reconcileInterval: config.daemon.reconcileInterval,
      pipelineOf: (id) => this.#running.get(id)?.pipeline,
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
    const reporting = this.#keepReporting()
    try {
      while (!this.#stop.signal.aborted) {
        try {
          await this.#reconcileWhileConnected(backoff)
        } catch (error) {
          if (this.#stop.signal.aborted) break
          this.#vitals.noteTrouble(error)
          if (isFatal(error)) throw error
          this.#sayAway(error)
          await setTimeout(backoff.next(), undefined, { signal: this.#stop.signal }).catch(() => {})
        }
      }
    } finally {
      this.#stop.abort()
      this.#vitals.noteStopping()
      this.#watcher.stop()
      await this.#stopAll()
      await reporting
      await this.#reports.unregister().catch(() => {})
      this.#sessions.close()
      await this.#shared.close()
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

  /** Everything but the listener works only where the listener is, and only while the database is the recorded one. */
  async #openChecked(name: string, settings: Record<string, string> = {}): Promise<Session> {
    const session = await this.#open(name, settings)
    try {
      await this.#whereabouts.admit(session)
      return session
    } catch (error) {
      session.close()
      this.#bell.ring()
      throw error
    }
  }

  #open(name: string, settings: Record<string, string>, queryTimeout?: number): Promise<Session> {
    const url = this.#config.database.url.reveal()
    const { connectTimeout } = this.#config.database
    const database = describeDatabase(url)
    const options = { applicationName: `millrace ${name}`, connectTimeout, queryTimeout, database }
    // no wait for a lock is without an end: whoever holds it, the daemon says what it waits for and can be stopped
    return this.#vitals.noteOpening(name, Session.open(url, options, { lock_timeout: '10s', ...settings }))
  }

  /** One connection's life: announce, then reconcile at each notification and every now and then. */
  async #reconcileWhileConnected(backoff: Backoff): Promise<void> {
    // a server that vanished without a word does not answer: its connection would be silent for a quarter of an hour
    const session = await this.#open('listener', {}, 2 * this.#config.database.connectTimeout)
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
        if (anew) await this.#stopAll()
        if (error) this.#vitals.noteForeign(error)
        if (installation !== null) {
          if (!announced) await this.#announce(session, backoff)
          announced = true
          await this.#reconcile(session, installation)
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
    const stopped = this.#stopAll()
    this.#sessions.abandon()
    this.#shared.abandon()
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

  async #reconcile(session: Session, installationId: string): Promise<void> {
    const desired = await readDesiredState(session)
    this.#vitals.noteReconciled(desired)
    this.#brokers = desired.brokers
    const wanted = new Map(desired.consumers.map((spec) => [spec.id, spec]))
    for (const [id, { pipeline, brokers, shape }] of this.#running) {
      const spec = wanted.get(id)
      const same = spec?.version === pipeline.spec.version && brokers === brokersOf(desired.brokers, spec)
      const altered = same && shape !== (desired.shapes.get(id) ?? shape)
      if (altered)
        this.#log.info({ consumer: id, topic: spec.topic }, 'the relation was altered: beginning anew')
      if (!same || altered) pipeline.stop()
    }
    for (const spec of desired.consumers) {
      const brokers = desired.brokers.get(spec.cluster)
      const shape = desired.shapes.get(spec.id)
      if (brokers && !this.#running.has(spec.id)) this.#startPipeline(spec, brokers, installationId, shape)
    }
    const watchers = `millrace.${installationId}.watch`
    for (const { cluster, topic } of desired.watched) {
      const access = this.#accessOf(cluster)
      if (!access) continue
      this.#watcher.ask(cluster, topic, () => this.#look(access, topic, watchers))
    }
    await this.#patterns.keep(desired.patterns)
    this.#housekeeping.keep()
    await this.#requests.keep(session, watchers)
  }

  /** Null while the cluster has no broker. */
  #accessOf(cluster: string): ClusterAccess | null {
    const brokers = this.#brokers.get(cluster)
    return brokers ? clusterAccess(this.#config, cluster, brokers) : null
  }

  #startPipeline(
    spec: ConsumerSpec,
    brokers: string[],
    installationId: string,
    shape: string | undefined,
  ): void {
    const { group, retry, kafka, daemon } = this.#config
    const pipeline = new Pipeline({
      spec,
      access: clusterAccess(this.#config, spec.cluster, brokers),
      groupId: spec.groupId ?? `millrace.${installationId}.${spec.id}`,
      instance: this.#whereabouts.instance,
      daemonId: this.#id,
      settings: {
        group: { session: group.sessionTimeout, heartbeat: group.heartbeatInterval },
        retry,
        metadataInterval: kafka.metadataInterval,
        takeoverGrace: daemon.takeoverGrace,
      },
      shared: this.#shared,
      sessions: this.#sessions,
      chunks: this.#chunks,
      budget: this.#budget,
      responses: this.#responses,
      meter: this.#vitals.meterOf(spec),
      outages: this.#outages,
      log: this.#log,
    })
    const ended = pipeline.run().then(async () => {
      this.#running.delete(spec.id)
      await this.#reports.forget(pipeline).catch(() => {})
      // another version may be waiting for this one to end
      this.#bell.ring()
    })
    this.#running.set(spec.id, { pipeline, shape, brokers: brokers.join(' '), ended })
  }

  async #look(access: ClusterAccess, topic: string, groupId: string): Promise<void> {
    try {
      await this.#reports.writeMarks(await readWatermarks(access, topic, groupId))
    } catch (error) {
      this.#log.debug({ err: error, topic }, 'the watermarks of a watched topic could not be read')
    }
  }

  async #keepReporting(): Promise<void> {
    let quiet = false
    while (!this.#stop.signal.aborted) {
      await setTimeout(this.#config.daemon.reportInterval, undefined, { signal: this.#stop.signal }).catch(
        () => {},
      )
      if (!this.#whereabouts.known) continue
      const pipelines = [...this.#running.values()].map(({ pipeline }) => pipeline)
      const reporters = [...pipelines, ...this.#patterns.reports]
      if (reporters.length === 0 && quiet) continue
      try {
        await this.#reports.write(reporters, this.#config.daemon.reconcileInterval)
        // not waited for: a broker that is silent must not keep the database from hearing that it is
        for (const pipeline of pipelines) void pipeline.mirrorOffsets()
      } catch (error) {
        quiet = true
        this.#log.debug({ err: error }, 'the reports could not be written; tried again later')
        continue
      }
      quiet = false
    }
  }

  async #stopAll(): Promise<void> {
    const running = [...this.#running.values()]
    for (const { pipeline } of running) pipeline.stop()
    const ended = running.map(({ ended }) => ended)
    await Promise.all([...ended, this.#patterns.end(), this.#housekeeping.end(), this.#requests.end()])
  }
}

function brokersOf(brokers: Map<string, string[]>, spec: ConsumerSpec | undefined): string | undefined {
  return spec && brokers.get(spec.cluster)?.join(' ')
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
