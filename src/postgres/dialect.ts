// A dialect is in a database once: over a connection, or as an extension. It holds no data, so installing it
// again and removing it lose nothing.

import type pg from 'pg'
import { becomeOwner, changing, dropIfEmpty } from './schema.ts'
import { dialectNames, readDialect } from './sql-folder.ts'

export type DialectChange = 'installed' | 'renewed' | 'extension'

/** @throws MillraceError database-refused */
export async function installDialect(client: pg.ClientBase, name: string): Promise<DialectChange> {
  return changing(client, async ({ owner }) => {
    if (await isExtension(client, name)) return 'extension'
    const dialect = readDialect(name)
    await becomeOwner(client, owner)
    const before = await installedObjects(client, name, owner)
    await client.query(dialect.sql)
    return before.length === 0 ? 'installed' : 'renewed'
  })
}

export interface RemovedDialect {
  name: string
  how: 'extension' | 'objects'
  /** Something of a user's is in the dialect's schema. */
  keptSchema: boolean
}

/** Inside the transaction that removes the core. */
export async function removeDialects(client: pg.ClientBase, owner: string): Promise<RemovedDialect[]> {
  const removed: RemovedDialect[] = []
  // An extension may belong to the role that connected, so extensions go before the role is changed.
  const extensions = new Set<string>()
  for (const name of dialectNames()) {
    if (!(await isExtension(client, name))) continue
    await client.query(`DROP EXTENSION ${name}`)
    extensions.add(name)
  }
  await becomeOwner(client, owner)
  for (const name of dialectNames()) {
    const present = await installedObjects(client, name, owner)
    for (const object of present.reverse()) await client.query(`DROP ${object}`)
    // DROP EXTENSION leaves the schema behind, so an empty one may be all there is.
    const keptSchema = !(await dropIfEmpty(client, name))
    if (present.length > 0 || extensions.has(name))
      removed.push({ name, how: extensions.has(name) ? 'extension' : 'objects', keptSchema })
  }
  return removed
}

async function isExtension(client: pg.ClientBase, name: string): Promise<boolean> {
  const { rowCount } = await client.query('SELECT FROM pg_catalog.pg_extension WHERE extname = $1', [name])
  return rowCount === 1
}

/** The dialect's objects, in the order in which they were made; none when what has their names is somebody else's. */
async function installedObjects(
  client: pg.ClientBase,
  name: string,
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
    [readDialect(name).objects, owner, name],
  )
  const objects = rows.map(({ object }) => object)
  return objects.some((object) => object.includes(` ${name}.`)) ? objects : []
}
