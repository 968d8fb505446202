// Everything is installed once; each test's database is a copy.
import pg from 'pg'
import type { PostgresServer } from '../../stack/postgres.ts'
import { millrace } from './millrace.ts'

const name = 'millrace_template'

/** The template's name, or why there is none: that is then the error of every test that needs it. */
export async function installTemplate(
  server: PostgresServer,
): Promise<{ name: string } | { problem: string }> {
  const client = new pg.Client({ connectionString: server.url })
  await client.connect()
  try {
    await client.query(`CREATE DATABASE ${name} TEMPLATE template0`)
    await millrace(['install', '--all', '--database', server.urlOf(name)])
    // Nobody may be connected to a database while it is copied.
    await client.query(`ALTER DATABASE ${name} IS_TEMPLATE true ALLOW_CONNECTIONS false`)
    return { name }
  } catch (error) {
    return { problem: (error as Error).message }
  } finally {
    await client.end()
  }
}
