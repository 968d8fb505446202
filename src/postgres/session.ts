// A session is one connection that loads rows. It knows its backend (pid and start time), which its owner
// records beside the positions so that whoever takes over can end it, and it knows when it is lost: after
// that it is never used again.

import type pg from 'pg'
import type { QueryResultRow } from 'pg'
import { type ConnectOptions, connect } from './connection.ts'
import { CopyIn } from './copy.ts'
import { identifier } from './literal.ts'

export class Session {
  readonly #client: pg.Client
  #lost: Error | null = null
  /** Of the backend, unique together: pids come again. `startedAt` is a timestamptz as PostgreSQL prints it. */
  readonly pid: number
  readonly startedAt: string
  /** 180004 for 18.4 */
  readonly serverVersion: number
  readonly user: string
  /** The search path that this role has here by itself: user code that a load fires expects it. */
  readonly ownSearchPath: string

  private constructor(client: pg.Client, facts: SessionFacts) {
    this.#client = client
    this.pid = facts.pid
    this.startedAt = facts.started_at
    this.serverVersion = facts.version
    this.user = facts.user
    this.ownSearchPath = facts.own_path
    client.on('error', (error) => {
      this.#lost ??= error
    })
    client.on('end', () => {
      this.#lost ??= new Error('the connection ended')
    })
  }

  /**
   * @param settings of this session, e.g. { lock_timeout: '10s' }
   * @throws MillraceError database-unreachable
   */
  static async open(
    url: string,
    options: ConnectOptions,
    settings: Record<string, string>,
  ): Promise<Session> {
    const client = await connect(url, options)
    try {
      const { rows } = await client.query<SessionFacts>(factsQuery)
      const facts = rows[0] as SessionFacts
      const session = new Session(client, facts)
      for (const [name, value] of Object.entries({ ...sessionSettings(facts.version), ...settings })) {
        await client.query('SELECT pg_catalog.set_config($1, $2, false)', [name, value])
      }
      return session
    } catch (error) {
      void client.end().catch(() => {})
      throw error
    }
  }

  get lost(): Error | null {
    return this.#lost
  }

  /** Hands the driver's own client to work that wants it, such as the schema's. */
  withClient<T>(work: (client: pg.ClientBase) => Promise<T>): Promise<T> {
    return work(this.#client)
  }

  /** Calls `notified` at each NOTIFY, and `ended` once when the connection is lost. */
  async listen(channel: string, notified: () => void, ended: (error: Error) => void): Promise<void> {
    this.#client.on('notification', notified)
    this.#client.once('end', () => ended(this.#lost ?? new Error('the connection ended')))
    await this.#client.query(`LISTEN ${identifier(channel)}`)
  }

  async query<Row extends QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]> {
    return (await this.#client.query<Row>(text, values)).rows
  }

  /** Several statements at once, without parameters. @returns the rows of the last one */
  async script<Row extends QueryResultRow>(text: string): Promise<Row[]> {
    const results = (await this.#client.query<Row>(text)) as unknown as
      | pg.QueryResult<Row>
      | pg.QueryResult<Row>[]
    return (Array.isArray(results) ? results[results.length - 1] : results)?.rows ?? []
  }

  /** @param sql ends in COPY ... FROM STDIN. @returns the number of rows */
  async copyIn(sql: string, chunks: Iterable<Buffer>): Promise<number> {
    return this.#client.query(new CopyIn(sql, chunks)).done
  }

  /** Ends an open transaction after an error. Does nothing on a lost connection: its end is the rollback. */
  async rollback(): Promise<void> {
    if (this.#lost) return
    await this.#client.query('ROLLBACK').catch((error) => {
      this.#lost ??= error
    })
  }

  close(): void {
    this.#lost ??= new Error('the session is closed')
    void this.#client.end().catch(() => {})
  }
}

interface SessionFacts {
  pid: number
  started_at: string
  version: number
  user: string
  own_path: string
}

const factsQuery = `
  SELECT pg_catalog.pg_backend_pid() AS pid,
         (SELECT backend_start::text FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()) AS started_at,
         pg_catalog.current_setting('server_version_num')::int AS version,
         session_user AS user,
         (SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'search_path') AS own_path`

/**
 * No timeout of the role or the database ends a load that waits for its turn; a vanished daemon's backend
 * notices within seconds (client_connection_check_interval, 14 on), also while it waits for a lock.
 */
function sessionSettings(version: number): Record<string, string> {
  return {
    statement_timeout: '0',
    idle_in_transaction_session_timeout: '0',
    standard_conforming_strings: 'on',
    default_transaction_isolation: 'read committed',
    default_transaction_read_only: 'off',
    ...(version >= 140000 ? { client_connection_check_interval: '5s' } : {}),
    ...(version >= 170000 ? { transaction_timeout: '0' } : {}),
  }
}
