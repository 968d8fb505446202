// A database whose owner is no superuser, everything installed by that owner, and roles around it: an
// administrator, and two ordinary roles of which the daemon may act as the first.

import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterwards, type Cleanup } from './cleanup.ts'
import { type Database, databaseFor } from './database.ts'
import { sharedServers } from './servers.ts'
import { installEverything } from './template.ts'

export interface Outcome {
  rows: Record<string, unknown>[]
  /** Notices and warnings, as `SEVERITY code` or `SEVERITY message`. */
  notices: string[]
}

export interface Roles {
  /** Owns the database and the schema: the daemon's role. */
  owner: string
  admin: string
  alice: string
  bob: string
  /** Has everything in its name that could be taken for SQL. */
  hostile: string
}

export interface OwnedDatabase {
  database: Database
  roles: Roles
  /** A session of a role, as after a login. */
  as(role: string): Promise<RoleSession>
  superuser: RoleSession
}

/** One session, whose notices can be looked at. */
export class RoleSession {
  readonly client: pg.Client
  #notices: string[] = []

  constructor(client: pg.Client) {
    this.client = client
    client.on('notice', ({ severity, message, detail }) => {
      const code = /^code: (\S+)/.exec(detail ?? '')?.[1]
      this.#notices.push(`${severity} ${code ?? message}`)
    })
  }

  async run(sql: string, parameters?: unknown[]): Promise<Outcome> {
    this.#notices = []
    const result = await this.client.query(sql, parameters)
    const last = Array.isArray(result) ? result.at(-1) : result
    return { rows: last.rows, notices: this.#notices }
  }

  /** The only column of the only row. */
  async value(sql: string, parameters?: unknown[]): Promise<unknown> {
    const { rows } = await this.run(sql, parameters)
    if (rows.length !== 1) throw new Error(`${rows.length} rows, not 1: ${sql}`)
    return Object.values(rows[0]!)[0]
  }

  async column(sql: string, parameters?: unknown[]): Promise<unknown[]> {
    return (await this.run(sql, parameters)).rows.map((row) => Object.values(row)[0])
  }

  /** `code SQLSTATE` of the error that it raises, or the message where it has no code; null when it raises none. */
  async refusal(sql: string, parameters?: unknown[]): Promise<string | null> {
    try {
      await this.run(sql, parameters)
      return null
    } catch (error) {
      if (!(error instanceof pg.DatabaseError)) throw error
      const code = /^code: (\S+)$/.exec(error.detail?.split('\n')[0] ?? '')?.[1]
      if (code !== undefined && !error.hint) throw new Error(`${code} has no hint`)
      return `${code ?? error.message} ${error.code}`
    }
  }
}

export interface OwnedOptions {
  /** Default: copied on the shared server, where installing takes much longer; on another one, here. */
  installed?: 'copied' | 'here' | false
  server?: Parameters<typeof databaseFor>[1]
}

export async function ownedDatabase(t: Cleanup, options: OwnedOptions = {}): Promise<OwnedDatabase> {
  const suffix = randomUUID().slice(0, 8)
  const roles: Roles = {
    owner: `app_${suffix}`,
    admin: `admin_${suffix}`,
    alice: `alice_${suffix}`,
    bob: `bob_${suffix}`,
    hostile: `x"; drop table t; -- ${suffix}`,
  }
  // Registered before the database is, so that the roles go after it.
  let dropRoles = async (): Promise<void> => {}
  afterwards(t, () => dropRoles())
  const installed = options.installed ?? (options.server ? 'here' : 'copied')
  const copied = installed === 'copied'
  const database = await databaseFor(t, {
    ...(copied ? { owned: true } : { empty: true }),
    ...options.server,
  })
  const superuser = new RoleSession(await database.client())
  const names = Object.values(roles).map(pg.escapeIdentifier)
  dropRoles = async () => {
    const url = new URL(database.url)
    url.pathname = '/postgres'
    const client = new pg.Client({ connectionString: url.href })
    try {
      await client.connect()
    } catch (error) {
      // The test's own server is down: its roles go with it.
      if ((error as { code?: string }).code === 'ECONNREFUSED') return
      throw error
    }
    await client.query(names.map((role) => `DROP ROLE IF EXISTS ${role};`).join(' '))
    await client.end()
  }
  await superuser.run(`
    ${names.map((role) => `CREATE ROLE ${role} LOGIN;`).join('\n')}
    GRANT ${roles.alice} TO ${roles.owner};
    ALTER DATABASE ${database.name} OWNER TO ${roles.owner};
    GRANT CREATE ON SCHEMA public TO ${roles.alice}, ${roles.bob};
    ${copied ? `REASSIGN OWNED BY ${templateOwner()} TO ${roles.owner};` : ''}
    DO $$ BEGIN CREATE ROLE millrace_admin; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
    GRANT millrace_admin TO ${roles.admin};`)
  const as = async (role: string): Promise<RoleSession> => {
    const client = await database.client()
    await client.query(`SET SESSION AUTHORIZATION ${pg.escapeIdentifier(role)}`)
    return new RoleSession(client)
  }
  if (installed === 'here') await installEverything((await as(roles.owner)).client)
  return { database, roles, as, superuser }
}

function templateOwner(): string {
  const { template } = sharedServers()
  if ('problem' in template) throw new Error(template.problem)
  return template.owned.owner
}
