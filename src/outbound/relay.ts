// Sends the outbox where this daemon holds the lease for it, and waits for the lease where another does. Whatever goes
// wrong with PostgreSQL ends the holding; then it begins anew.

import type { ClusterAccess } from '../kafka/access.ts'
import type { ProducerSettings } from '../kafka/producer-events.ts'
import type { Logger } from '../log.ts'
import { Bell } from '../pipeline/bell.ts'
import { databaseOutage, type Outages } from '../pipeline/outage.ts'
import type { Session } from '../postgres/session.ts'
import type { SessionPool } from '../postgres/session-pool.ts'
import type { SharedSession } from '../postgres/shared-session.ts'
import type { Delivery } from './delivery.ts'
import { Lease, LeaseLost } from './lease.ts'
import type { RelayMeter } from './meter.ts'
import { Term } from './term.ts'

export interface RelayParts {
  daemonId: string
  /** A connection of the relay's own; its backend holds the lease. */
  openSession: () => Promise<Session>
  shared: SharedSession
  sessions: SessionPool
  /** Null while the cluster has no broker. */
  accessOf: (cluster: string) => ClusterAccess | null
  settings: ProducerSettings
  /** Milliseconds. */
  leaseTimeout: number
  outages: Outages
  /** Whether what a cluster refuses becomes a dead letter. */
  buries: (cluster: string) => boolean
  meter: RelayMeter
  log: Logger
}

export class Relay {
  readonly #parts: RelayParts
  readonly #bell = new Bell()
  #stop = new AbortController()
  #running: Promise<void> | null = null
  #installation = ''
  #clusters = new Map<string, Delivery>()

  constructor(parts: RelayParts) {
    this.#parts = parts
  }

  /** @param clusters that there are, and how what is sent to each is delivered */
  keep(installation: string, clusters: Map<string, Delivery>): void {
    this.#installation = installation
    this.#clusters = clusters
    this.#running ??= this.#run(this.#stop.signal)
  }

  /** Finishes what is in hand. The next look may begin anew. */
  async end(): Promise<void> {
    this.#stop.abort()
    this.#bell.ring()
    await this.#running
    this.#running = null
    this.#stop = new AbortController()
  }

  /** Never throws. */
  async #run(signal: AbortSignal): Promise<void> {
    const { outages, log, leaseTimeout } = this.#parts
    while (!signal.aborted) {
      let session: Session | null = null
      try {
        session = await this.#parts.openSession()
        const lease = await this.#takeLease(session, signal)
        for (const name of outages.end(who)) log.info({ over: [name] }, 'recovered')
        if (lease) await this.#lead(lease, signal)
      } catch (error) {
        if (error instanceof LeaseLost) log.warn({}, error.message)
        else {
          const outage = databaseOutage(error) ?? interrupted
          if (!signal.aborted && outages.begin(outage, who)) log.warn({ err: error }, outage.message)
        }
        if (!signal.aborted) await this.#bell.sleep(Math.min(1000, leaseTimeout / 5))
      } finally {
        session?.close()
      }
    }
    outages.end(who)
  }

  /** @returns null when it is to end */
  async #takeLease(session: Session, signal: AbortSignal): Promise<Lease | null> {
    const { daemonId, leaseTimeout } = this.#parts
    while (!signal.aborted) {
      const lease = await Lease.take(session, daemonId, leaseTimeout)
      if (lease) return lease
      await this.#bell.sleep(Math.min(1000, leaseTimeout / 5))
    }
    return null
  }

  /** Sends until the lease is lost or it is to end. */
  async #lead(lease: Lease, signal: AbortSignal): Promise<void> {
    const { session } = lease
    const term = new Term(this.#parts, lease, this.#bell, this.#installation)
    try {
      await session.script('SET synchronous_commit = off; SET enable_seqscan = off')
      await session.query('SELECT millrace.begin_relay($1)', [lease.epoch])
      await session.listen(
        'millrace_outbox',
        () => this.#bell.ring(),
        () => this.#bell.ring(),
      )
      this.#parts.meter.leads(true)
      this.#parts.log.info({ epoch: lease.epoch }, 'this daemon sends the outbox')
      while (!signal.aborted) {
        lease.check()
        await term.step(this.#clusters)
      }
      await term.end()
    } finally {
      this.#parts.meter.leads(false)
      await term.close()
      await lease.release()
    }
  }
}

const who = 'the outbox'

const interrupted = { name: who, message: 'sending was interrupted; beginning anew', personal: true }
