// A request (millrace.request) is worked on by one daemon, and it is that daemon's for as long as the row says so. As
// for positions, the row names the backend that works on it, so that whoever takes over from a daemon that hangs can
// end that backend, and with it the locks that it holds.

import type { Session } from '../postgres/session.ts'
import type { SessionPool } from '../postgres/session-pool.ts'
import { endBackends } from './end-backends.ts'
import type { QueryRunner } from './target.ts'

/** Another daemon has taken the request over, or somebody removed it. */
export class RequestLost extends Error {}

/** A message that could not be loaded. */
export interface Reason {
  partition: number
  offset: string
  code: string
  sqlstate: string | null
  message: string
}

/** Reasons that a request tells. */
export const mostReasons = 100

export class OwnedRequest {
  readonly id: string
  readonly #daemon: string
  readonly #runner: QueryRunner
  readonly #sessions: SessionPool
  #session: Session | null = null

  constructor(id: string, daemon: string, runner: QueryRunner, sessions: SessionPool) {
    this.id = id
    this.#daemon = daemon
    this.#runner = runner
    this.#sessions = sessions
  }

  /** @param work gets a session that the request names as its own @throws RequestLost, and what `work` throws */
  async withSession<T>(work: (session: Session) => Promise<T>): Promise<T> {
    const session = await this.#sessions.acquire(this)
    try {
      if (session !== this.#session) await this.#attach(session)
      return await work(session)
    } finally {
      this.#sessions.release(session)
    }
  }

  /** Keeps the request this daemon's until the transaction ends. @throws RequestLost */
  async hold(session: Session): Promise<void> {
    const held = await session.query(
      `SELECT FROM millrace.request WHERE id = $1 AND daemon = $2 AND state = 'running' FOR NO KEY UPDATE`,
      this.#mine,
    )
    if (held.length === 0) throw new RequestLost()
  }

  /** What it waits for, for whoever looks; null: for nothing. */
  async note(trouble: { code: string; message: string } | null): Promise<void> {
    await this.#runner.query(
      `UPDATE millrace.request SET error_code = $3, error_message = $4 WHERE id = $1 AND daemon = $2 AND state = 'running'`,
      [...this.#mine, trouble?.code ?? null, trouble?.message ?? null],
    )
  }

  /** How far it is, where nothing of it is committed. */
  async progress(asked: number, done: number, failed: number): Promise<void> {
    await this.#runner.query(
      `UPDATE millrace.request SET asked_count = $3, done_count = $4, failed_count = $5
        WHERE id = $1 AND daemon = $2 AND state = 'running'`,
      [...this.#mine, asked, done, failed],
    )
  }

  get #mine(): [string, string] {
    return [this.id, this.#daemon]
  }

  async #attach(session: Session): Promise<void> {
    const former = this.#session
    if (former?.lost) await endBackends(session, [former])
    const attached = await session.query(
      `UPDATE millrace.request SET backend_pid = $3, backend_started = $4
        WHERE id = $1 AND daemon = $2 AND state = 'running' RETURNING id`,
      [...this.#mine, session.pid, session.startedAt],
    )
    if (attached.length === 0) throw new RequestLost()
    this.#session = session
  }
}
