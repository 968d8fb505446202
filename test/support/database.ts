// Every test has a database of its own, copied from one in which everything is installed, so tests can run side
// by side and none sees what another left behind.
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import type { PostgresServer } from '../../stack/postgres.ts'
import { afterwards, type Cleanup } from './cleanup.ts'
import { sharedServers } from './servers.ts'
import { installEverything } from './template.ts'

export interface Database {
  /** As superuser. */
  url: string
  name: string
  /** Over a small pool: no two calls need be the same session. */
  query<Row extends pg.QueryResultRow = any>(
    sql: string,
    parameters?: unknown[],
  ): Promise<pg.QueryResult<Row>>
  /** A session of its own, ended after the test. */
  client(options?: pg.ClientConfig): Promise<pg.Client>
  /** The URL for another role; over TCP the role needs LOGIN and this password. */
  urlAs(role: string, password: string): string
}

export interface DatabaseOptions {
  /** A server of the test's own (see postgresFor); default: the shared one. */
  server?: PostgresServer
  /** Without any schema of Millrace. */
  empty?: boolean
  /** Everything belongs to a role that is no superuser, as ownedDatabase makes it; on the shared server only. */
  owned?: boolean
}

export async function databaseFor(t: Cleanup, options: DatabaseOptions = {}): Promise<Database> {
  const name = `test_${randomUUID().replaceAll('-', '').slice(0, 16)}`
  const { url, create } = options.server ? onOwnServer(options.server, name) : onSharedServer(name)
  await create(options)
  const database = openDatabase(t, url, name)
  if (!options.empty) await giveIdentity(database)
  return database
}

function onSharedServer(name: string) {
  const { databaseUrl, template } = sharedServers()
  const create = async ({ empty, owned }: DatabaseOptions): Promise<void> => {
    if (!empty && 'problem' in template) throw new Error(`no database to copy: ${template.problem}`)
    const source = empty || 'problem' in template ? 'template0' : (owned ? template.owned : template).name
    const how = 'problem' in template ? '' : template.strategy
    await administer(databaseUrl, `CREATE DATABASE ${name} TEMPLATE ${source} ${how}`)
  }
  return { url: withPath(databaseUrl, name), create }
}

function onOwnServer(server: PostgresServer, name: string) {
  const url = server.urlOf(name)
  const create = async ({ empty }: DatabaseOptions): Promise<void> => {
    await administer(server.url, `CREATE DATABASE ${name} TEMPLATE template0`)
    if (!empty) await inSession(url, installEverything)
  }
  return { url, create }
}

/** What `millrace adopt --clone` does: copies of one template are not one database. */
async function giveIdentity(database: Database): Promise<void> {
  await database.query('SELECT millrace.adopt(true, true)')
}

/** A database that is there already, such as one on a copied server; not dropped afterwards. */
export function databaseAt(t: Cleanup, url: string): Database {
  return openDatabase(t, url, decodeURIComponent(new URL(url).pathname.slice(1)), false)
}

function openDatabase(t: Cleanup, url: string, name: string, drop = true): Database {
  const pool = new pg.Pool({ connectionString: url, max: 4, allowExitOnIdle: true })
  // A server that is killed ends idle sessions too; the next query says so.
  pool.on('error', () => {})
  afterwards(t, async () => {
    await pool.end()
    if (!drop) return
    await administer(withPath(url, 'postgres'), `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`).catch(
      (error) => {
        // The test's own server is down: its data goes with it.
        if (error.code !== 'ECONNREFUSED') throw error
      },
    )
  })
  return {
    url,
    name,
    query: (sql, parameters) => pool.query(sql, parameters),
    client: async (config) => {
      const client = new pg.Client({ connectionString: url, ...config })
      client.on('error', () => {})
      await client.connect()
      afterwards(t, () => client.end())
      return client
    },
    urlAs: (role, password) => {
      const other = new URL(url)
      other.username = encodeURIComponent(role)
      other.password = encodeURIComponent(password)
      return other.href
    },
  }
}

async function administer(url: string, sql: string): Promise<void> {
  await inSession(url, (client) => client.query(sql))
}

async function inSession(url: string, work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  try {
    await work(client)
  } finally {
    await client.end()
  }
}

function withPath(url: string, database: string): string {
  const other = new URL(url)
  other.pathname = `/${database}`
  return other.href
}
