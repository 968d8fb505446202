// What one holding of the lease does: it looks at what is new for each cluster, has it sent, and empties segments. While
// nothing is produced it sleeps: writers see that and wake it. While something is, it looks again by itself, and nobody
// notifies.

import { setTimeout } from 'node:timers/promises'
import { isMillraceError } from '../errors.ts'
import { failpoint } from '../failpoint.ts'
import type { Bell } from '../pipeline/bell.ts'
import { type Batch, ClusterRelay } from './cluster-relay.ts'
import type { Delivery } from './delivery.ts'
import { GivenUp } from './given-up.ts'
import { type Lease, LeaseLost } from './lease.ts'
import { longestWait } from './refusals.ts'
import type { RelayParts } from './relay.ts'

/** Milliseconds for which it looks again by itself after something was new. */
const awakeFor = 4
const lookInterval = 2

/** Milliseconds between looks while a writer is under way that began when nobody had to be woken: they grow. */
const longestLook = 50

/** Milliseconds that it sleeps unless it is woken, and while something waits that is tried again. */
const longestSleep = 5000
const retryLook = 1000

/** Milliseconds between two times that segments are emptied, while something is produced and while nothing is. */
const tidyInterval = 1000
const idleTidyInterval = 10_000

/** Milliseconds from one batch to the next: what is written meanwhile goes together. */
const batchInterval = 3

/** Milliseconds after which a cluster begins anew whose transaction was given up: two senders would else fence each other without end. */
const brokenPause = 300

interface Running {
  relay: ClusterRelay
  work: Promise<void> | null
  /** The batch in hand is sent, which is not stored yet. */
  finished: boolean
  /** It can do nothing more. */
  broken: boolean
  /** What waits was tried again after its last batch. */
  retried: boolean
  /** performance.now() of its last batch. */
  begunAt: number
}

export class Term {
  readonly #parts: RelayParts
  readonly #lease: Lease
  readonly #bell: Bell
  readonly #installation: string
  readonly #running = new Map<string, Running>()
  /** By cluster. */
  readonly #givenUp = new Map<string, GivenUp>()
  #newsAt = performance.now()
  #tidiedAt = 0
  #failure: unknown = null
  #asleep = false

  constructor(parts: RelayParts, lease: Lease, bell: Bell, installation: string) {
    this.#parts = parts
    this.#lease = lease
    this.#bell = bell
    this.#installation = installation
  }

  /** Looks once at what is new for each cluster, and waits for a while that suits. */
  async step(clusters: Map<string, Delivery>): Promise<void> {
    if (this.#failure) throw this.#failure
    await this.#keep(clusters)
    let news = false
    for (const running of this.#running.values()) news = (await this.#look(running)) || news
    if (news) this.#newsAt = performance.now()
    await this.#tidy()
    await this.#pause(news)
  }

  async end(): Promise<void> {
    const all = [...this.#running.values()]
    await Promise.all(all.map(({ relay }) => relay.end()))
    await Promise.all(all.map(({ work }) => work))
    for (const running of all) {
      if (running.finished) await this.#next(running)
    }
  }

  async close(): Promise<void> {
    const all = [...this.#running.values()]
    for (const { relay } of all) relay.close()
    await Promise.all(all.map(({ work }) => work))
  }

  /** A cluster whose brokers or delivery are others now begins anew after what is in hand. */
  async #keep(clusters: Map<string, Delivery>): Promise<void> {
    const { accessOf } = this.#parts
    for (const [cluster, running] of this.#running) {
      const { access, delivery } = running.relay
      const brokers = accessOf(cluster)?.brokers.join(' ')
      const same = clusters.get(cluster) === delivery && brokers === access.brokers.join(' ')
      if (same && !running.broken) continue
      await running.relay.end()
      await running.work
      if (running.finished) await this.#next(running)
      running.relay.close()
      this.#running.delete(cluster)
    }
    for (const [cluster, delivery] of clusters) {
      const access = this.#running.has(cluster) ? null : accessOf(cluster)
      if (!access) continue
      await this.#lease.session.query('SELECT millrace.begin_relay($1)', [this.#lease.epoch])
      const relay = new ClusterRelay({
        ...this.#parts,
        access,
        delivery,
        lease: this.#lease,
        installation: this.#installation,
        givenUp: this.#givenUpOf(cluster),
      })
      this.#running.set(cluster, {
        relay,
        work: null,
        finished: false,
        broken: false,
        retried: false,
        begunAt: 0,
      })
    }
  }

  #givenUpOf(cluster: string): GivenUp {
    const { metadataInterval } = this.#parts.settings
    const known = this.#givenUp.get(cluster) ?? new GivenUp(metadataInterval, longestWait(metadataInterval))
    this.#givenUp.set(cluster, known)
    return known
  }

  /** @returns whether there is something to do */
  async #look(running: Running): Promise<boolean> {
    if (running.work || running.broken) return false
    if (!running.relay.begun) {
      this.#work(running, () => running.relay.begin())
      return false
    }
    if (performance.now() - running.begunAt < batchInterval) return true
    const batch = await this.#next(running)
    const { relay } = running
    // by turns where there is both; a batch that is not begun is in hand the next time, too
    if (relay.retryIsDue && (batch === null || !running.retried)) {
      running.retried = true
      this.#work(running, () => relay.retry())
    } else if (batch) {
      running.retried = false
      running.begunAt = performance.now()
      this.#work(running, async () => {
        running.finished = await relay.send(batch)
      })
    }
    return running.work !== null
  }

  async #next({ relay, finished }: Running): Promise<Batch | null> {
    const { name } = relay.access
    const { session, epoch } = this.#lease
    if (finished) failpoint('outbound.before-record')
    const [row] = await session.query<Batch>('SELECT * FROM millrace.next_outbox_batch($1, $2, $3, $4, $5)', [
      name,
      epoch,
      finished,
      relay.delivery === 'exactly_once',
      finished ? relay.committedId : null,
    ])
    if (!row) throw new LeaseLost()
    const running = this.#running.get(name)
    if (running) running.finished = false
    if (finished) failpoint('outbound.after-record')
    return row.batch === null ? null : row
  }

  #work(running: Running, work: () => Promise<void>): void {
    running.work = work()
      .catch(async (error) => {
        if (!isMillraceError(error, 'transaction-lost')) {
          this.#failure ??= error
          return
        }
        this.#parts.log.warn({ err: error }, 'a Kafka transaction was given up; beginning anew')
        await setTimeout(brokenPause)
        running.broken = true
      })
      .finally(() => {
        running.work = null
        this.#newsAt = performance.now()
        this.#bell.ring()
      })
  }

  async #tidy(): Promise<void> {
    const now = performance.now()
    const interval = now - this.#newsAt < idleTidyInterval ? tidyInterval : idleTidyInterval
    if (now - this.#tidiedAt < interval) return
    this.#tidiedAt = now
    const { session, epoch } = this.#lease
    const busy = [...this.#running].flatMap(([cluster, { work }]) => (work ? [cluster] : []))
    await session.query('SELECT millrace.advance_outbox($1, $2)', [busy, epoch])
    await session.query('SELECT millrace.rotate_outbox()')
  }

  async #pause(news: boolean): Promise<void> {
    const all = [...this.#running.values()]
    const idle = all.filter(({ work }) => work === null)
    if (news || idle.length < all.length) await this.#wake()
    if (all.length === 0 || idle.length === 0) {
      await this.#bell.sleep(longestSleep)
      return
    }
    const quiet = performance.now() - this.#newsAt
    if (news || quiet < awakeFor) await this.#bell.sleep(lookInterval)
    else if (idle.length < all.length) await this.#bell.sleep(lessOften(quiet))
    else await this.#sleep(quiet)
  }

  /** Writers see that it sleeps from before the last look on: none is missed. It sleeps on until there is something new. */
  async #sleep(quiet: number): Promise<void> {
    if (this.#asleep) {
      const waits = [...this.#running.values()].some(({ relay }) => relay.waits)
      await this.#bell.sleep(waits ? retryLook : longestSleep)
      return
    }
    const [row] = await this.#lease.session.query<{ asleep: boolean }>(
      'SELECT millrace.outbox_sleep() AS asleep',
    )
    this.#asleep = row?.asleep ?? false
    if (!this.#asleep) await this.#bell.sleep(lessOften(quiet))
  }

  async #wake(): Promise<void> {
    if (!this.#asleep) return
    this.#asleep = false
    await this.#lease.session.query('SELECT pg_catalog.pg_advisory_unlock(1298756723, 5)')
  }
}

/** @param quiet ms for which nothing was new  @returns ms to the next look */
function lessOften(quiet: number): number {
  return Math.min(longestLook, lookInterval + quiet / 20)
}
