// A session is one connection that loads rows. It knows its backend (pid and start time), which its owner
// records beside the positions so that whoever takes over can end it, and it knows when it is lost: after
// that it is never used again.

import type pg from 'pg'
import type { QueryResultRow } from 'pg'
import { type ConnectOptions, connect } from './connection.ts'
import { CopyIn } from './copy.ts'
import { CopyOut } from './copy-out.ts'
import { identifier, literal } from './literal.ts'

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
  /** Undoes what code of others has set in this session; the transaction goes on. */
  readonly resetScript: string
  /** What its users made in it and find again, by a key of theirs. Gone after `forget`. */
  readonly keepsakes = new Map<unknown, unknown>()
  #tenant: string | null = null

  private constructor(client: pg.Client, facts: SessionFacts, settings: Record<string, string>) {
    this.#client = client
    const calls = Object.entries(settings).map(
      ([name, value]) => `pg_catalog.set_config(${literal(name)}, ${literal(value)}, false)`,
    )
    this.resetScript = `RESET ALL; SELECT ${calls.join(', ')}`
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
      const session = new Session(client, facts, { ...sessionSettings(facts.version), ...settings })
      await client.query(session.resetScript)
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
    return (await this.scripts<Row>(text)).at(-1) ?? []
  }

  /** The same. @returns the rows of each */
  async scripts<Row extends QueryResultRow>(text: string): Promise<Row[][]> {
    const results = (await this.#client.query<Row>(text)) as unknown as
      | pg.QueryResult<Row>
      | pg.QueryResult<Row>[]
    return [results].flat().map(({ rows }) => rows)
  }

  /** @param sql ends in COPY ... FROM STDIN. @returns the number of rows */
  async copyIn(sql: string, chunks: Iterable<Buffer>): Promise<number> {
    return this.#client.query(new CopyIn(sql, chunks)).done
  }

  /** @param sql with one COPY ... TO STDOUT. The connection is this one's until `done`. */
  copyOut(sql: string, take: (row: Buffer) => void): CopyOut {
    return this.#client.query(new CopyOut(sql, take))
  }

  /** Ends an open transaction after an error. Does nothing on a lost connection: its end is the rollback. */
  async rollback(): Promise<void> {
    if (this.#lost) return
    await this.#client.query('ROLLBACK').catch((error) => {
      this.#lost ??= error
    })
  }

  /**
   * Code of a role runs in this session from now on. What another role's code may have left (temporary tables that
   * hide others, settings, prepared statements) is gone then.
   * @param tenant the role; null: trusted code alone
   */
  async cleanFor(tenant: string | null): Promise<void> {
    if (this.#tenant === tenant) return
    if (this.#tenant !== null) await this.forget()
    this.#tenant = tenant
  }

  /** As if it had just been opened. */
  async forget(): Promise<void> {
    await this.#client.query('DISCARD ALL')
    await this.#client.query(this.resetScript)
    this.keepsakes.clear()
  }

  /** Ends it: something is wrong with it. Its transaction is rolled back. */
  discard(reason: Error): void {
    this.#lost ??= reason
    void this.#client.end().catch(() => {})
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
    search_path: 'pg_catalog, pg_temp',
    statement_timeout: '0',
    idle_in_transaction_session_timeout: '0',
    standard_conforming_strings: 'on',
    default_transaction_isolation: 'read committed',
    default_transaction_read_only: 'off',
    ...(version >= 140000 ? { client_connection_check_interval: '5s', idle_session_timeout: '0' } : {}),
    ...(version >= 170000 ? { transaction_timeout: '0' } : {}),
  }
}
