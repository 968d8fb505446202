// Every connection of this project begins the same way: it announces itself, and pins what would otherwise
// be inherited from the role or the database and could fool a statement of ours (the search path) or end a
// load half-way (statement_timeout).

import pg from 'pg'
import { MillraceError, reasonOf } from '../errors.ts'

export interface ConnectOptions {
  applicationName?: string
  /** Milliseconds. */
  connectTimeout?: number
  /** What an error calls the database: host and name, never the URL. */
  database?: string
}

/**
 * A connected client with `search_path = pg_catalog, pg_temp`.
 * @param url postgres://user:password@host:port/database, or anything else node-postgres takes
 * @throws MillraceError database-unreachable
 */
export async function connect(url: string, options: ConnectOptions = {}): Promise<pg.Client> {
  const client = new pg.Client({
    connectionString: url,
    application_name: options.applicationName ?? 'millrace',
    connectionTimeoutMillis: options.connectTimeout ?? 10_000,
    keepAlive: true,
    keepAliveInitialDelayMillis: 30_000,
  })
  client.on('error', () => {}) // the query in flight, or the next one, fails with it
  try {
    await client.connect()
    await client.query('SET search_path = pg_catalog, pg_temp')
    return client
  } catch (cause) {
    void client.end().catch(() => {})
    throw new MillraceError('database-unreachable', {
      database: options.database,
      reason: reasonOf(cause),
      cause,
    })
  }
}
