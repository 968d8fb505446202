// A dialect is in a database once: over a connection, or as an extension. It holds no data, so installing it
// again and removing it lose nothing.

import type pg from 'pg'
import { identifier } from './literal.ts'
import { becomeOwner, changing, dropIfEmpty } from './schema.ts'
import { type Dialect, dialectNames, readDialect } from './sql-folder.ts'

export type DialectChange = 'installed' | 'renewed' | 'extension'

/** @throws MillraceError database-refused */
export async function installDialect(client: pg.ClientBase, name: string): Promise<DialectChange> {
  return changing(client, async ({ owner }) => {
    const dialect = readDialect(name)
    if (await isExtension(client, dialect)) return 'extension'
    await becomeOwner(client, owner)
    const before = await installedObjects(client, dialect, owner)
    await client.query(dialect.sql)
    return before.length === 0 ? 'installed' : 'renewed'
  })
}

export interface RemovedDialect {
  name: string
  how: 'extension' | 'objects'
  /** The dialect's schema, where something of a user's is in it. */
  keptSchema: string | null
}

/** Inside the transaction that removes the core. */
export async function removeDialects(client: pg.ClientBase, owner: string): Promise<RemovedDialect[]> {
  const removed: RemovedDialect[] = []
  const dialects = dialectNames().map(readDialect)
  // An extension may belong to the role that connected, so extensions go before the role is changed.
  const extensions = new Set<Dialect>()
  for (const dialect of dialects) {
    if (!(await isExtension(client, dialect))) continue
    if (dialect.remove) await client.query(dialect.remove)
    await client.query(`DROP EXTENSION ${identifier(dialect.extension)}`)
    extensions.add(dialect)
  }
  await becomeOwner(client, owner)
  for (const dialect of dialects) {
    const present = await installedObjects(client, dialect, owner)
    if (present.length > 0 && dialect.remove) await client.query(dialect.remove)
    for (const object of present.reverse()) await client.query(`DROP ${object}`)
    // DROP EXTENSION leaves the schema behind, so an empty one may be all there is.
    const kept =
      (await ownsSchema(client, dialect.extension)) && !(await dropIfEmpty(client, dialect.extension))
    const keptSchema = kept ? dialect.extension : null
    const how = extensions.has(dialect) ? 'extension' : 'objects'
    if (present.length > 0 || how === 'extension') removed.push({ name: dialect.name, how, keptSchema })
  }
  return removed
}

/** The project that a dialect stands in for had an extension of the same name, without these functions. */
async function isExtension(client: pg.ClientBase, { extension }: Dialect): Promise<boolean> {
  const { rowCount } = await client.query(
    `SELECT FROM pg_catalog.pg_extension AS e JOIN pg_catalog.pg_depend AS d
       ON d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.refobjid = e.oid
         AND d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.deptype = 'e'
       JOIN pg_catalog.pg_proc AS p ON p.oid = d.objid
     WHERE e.extname = $1 AND p.proname IN ('change_broker', 'record_change')`,
    [extension],
  )
  return rowCount === 1
}

async function ownsSchema(client: pg.ClientBase, schema: string): Promise<boolean> {
  const { rowCount } = await client.query(
    `SELECT FROM pg_catalog.pg_namespace
     WHERE nspname = $1 AND pg_catalog.pg_get_userbyid(nspowner) = current_user`,
    [schema],
  )
  return rowCount === 1
}

/** The dialect's objects, in the order in which they were made; none when what has their names is somebody else's. */
async function installedObjects(
  client: pg.ClientBase,
  dialect: Dialect,
  owner: string | null,
): Promise<string[]> {
  const { rows } = await client.query<{ object: string }>(
    `SELECT object FROM pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY AS o (object, place)
     WHERE pg_catalog.to_regrole(pg_catalog.quote_ident($2)) = CASE
       WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_namespace
         WHERE nspname = $3 AND pg_catalog.has_schema_privilege(oid, 'USAGE')) THEN NULL
       WHEN object LIKE 'FUNCTION %' THEN (SELECT proowner FROM pg_catalog.pg_proc
         WHERE oid = pg_catalog.to_regprocedure(pg_catalog.substr(object, 10)))
       ELSE (SELECT relowner FROM pg_catalog.pg_class
         WHERE oid = pg_catalog.to_regclass(pg_catalog.substr(object, 6))) END
     ORDER BY place`,
    [dialect.objects, owner, dialect.extension],
  )
  const objects = rows.map(({ object }) => object)
  return objects.some((object) => object.includes(` ${dialect.extension}.`)) ? objects : []
}
