// Every connection of the daemon to PostgreSQL is opened here, and their number is bounded by a setting. One listens;
// the others work only where it is, and only while the database is the recorded one.

import type { Config } from '../config/config.ts'
import { describeDatabase } from '../config/database-url.ts'
import { Session } from '../postgres/session.ts'
import { SessionPool } from '../postgres/session-pool.ts'
import { SharedSession } from '../postgres/shared-session.ts'
import type { Whereabouts } from './whereabouts.ts'

export interface ConnectionsParts {
  database: Config['database']
  whereabouts: Whereabouts
  /** Sees each connection being opened. */
  watch: <T>(use: string, opening: Promise<T>) => Promise<T>
  /** A session was not admitted: the listener has to find out why. */
  onRefused: () => void
}

/** Of the connections allowed, one listens, one serves the short statements and one is for sending the outbox. */
const ownConnections = 3

export class Connections {
  /** For the short statements. */
  readonly shared: SharedSession
  /** For loading. */
  readonly sessions: SessionPool
  readonly #parts: ConnectionsParts
  #relay: Session | null = null

  constructor(parts: ConnectionsParts) {
    this.#parts = parts
    const { synchronousCommit, maxConnections } = parts.database
    const loading = { synchronous_commit: synchronousCommit }
    this.shared = new SharedSession(() => this.#openChecked('control', {}))
    this.sessions = new SessionPool(() => this.#openChecked('pump', loading), maxConnections - ownConnections)
  }

  /** Where it ends up, the others have to be. */
  openListener(): Promise<Session> {
    // a server that vanished without a word does not answer: its connection would be silent for a quarter of an hour
    return this.#open('listener', {}, 2 * this.#parts.database.connectTimeout)
  }

  /** For the outbox: its backend holds the lease. */
  async openRelay(): Promise<Session> {
    this.#relay = await this.#openChecked('relay', {})
    return this.#relay
  }

  /** Gives up all but the listener, also where they are in use: the server that they are with does not count any more. */
  abandon(): void {
    this.sessions.abandon()
    this.shared.abandon()
    this.#relay?.close()
  }

  async close(): Promise<void> {
    this.sessions.close()
    await this.shared.close()
  }

  async #openChecked(name: string, settings: Record<string, string>): Promise<Session> {
    const session = await this.#open(name, settings)
    try {
      await this.#parts.whereabouts.admit(session)
      return session
    } catch (error) {
      session.close()
      this.#parts.onRefused()
      throw error
    }
  }

  #open(name: string, settings: Record<string, string>, queryTimeout?: number): Promise<Session> {
    const { url, connectTimeout } = this.#parts.database
    const address = url.reveal()
    const database = describeDatabase(address)
    const options = { applicationName: `millrace ${name}`, connectTimeout, queryTimeout, database }
    // no wait for a lock is without an end: whoever holds it, the daemon says what it waits for and can be stopped
    return this.#parts.watch(name, Session.open(address, options, { lock_timeout: '10s', ...settings }))
  }
}
