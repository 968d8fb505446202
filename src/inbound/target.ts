// The relation that rows go to, as far as making and writing rows needs it.

import { MillraceError } from '../errors.ts'
import type { Target as FormatTarget } from '../formats/format.ts'
import { identifier } from '../postgres/literal.ts'
import type { ConsumerSpec } from './consumer.ts'

export interface Target extends FormatTarget {
  /** schema.name, quoted for SQL. */
  relation: string
  /** The role that rows are written as. */
  owner: string
  ownerOid: number
  /** A foreign table: what is written there is not undone with the position (at least once). */
  foreign: boolean
  /** The encoding of text and csv: the role's or the database's client_encoding, else the database's own. */
  encoding: string | null
  /** Of the database; SQL_ASCII converts nothing. */
  databaseEncoding: string
  synchronousCommit: string
}

export interface QueryRunner {
  query<Row extends Record<string, unknown>>(text: string, values?: unknown[]): Promise<Row[]>
}

interface ColumnRow extends Record<string, unknown> {
  name: string
  base: string
  category: string
  has_default: boolean
}

/**
 * Describes the relation as it is now.
 * @throws MillraceError relation-missing
 */
export async function describeTarget(
  runner: QueryRunner,
  spec: ConsumerSpec,
  synchronousCommit: string,
): Promise<Target> {
  const [relation] = await runner.query<{
    oid: number
    relkind: string
    encoding: string
    database: string
  }>(relationQuery, [spec.schema, spec.name, spec.ownerOid])
  if (!relation) throw new MillraceError('relation-missing', { relation: `${spec.schema}.${spec.name}` })
  const columns = await runner.query<ColumnRow>(columnsQuery, [relation.oid])
  return {
    schema: spec.schema,
    name: spec.name,
    columns: columns.map((column) => ({
      name: column.name,
      type: typeOf(column),
      hasDefault: column.has_default,
    })),
    relation: `${identifier(spec.schema)}.${identifier(spec.name)}`,
    owner: spec.owner,
    ownerOid: spec.ownerOid,
    foreign: relation.relkind === 'f',
    encoding: spec.encoding ?? (relation.encoding === 'SQL_ASCII' ? null : relation.encoding),
    databaseEncoding: relation.database,
    synchronousCommit,
  }
}

function typeOf(column: ColumnRow): FormatTarget['columns'][number]['type'] {
  switch (column.base) {
    case 'json':
    case 'jsonb':
    case 'text':
    case 'bytea':
      return column.base
    case '_json':
    case '_jsonb':
      return 'json-array'
    case '_box':
      return 'box-array'
    default:
      return column.category === 'A' ? 'array' : 'other'
  }
}

const relationQuery = `
  SELECT r.oid, r.relkind,
         coalesce(
           (SELECT split_part(s.setting, '=', 2)
              FROM pg_catalog.pg_db_role_setting AS d, unnest(d.setconfig) AS s (setting)
             WHERE s.setting LIKE 'client_encoding=%'
               AND d.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
               AND d.setrole IN (0, $3::oid)
             ORDER BY d.setrole <> 0 DESC, d.setdatabase <> 0 DESC LIMIT 1),
           pg_catalog.getdatabaseencoding()) AS encoding,
         pg_catalog.getdatabaseencoding() AS database
    FROM pg_catalog.pg_class AS r JOIN pg_catalog.pg_namespace AS n ON n.oid = r.relnamespace
   WHERE n.nspname = $1 AND r.relname = $2`

/** Insertable columns in order; a domain counts as what it is made of. */
const columnsQuery = `
  WITH RECURSIVE base AS (
    SELECT a.attnum, t.oid, t.typname, t.typcategory, t.typtype, t.typbasetype, t.typdefault IS NOT NULL AS has_default
      FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
     WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    UNION ALL
    SELECT b.attnum, t.oid, t.typname, t.typcategory, t.typtype, t.typbasetype,
           b.has_default OR t.typdefault IS NOT NULL
      FROM base AS b JOIN pg_catalog.pg_type AS t ON t.oid = b.typbasetype
     WHERE b.typtype = 'd')
  SELECT a.attname AS name, b.typname AS base, b.typcategory AS category,
         a.atthasdef OR a.attidentity <> '' OR b.has_default AS has_default
    FROM base AS b JOIN pg_catalog.pg_attribute AS a ON a.attrelid = $1 AND a.attnum = b.attnum
   WHERE b.typtype <> 'd'
   ORDER BY a.attnum`
