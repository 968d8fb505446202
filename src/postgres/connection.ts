// Every connection of this project begins the same way: it announces itself, and pins what would otherwise
// be inherited from the role or the database and could fool a statement of ours (the search path) or end a
// load half-way (statement_timeout).

import type { Socket } from 'node:net'
import pg from 'pg'
import { isMillraceError, MillraceError, reasonOf } from '../errors.ts'
import { guardMessages } from './message-guard.ts'
import { isSession } from './pooler.ts'

export interface ConnectOptions {
  applicationName?: string
  /** Milliseconds. */
  connectTimeout?: number
  /** Milliseconds that the server may take to answer any query; default: as long as it wants. */
  queryTimeout?: number | undefined
  /** What an error calls the database: host and name, never the URL. */
  database?: string
}

/**
 * A connected client with `search_path = pg_catalog, pg_temp`.
 * @param url postgres://user:password@host:port/database, or anything else node-postgres takes
 * @throws MillraceError database-unreachable, pooler-transaction-mode
 */
export async function connect(url: string, options: ConnectOptions = {}): Promise<pg.Client> {
  const config: pg.ClientConfig = {
    connectionString: url,
    application_name: options.applicationName ?? 'millrace',
    connectionTimeoutMillis: options.connectTimeout ?? 10_000,
    ...(options.queryTimeout !== undefined && { query_timeout: options.queryTimeout }),
    keepAlive: true,
    keepAliveInitialDelayMillis: 30_000,
  }
  const client = new pg.Client(config)
  client.on('error', () => {}) // the query in flight, or the next one, fails with it
  try {
    await client.connect()
    if (!(await isSession(client, config))) {
      throw new MillraceError('pooler-transaction-mode', { database: options.database })
    }
    await client.query('SET search_path = pg_catalog, pg_temp')
    guardMessages((client as unknown as { connection: { stream: Socket } }).connection.stream)
    return client
  } catch (cause) {
    void client.end().catch(() => {})
    if (isMillraceError(cause)) throw cause
    throw new MillraceError('database-unreachable', {
      database: options.database,
      reason: reasonOf(cause),
      cause,
    })
  }
}
