// Rows that tables had before their changes were captured are written into the outbox here, chunk after chunk, for each
// owner of tables by workers of its own: what one owner's code does holds up nobody else. Which chunk comes next is decided in
// SQL, so daemons share the work, and one that begins goes on where another has ended.

import type { Logger } from '../log.ts'
import { Bell } from '../pipeline/bell.ts'
import { databaseOutage } from '../pipeline/outage.ts'
import type { Session } from '../postgres/session.ts'
import type { SessionPool } from '../postgres/session-pool.ts'
import type { SharedSession } from '../postgres/shared-session.ts'
import { type Outcome, writeChunk } from './snapshot-chunk.ts'
import type { Owner } from './snapshot-writer.ts'

export interface SnapshotsParts {
  shared: SharedSession
  sessions: SessionPool
  /** Bytes of the outbox: above that nothing is added to it. */
  mostBytes: number
  /** Milliseconds. */
  retry: { min: number; max: number }
  log: Logger
}

/** Chunks that are written at a time for one owner. */
const workersEach = 2

/** Milliseconds that a chunk may take to finish when the daemon ends; what it wrote is rolled back then. */
const patience = 3000

/** Milliseconds between two looks whether something is open, at the most. */
const longestPause = 1000

export class Snapshots {
  readonly #parts: SnapshotsParts
  readonly #workers = new Map<string, Set<Worker>>()
  #ending = false

  constructor(parts: SnapshotsParts) {
    this.#parts = parts
  }

  /** Starts workers. @param owners of snapshots that are not done */
  keep(owners: Owner[]): void {
    if (this.#ending) return
    for (const owner of owners) {
      const workers = this.#workers.get(owner.oid) ?? new Set()
      this.#workers.set(owner.oid, workers)
      while (workers.size < workersEach) this.#start(owner, workers)
    }
  }

  /** Finishes the chunks in hand. The next look may begin anew. */
  async end(): Promise<void> {
    this.#ending = true
    const all = [...this.#workers.values()].flatMap((workers) => [...workers])
    await Promise.all(all.map((worker) => worker.end()))
    this.#ending = false
  }

  #start(owner: Owner, workers: Set<Worker>): void {
    const helps = [...workers].some((worker) => !worker.helps)
    const worker = new Worker(this.#parts, owner, helps)
    workers.add(worker)
    void worker.done.then(() => workers.delete(worker))
  }
}

class Worker {
  readonly done: Promise<void>
  /** It ends as soon as there is nothing for it to do; another one waits for what comes. */
  readonly helps: boolean
  readonly #parts: SnapshotsParts
  readonly #owner: Owner
  readonly #bell = new Bell()
  #ending = false
  #session: Session | null = null
  #said = ''

  constructor(parts: SnapshotsParts, owner: Owner, helps: boolean) {
    this.#parts = parts
    this.#owner = owner
    this.helps = helps
    this.done = this.#run()
  }

  async end(): Promise<void> {
    this.#ending = true
    this.#bell.ring()
    const timer = setTimeout(() => {
      this.#session?.discard(new Error('the daemon ends, and the chunk took too long'))
    }, patience)
    await this.done
    clearTimeout(timer)
  }

  /** Never throws. */
  async #run(): Promise<void> {
    while (!this.#ending) {
      try {
        const outcome = await this.#chunk()
        this.#say(outcome)
        if (outcome.state !== 'idle') continue
        if (outcome.pause === null || this.helps) return
        await this.#bell.sleep(Math.min(longestPause, outcome.pause))
      } catch (error) {
        if (this.#ending) return
        // what is wrong with the server as a whole others say
        if (!databaseOutage(error))
          this.#parts.log.warn({ err: error }, 'a snapshot was interrupted; going on')
        await this.#bell.sleep(this.#parts.retry.max)
      }
    }
  }

  async #chunk(): Promise<Outcome> {
    const { sessions, shared, mostBytes } = this.#parts
    const session = await sessions.acquire(this, this.#owner.name)
    this.#session = session
    try {
      if (this.#ending) return { state: 'idle', pause: null }
      return await writeChunk(session, shared, this.#owner, mostBytes)
    } finally {
      this.#session = null
      sessions.release(session)
    }
  }

  /** Once for each thing that is wrong. */
  #say(outcome: Outcome): void {
    if (outcome.state === 'written') this.#said = ''
    if (outcome.state !== 'failed' || outcome.error === null) return
    const { error, chunk } = outcome
    if (error.message === this.#said) return
    this.#said = error.message
    this.#parts.log.warn({ err: error, snapshot: chunk.snapshot }, 'a snapshot cannot go on; trying again')
  }
}
