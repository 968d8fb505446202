// What this daemon knows of its sending, for the console. What is counted is noted when it happens. What waits in the outbox
// only PostgreSQL knows: whoever sends asks it now and then, and the less often the longer counting takes.

import type { ClusterSending, SendCounts, SendingView } from '../console/view.ts'
import type { Logger } from '../log.ts'
import type { ClusterMeter, RelayMeter } from '../outbound/meter.ts'
import type { Session } from '../postgres/session.ts'
import type { SessionPool } from '../postgres/session-pool.ts'

/** Milliseconds from one count to the next, and how many times as long as the last one took. */
const interval = 10_000
const timesAsLong = 30

export interface SendingVitalsParts {
  sessions: SessionPool
  /** Whether anybody can look. */
  watched: boolean
  log: Logger
}

type Backlog = NonNullable<ClusterSending['backlog']>

export class SendingVitals implements RelayMeter {
  readonly #parts: SendingVitalsParts
  readonly #clusters = new Map<string, Counts>()
  #backlogs = new Map<string, Backlog>()
  #leads = false
  /** performance.now() before which nothing is counted. */
  #countAt = 0
  #counting: Promise<void> | null = null
  #session: Session | null = null
  #ending = false

  constructor(parts: SendingVitalsParts) {
    this.#parts = parts
  }

  get view(): SendingView {
    const clusters = [...this.#clusters].map(([cluster, counts]): ClusterSending => {
      const state = !this.#leads ? 'standby' : counts.trouble === null ? 'sending' : 'retrying'
      const code = this.#leads ? counts.trouble : null
      return { cluster, state, code, counts, backlog: this.#backlogs.get(cluster) ?? null }
    })
    return { leads: this.#leads, clusters }
  }

  leads(now: boolean): void {
    this.#leads = now
    this.#countAt = 0
    this.#backlogs.clear()
    for (const counts of this.#clusters.values()) counts.trouble = null
  }

  of(cluster: string): ClusterMeter {
    const known = this.#clusters.get(cluster) ?? new Counts()
    this.#clusters.set(cluster, known)
    return known
  }

  /** @param clusters that there are; counts what waits, if it is time and this daemon sends */
  keep(clusters: string[]): void {
    for (const cluster of clusters) this.of(cluster)
    for (const cluster of [...this.#clusters.keys()]) {
      if (!clusters.includes(cluster)) this.#clusters.delete(cluster)
    }
    const { watched, log } = this.#parts
    if (!watched || !this.#leads || this.#counting || performance.now() < this.#countAt) return
    this.#counting = this.#count()
      .catch((error) => log.debug({ err: error }, 'the backlog could not be counted'))
      .finally(() => {
        this.#counting = null
      })
  }

  /** What is under way is given up: to count a large backlog takes seconds. */
  async end(): Promise<void> {
    this.#ending = true
    this.#session?.discard(new Error('counting was given up'))
    await this.#counting
    this.#ending = false
  }

  async #count(): Promise<void> {
    const { sessions } = this.#parts
    const session = await sessions.acquire(this)
    this.#session = session
    try {
      if (this.#ending) return
      await session.cleanFor(null)
      const begin = performance.now()
      const rows = await session.query<Backlog & { cluster: string }>(backlogQuery)
      const end = performance.now()
      this.#countAt = end + Math.max(interval, timesAsLong * (end - begin))
      if (this.#leads) this.#backlogs = new Map(rows.map(({ cluster, ...backlog }) => [cluster, backlog]))
    } finally {
      this.#session = null
      sessions.release(session)
    }
  }
}

const backlogQuery = `
  SELECT cluster, backlog::float8 AS messages, extract(epoch FROM oldest_unsent)::float8 AS oldest,
         waiting::float8 AS waiting, waiting_keys::float8 AS "waitingKeys", dead_letters::float8 AS "deadLetters"
    FROM millrace.outbox_status`

class Counts implements ClusterMeter, SendCounts {
  messages = 0
  bytes = 0
  batches = 0
  deadLetters = 0
  lastSent: number | null = null
  /** Of what hinders it now. */
  trouble: string | null = null
  readonly #retries = new Map<string, number>()
  readonly #refusals = new Map<string, number>()

  get retries(): Iterable<[code: string, count: number]> {
    return this.#retries
  }

  get refusals(): Iterable<[code: string, count: number]> {
    return this.#refusals
  }

  sent(messages: number, bytes: number): void {
    this.messages += messages
    this.bytes += bytes
    this.batches++
    this.lastSent = Date.now() / 1000
  }

  refused(code: string): void {
    this.#refusals.set(code, (this.#refusals.get(code) ?? 0) + 1)
  }

  deadLettered(messages: number): void {
    this.deadLetters += messages
  }

  retried(code: string): void {
    this.trouble = code
    this.#retries.set(code, (this.#retries.get(code) ?? 0) + 1)
  }

  recovered(): void {
    this.trouble = null
  }
}
