// Everything is installed once, and once more by a role that is no superuser; each test's database is a copy.
import pg from 'pg'
import { installDialect } from '../../src/postgres/dialect.ts'
import { upgradeSchema } from '../../src/postgres/schema.ts'
import { dialectNames } from '../../src/postgres/sql-folder.ts'
import type { PostgresServer } from '../../stack/postgres.ts'
import { millrace } from './millrace.ts'

export interface Template {
  name: string
  /** The one in which everything belongs to `owner`, whom the copy replaces by one of its own. */
  owned: { name: string; owner: string }
  /** Words of CREATE DATABASE. Files are quickly copied; page by page through the log, a database is not. */
  strategy: string
}

const template = {
  name: 'millrace_template',
  owned: { name: 'millrace_owned_template', owner: 'millrace_template_owner' },
}

/** The templates, or why there are none: that is then the error of every test that needs one. */
export async function installTemplate(server: PostgresServer): Promise<Template | { problem: string }> {
  const client = new pg.Client({ connectionString: server.url })
  await client.connect()
  const finish = async (name: string): Promise<void> => {
    // Nobody may be connected to a database while it is copied.
    await client.query(`ALTER DATABASE ${name} IS_TEMPLATE true ALLOW_CONNECTIONS false`)
  }
  try {
    await client.query(`CREATE DATABASE ${template.name} TEMPLATE template0`)
    await millrace(['install', '--all', '--database', server.urlOf(template.name)])
    await finish(template.name)
    const { name, owner } = template.owned
    await client.query(`CREATE ROLE ${owner}`)
    await client.query(`CREATE DATABASE ${name} TEMPLATE template0 OWNER ${owner}`)
    await installAs(owner, server.urlOf(name))
    // REASSIGN OWNED in a copy would give away this database, too.
    await client.query(`ALTER DATABASE ${name} OWNER TO CURRENT_USER`)
    await finish(name)
    const { rows } = await client.query("SELECT current_setting('server_version_num')::int / 10000 AS major")
    return { ...template, strategy: rows[0].major >= 15 ? 'STRATEGY file_copy' : '' }
  } catch (error) {
    return { problem: (error as Error).message }
  } finally {
    await client.end()
  }
}

async function installAs(role: string, url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(`SET SESSION AUTHORIZATION ${role}`)
    await installEverything(client)
  } finally {
    await client.end()
  }
}

/** In the session's database, as its role. */
export async function installEverything(client: pg.ClientBase): Promise<void> {
  await client.query('SET search_path = pg_catalog, pg_temp')
  await upgradeSchema(client)
  for (const dialect of dialectNames()) await installDialect(client, dialect)
}
