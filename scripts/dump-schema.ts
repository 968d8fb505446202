// Writes sql/schema.sql: what the migrations add up to, so that a migration shows in review as the change of the
// schema that it is. Read from the catalogs of PostgreSQL 18, in an order that does not depend on anything else.
//   node scripts/dump-schema.ts

import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type pg from 'pg'

export const dumpFile = fileURLToPath(new URL('../sql/schema.sql', import.meta.url))

/** @param client of a database where the schema is installed */
export async function dumpSchema(client: pg.ClientBase): Promise<string> {
  await client.query('SET search_path = pg_catalog, pg_temp')
  const parts = await Promise.all(
    [relations, functions].map((query) => client.query<{ text: string }>(query)),
  )
  const texts = parts.flatMap(({ rows }) => rows.map(({ text }) => text.replaceAll(/[ \t]+$/gm, '').trim()))
  return `-- Made by scripts/dump-schema.ts from a database with the schema installed. Nothing reads it but people.

${texts.join('\n\n')}
`
}

// Who was granted what, the owner's own rights left out.
const grants = (acl: string, kind: string, object: string): string => `
  SELECT string_agg(format('GRANT %s ON ${kind} %s TO %s;', rights, ${object}, grantee), E'\\n' ORDER BY grantee)
  FROM (
    SELECT string_agg(privilege_type, ', ' ORDER BY privilege_type) AS rights,
      CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS grantee
    FROM aclexplode(${acl}) AS a WHERE a.grantee <> a.grantor GROUP BY 2
  ) AS g`

const comment = (kind: string, object: string, text: string): string =>
  `SELECT format('COMMENT ON ${kind} %s IS %L;', ${object}, ${text}) WHERE ${text} IS NOT NULL`

const columnGrants = `
  SELECT string_agg(format('GRANT %s (%s) ON TABLE %s TO PUBLIC;', privilege_type, columns, c.oid::regclass), E'\\n'
    ORDER BY privilege_type)
  FROM (
    SELECT x.privilege_type, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) AS columns
    FROM pg_attribute AS a, aclexplode(a.attacl) AS x WHERE a.attrelid = c.oid AND x.grantee = 0 GROUP BY 1
  ) AS g`

const relations = `
  SELECT concat_ws(E'\\n',
    CASE c.relkind
      WHEN 'v' THEN format('CREATE VIEW %s%s AS%s', c.oid::regclass,
        ' WITH (' || array_to_string(c.reloptions, ', ') || ')', E'\\n' || pg_get_viewdef(c.oid, true))
      WHEN 'S' THEN (SELECT format('CREATE SEQUENCE %s AS %s START %s INCREMENT %s CACHE %s;', c.oid::regclass,
        format_type(seqtypid, NULL), seqstart, seqincrement, seqcache) FROM pg_sequence WHERE seqrelid = c.oid)
      ELSE format(E'CREATE TABLE %s (\\n%s\\n)%s;', c.oid::regclass, (
        SELECT string_agg('  ' || line, E',\\n' ORDER BY place, line) FROM (
          SELECT a.attnum::integer AS place, concat_ws(' ', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
            'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), CASE WHEN a.attnotnull THEN 'NOT NULL' END,
            CASE a.attidentity WHEN 'a' THEN 'GENERATED ALWAYS AS IDENTITY' END)
          FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
          WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
          UNION ALL
          SELECT 10000, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = c.oid AND contype <> 'n'
        ) AS lines (place, line)),
        ' WITH (' || array_to_string(c.reloptions, ', ') || ')')
    END,
    (SELECT string_agg(pg_get_indexdef(i.indexrelid) || ';', E'\\n' ORDER BY i.indexrelid::regclass::text)
      FROM pg_index AS i WHERE i.indrelid = c.oid
        AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid AND conrelid = c.oid)),
    (SELECT string_agg(pg_get_triggerdef(t.oid) || ';', E'\\n' ORDER BY t.tgname)
      FROM pg_trigger AS t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal),
    (SELECT string_agg(pg_get_ruledef(r.oid), E'\\n' ORDER BY r.rulename)
      FROM pg_rewrite AS r WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN'),
    CASE WHEN c.relrowsecurity THEN format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY;', c.oid::regclass) END,
    (SELECT string_agg(format('CREATE POLICY %I ON %s FOR %s', p.polname, c.oid::regclass,
        CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END)
        || coalesce(E'\\n  USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', '')
        || coalesce(E'\\n  WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', '') || ';',
        E'\\n' ORDER BY p.polname)
      FROM pg_policy AS p WHERE p.polrelid = c.oid),
    (${grants('c.relacl', "' || CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END || '", 'c.oid::regclass')}),
    (${columnGrants}),
    (${comment("' || CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END || '", 'c.oid::regclass', "obj_description(c.oid, 'pg_class')")}),
    (SELECT string_agg(format('COMMENT ON COLUMN %s.%I IS %L;', c.oid::regclass, a.attname, d.description), E'\\n' ORDER BY a.attnum)
      FROM pg_attribute AS a JOIN pg_description AS d ON d.objoid = c.oid AND d.classoid = 'pg_class'::regclass AND d.objsubid = a.attnum
      WHERE a.attrelid = c.oid AND a.attnum > 0)
  ) AS text
  FROM pg_class AS c WHERE c.relnamespace = 'millrace'::regnamespace AND (c.relkind IN ('r', 'v')
    OR (c.relkind = 'S' AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND classid = 'pg_class'::regclass AND deptype = 'i')))
  ORDER BY c.relkind, c.relname`

const functions = `
  SELECT concat_ws(E'\\n', pg_get_functiondef(p.oid) || ';',
    (${grants('p.proacl', 'FUNCTION', 'p.oid::regprocedure')}),
    (${comment('FUNCTION', 'p.oid::regprocedure', "obj_description(p.oid, 'pg_proc')")})) AS text
  FROM pg_proc AS p WHERE p.pronamespace = 'millrace'::regnamespace
  ORDER BY p.proname, p.oid::regprocedure::text`

async function main(): Promise<void> {
  const { startPostgres } = await import('../stack/postgres.ts')
  const { connect } = await import('../src/postgres/connection.ts')
  const { upgradeSchema } = await import('../src/postgres/schema.ts')
  const server = await startPostgres()
  try {
    const client = await connect(server.url)
    await upgradeSchema(client)
    await writeFile(dumpFile, await dumpSchema(client))
    await client.end()
    console.log(dumpFile)
  } finally {
    await server.remove()
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
