// Where the daemon works: with one running server, in the database that was recorded, as one installation. Sessions
// that ended up elsewhere are not used, and what was begun elsewhere begins anew.

import { isMillraceError, MillraceError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Session } from '../postgres/session.ts'
import { admit, readIdentity, recordNews } from './identity.ts'

export interface Finding {
  /** The installation's id; null while the database is not the one that was recorded. */
  installation: string | null
  /** Whether nothing that runs may go on. */
  anew: boolean
  /** Why nothing may run. */
  error: MillraceError | null
}

export class Whereabouts {
  readonly #log: Logger
  #instance: string | null = null
  #doubtful = false
  #installation: string | null = null
  #error: MillraceError | null = null

  constructor(log: Logger) {
    this.#log = log
  }

  /** The server and database that the daemon listens on; empty until it does. */
  get instance(): string {
    return this.#instance ?? ''
  }

  /** Whether anything may run here. */
  get known(): boolean {
    return this.#instance !== null && this.#error === null
  }

  /** @throws MillraceError server-changed when a session has met another server than the listener's */
  check(): void {
    if (this.#doubtful) throw new MillraceError('server-changed')
  }

  /** @throws MillraceError identity-changed, server-changed */
  async admit(session: Session): Promise<void> {
    try {
      await admit(session, this.#instance)
    } catch (error) {
      this.#doubtful ||= isMillraceError(error, 'server-changed')
      throw error
    }
  }

  /**
   * The listener is with this server now.
   * @returns whether it was with another one before, or with this one before it was started again
   */
  arrive(instance: string): boolean {
    const moved = this.#instance !== null && this.#instance !== instance
    this.#instance = instance
    this.#doubtful = false
    return moved
  }

  /** Looks which database this is, and records what is new about it without being a difference. */
  async look(session: Session): Promise<Finding> {
    const identity = await readIdentity(session)
    const { id, difference } = identity
    const error = difference === null ? null : new MillraceError('identity-changed', { reason: difference })
    if (error && error.message !== this.#error?.message) {
      this.#log.error({ err: error }, 'everything waits for millrace adopt')
    }
    const anew = error !== null || (this.#installation !== null && this.#installation !== id)
    this.#error = error
    this.#installation = id
    if (error) return { installation: null, anew, error }
    if (identity.news) await recordNews(session, identity, this.#log)
    return { installation: id, anew, error: null }
  }
}
