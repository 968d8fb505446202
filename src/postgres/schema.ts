// The schema in the database is at one version, and it only moves forward: a newer program upgrades it, an older
// one does not touch it. Whoever installs holds a lock meanwhile, and works as the role that owns the schema, so
// that everything in it belongs to one role.

import type pg from 'pg'
import { isErrorCode, isMillraceError, MillraceError } from '../errors.ts'
import { identifier } from './literal.ts'
import { readMigrations } from './sql-folder.ts'

/** The advisory lock (two keys) of whoever changes the schema; the daemon's own has the second key 1. */
const installLock = '1298756723, 2'

export interface SchemaChange {
  /** null: it was not there. */
  from: number | null
  to: number
}

interface Found {
  schema: boolean
  owner: string | null
  version: number | null
}

async function findSchema(client: pg.ClientBase): Promise<Found> {
  const { rows } = await client.query<{ owner: string; migrated: boolean }>(
    `SELECT pg_catalog.pg_get_userbyid(n.nspowner) AS owner, EXISTS (
         SELECT FROM pg_catalog.pg_class AS c
         WHERE c.relnamespace = n.oid AND c.relname = 'migration' AND c.relkind = 'r') AS migrated
       FROM pg_catalog.pg_namespace AS n WHERE n.nspname = 'millrace'`,
  )
  const found = rows[0]
  if (!found?.migrated) return { schema: found !== undefined, owner: found?.owner ?? null, version: null }
  const version = await client.query<{ version: number }>(
    'SELECT coalesce(pg_catalog.max(version), 0) AS version FROM millrace.migration',
  )
  return { schema: true, owner: found.owner, version: version.rows[0]!.version }
}

/** The role the daemon works as. */
export async function daemonRole(client: pg.ClientBase): Promise<{ role: string; superuser: boolean }> {
  const { rows } = await client.query<{ role: string; superuser: boolean }>(
    `SELECT rolname AS role, rolsuper AS superuser FROM pg_catalog.pg_roles
     WHERE oid = millrace.daemon_role()::pg_catalog.oid`,
  )
  return rows[0]!
}

/** The version that this program works with. */
function neededVersion(): number {
  return readMigrations().at(-1)!.version
}

/**
 * That the schema is the one this program works with.
 * @throws MillraceError schema-missing, schema-older, schema-newer
 */
export async function checkSchema(client: pg.ClientBase): Promise<void> {
  const { version } = await findSchema(client)
  const needed = neededVersion()
  if (version === null) throw new MillraceError('schema-missing')
  if (version < needed) throw new MillraceError('schema-older', { installed: version, needed })
  refuseNewer(version)
}

/** An older program knows nothing of what a newer one has made. @throws MillraceError schema-newer */
export function refuseNewer(version: number): void {
  const needed = neededVersion()
  if (version > needed) throw new MillraceError('schema-newer', { installed: version, needed })
}

/**
 * One transaction in which the schema may be changed, as the role that owns it (if it is there).
 * @throws MillraceError database-refused
 */
export async function changing<T>(client: pg.ClientBase, work: (found: Found) => Promise<T>): Promise<T> {
  try {
    await client.query('BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE')
    await client.query(`SELECT pg_catalog.pg_advisory_xact_lock(${installLock})`)
    const result = await work(await findSchema(client))
    await client.query('COMMIT')
    return result
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {})
    if (isMillraceError(error)) throw error
    const { code, severity, message, detail } = error as pg.DatabaseError
    if (severity === undefined) throw new MillraceError('database-unreachable', { cause: error })
    if (code === '2BP01')
      throw new MillraceError('uninstall-blocked', { reason: dependents(error), cause: error })
    const own = /^code: (\S+)/.exec(detail ?? '')?.[1]
    if (own !== undefined && isErrorCode(own)) throw new MillraceError(own, { reason: message, cause: error })
    throw new MillraceError('database-refused', { cause: error, sqlstate: code })
  }
}

/** dependent_objects_still_exist: the objects of users that stand in the way, in PostgreSQL's words. */
function dependents(error: unknown): string {
  const { message, detail } = error as { message: string; detail?: string }
  return detail?.replaceAll('\n', '; ') ?? message
}

/** @throws MillraceError not-daemon-role */
export async function becomeOwner(client: pg.ClientBase, owner: string | null): Promise<void> {
  if (owner === null) return
  const { rows } = await client.query<{ role: string; possible: boolean }>(
    `SELECT current_user AS role, pg_catalog.pg_has_role(oid, CASE
         WHEN pg_catalog.current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END) AS possible
       FROM pg_catalog.pg_roles WHERE rolname = $1`,
    [owner],
  )
  const { role, possible } = rows[0]!
  if (role === owner) return
  if (!possible) throw new MillraceError('not-daemon-role', { role, owner })
  await client.query(`SET LOCAL ROLE ${identifier(owner)}`)
}

/**
 * Applies the migrations that are missing.
 * @throws MillraceError schema-newer, schema-taken, not-daemon-role, database-refused
 */
export async function upgradeSchema(client: pg.ClientBase): Promise<SchemaChange> {
  return changing(client, async (found) => {
    if (found.schema && found.version === null)
      throw new MillraceError('schema-taken', { owner: found.owner })
    const migrations = readMigrations()
    const to = migrations.at(-1)!.version
    const from = found.version
    if (from !== null) refuseNewer(from)
    if (from === to) return { from, to }
    await becomeOwner(client, found.owner)
    for (const { version, name, sql } of migrations) {
      if (version <= (from ?? 0)) continue
      await client.query(sql)
      await client.query('INSERT INTO millrace.migration (version, name) VALUES ($1, $2)', [version, name])
    }
    return { from, to }
  })
}

/**
 * Drops what the migrations have made, and nothing that a user put beside it or on top of it.
 * @throws MillraceError not-daemon-role; PostgreSQL's own error where something of a user's depends on it
 */
export async function removeSchema(client: pg.ClientBase, owner: string): Promise<{ kept: boolean }> {
  await becomeOwner(client, owner)
  await refusePublished(client)
  const made = (kind: string): string[] => {
    const statement = new RegExp(`^CREATE (?:OR REPLACE )?${kind} millrace\\.(\\w+)`, 'gm')
    const found = readMigrations().flatMap(({ sql }) => [...sql.matchAll(statement)])
    return [...new Set(found.map(([, name]) => name!))]
  }
  const drop = async (kind: string, names: string[]): Promise<void> => {
    if (names.length > 0) await client.query(`DROP ${kind} IF EXISTS ${names.join(', ')}`)
  }
  const { rows } = await client.query<{ signature: string; takes_row: boolean }>(
    `SELECT p.oid::pg_catalog.regprocedure::pg_catalog.text AS signature, EXISTS (
         SELECT FROM pg_catalog.unnest(p.proargtypes::oid[] || p.prorettype) AS a (type) JOIN pg_catalog.pg_type AS t ON t.oid = a.type
         WHERE t.typnamespace = p.pronamespace) AS takes_row
       FROM pg_catalog.pg_proc AS p
      WHERE p.pronamespace = 'millrace'::pg_catalog.regnamespace AND p.proname = ANY ($1)`,
    [made('(?:FUNCTION|PROCEDURE)')],
  )
  const functions = (takesRow: boolean): string[] =>
    rows.filter((row) => row.takes_row === takesRow).map(({ signature }) => signature)
  await dropPolicies(client) // some need views
  await drop('VIEW', made('VIEW').map(qualified))
  await drop('ROUTINE', functions(true)) // they take or return a table's row, the tables' policies need the others
  await drop('TABLE', made('TABLE').map(qualified))
  await drop('SEQUENCE', made('SEQUENCE').map(qualified)) // tables' defaults use them
  await drop('ROUTINE', functions(false))
  return { kept: !(await dropIfEmpty(client, 'millrace')) }
}

/** Every write to a table with triggers of what is gone would fail. @throws MillraceError uninstall-blocked */
async function refusePublished(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query<{ tables: string | null }>(
    `SELECT pg_catalog.string_agg(DISTINCT tgrelid::pg_catalog.regclass::pg_catalog.text, ', ') AS tables
       FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
      WHERE p.pronamespace = 'millrace'::pg_catalog.regnamespace AND p.proname ~ '^publication \\d+$' AND t.tgparentid = 0`,
  )
  const [found] = rows
  if (found?.tables) throw new MillraceError('uninstall-blocked', { reason: `published: ${found.tables}` })
}

async function dropPolicies(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query<{ statement: string }>(
    `SELECT pg_catalog.format('DROP POLICY %I ON %s', polname, polrelid::pg_catalog.regclass) AS statement
       FROM pg_catalog.pg_policy AS p JOIN pg_catalog.pg_class AS c ON c.oid = p.polrelid
      WHERE c.relnamespace = 'millrace'::pg_catalog.regnamespace AND c.relname LIKE 'outbox\\__'`,
  )
  for (const { statement } of rows) await client.query(statement)
}

function qualified(name: string): string {
  return `millrace.${identifier(name)}`
}

/** @returns whether it is gone: what a user put into it keeps it */
export async function dropIfEmpty(client: pg.ClientBase, schema: string): Promise<boolean> {
  await client.query('SAVEPOINT before_schema')
  try {
    await client.query(`DROP SCHEMA IF EXISTS ${identifier(schema)}`)
    return true
  } catch (error) {
    if ((error as { code?: string }).code !== '2BP01') throw error // dependent_objects_still_exist
    await client.query('ROLLBACK TO SAVEPOINT before_schema')
    return false
  }
}
