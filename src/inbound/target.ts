// The relation that a consumer loads, as PostgreSQL describes it now. A copy of this goes stale when the relation is
// altered; then COPY or the staged load fails and whoever runs the stream describes it anew.

import { MillraceError } from '../errors.ts'
import type { Column, Target as FormatTarget } from '../formats/format.ts'
import { identifier } from '../postgres/literal.ts'
import type { ConsumerSpec } from './consumer.ts'

/** A column that a load can fill; generated ones are left out. */
export interface TargetColumn extends Column {
  /** For a staging table: its own type, or one that holds the same and whose conversion runs no code of users. */
  stageType: string
  /** `stageType` is no type of PostgreSQL's own: a cast to it may be a user's. */
  ofUsers: boolean
  /** Its own type where the conversion from `stageType` has to be written out; else null. */
  castTo: string | null
  /** SQL expression; null where COPY would put NULL, and for identities. */
  defaultValue: string | null
  identity: 'always' | 'default' | null
  notNull: boolean
}

export interface Target extends FormatTarget {
  columns: TargetColumn[]
  /** Of generated columns too; a SELECT of the user's fills them in order where there is no generated one. */
  hasGenerated: boolean
  /** schema.name, quoted for SQL. */
  relation: string
  /** The role that rows are written as. */
  owner: string
  ownerOid: number
  /** A foreign table: what is written there is not undone with the position (at least once). */
  foreign: boolean
  /** Names of the primary key's columns; empty without one. */
  primaryKey: string[]
  /** The owner is the daemon's role, or as good as that: no way of loading keeps what runs apart from the daemon. */
  trusted: boolean
  /** The owner may TRUNCATE it. */
  truncates: boolean
  /** COPY may go to the relation itself, under the owner's role; else by way of a staging table. */
  direct: boolean
  /** Another one as soon as the relation or a column of it is another one. */
  fingerprint: string
  /** The encoding of text and csv: the role's or the database's client_encoding, else the database's own. */
  encoding: string | null
  /** Of the database; SQL_ASCII converts nothing. */
  databaseEncoding: string
}

export interface QueryRunner {
  query<Row extends Record<string, unknown>>(text: string, values?: unknown[]): Promise<Row[]>
}

interface RelationRow extends Record<string, unknown> {
  oid: number
  relkind: string
  encoding: string
  database: string
  primary_key: string[]
  trusted: boolean
  truncates: boolean
  generated: boolean
  fingerprint: string
}

interface ColumnRow extends Record<string, unknown> {
  name: string
  base: string
  category: string
  element: string | null
  has_default: boolean
  type: string
  stage_type: string
  of_users: boolean
  default_value: string | null
  identity: string
  not_null: boolean
}

/**
 * Describes the relation as it is now, and how it may be loaded.
 * @throws MillraceError relation-missing, target-refused
 */
export async function describeTarget(runner: QueryRunner, spec: ConsumerSpec): Promise<Target> {
  const [relation] = await runner.query<RelationRow>(relationQuery, [spec.schema, spec.name, spec.ownerOid])
  if (!relation) throw new MillraceError('relation-missing', { relation: `${spec.schema}.${spec.name}` })
  const columns = await runner.query<ColumnRow>(columnsQuery, [relation.oid])
  return {
    schema: spec.schema,
    name: spec.name,
    columns: columns.map(describeColumn),
    hasGenerated: relation.generated,
    relation: `${identifier(spec.schema)}.${identifier(spec.name)}`,
    owner: spec.owner,
    ownerOid: spec.ownerOid,
    foreign: relation.relkind === 'f',
    primaryKey: relation.primary_key,
    trusted: relation.trusted,
    truncates: relation.truncates,
    direct: await isDirect(runner, spec),
    fingerprint: relation.fingerprint,
    encoding: spec.encoding ?? (relation.encoding === 'SQL_ASCII' ? null : relation.encoding),
    databaseEncoding: relation.database,
  }
}

/** @throws MillraceError target-refused */
async function isDirect(runner: QueryRunner, spec: ConsumerSpec): Promise<boolean> {
  const [found] = await runner.query<{ way: string; code: string | null; message: string | null }>(
    'SELECT way, code, message FROM millrace.loading_way($1, $2, $3::oid, $4)',
    [spec.schema, spec.name, spec.ownerOid, spec.mode !== 'insert' || spec.transform !== null],
  )
  if (found?.way === 'direct') return true
  if (found?.way === 'staged') return false
  throw new MillraceError('target-refused', {
    topic: spec.topic,
    reason: found?.message ?? 'it cannot be loaded',
  })
}

function describeColumn(row: ColumnRow): TargetColumn {
  return {
    name: row.name,
    type: typeOf(row),
    hasDefault: row.has_default,
    stageType: row.stage_type,
    ofUsers: row.of_users,
    // from what a domain is made of, assignment leads to it; from text nothing does by itself
    castTo: row.stage_type === 'text' && row.base !== 'text' ? row.type : null,
    defaultValue: row.default_value,
    identity: row.identity === 'a' ? 'always' : row.identity === 'd' ? 'default' : null,
    notNull: row.not_null,
  }
}

function typeOf({
  base,
  category,
  element,
}: Pick<ColumnRow, 'base' | 'category' | 'element'>): TargetColumn['type'] {
  if (base === 'json' || base === 'jsonb' || base === 'text' || base === 'bytea') return base
  if (category !== 'A') return 'other'
  if (element === 'json' || element === 'jsonb') return 'json-array'
  return element === 'box' ? 'box-array' : 'array'
}

/** A column of a transform's `batch`. */
export interface BatchColumn {
  name: string
  columnType: Column['type']
  stageType: string
  castTo: string | null
}

/** The columns that a transform asks for, 'name type' each; none: it reads the whole value. */
export async function describeBatchColumns(runner: QueryRunner, spec: ConsumerSpec): Promise<BatchColumn[]> {
  if (spec.transform === null || spec.columns === null) return []
  const rows = await runner.query<BatchColumnRow>(batchColumnsQuery, [spec.columns])
  return rows.map((row) => ({
    name: row.name,
    columnType: typeOf(row),
    stageType: row.stage_type,
    castTo: row.stage_type === row.type ? null : row.type,
  }))
}

interface BatchColumnRow
  extends Pick<ColumnRow, 'name' | 'base' | 'category' | 'element' | 'type' | 'stage_type'> {
  [key: string]: unknown
}

const batchColumnsQuery = `
  SELECT d.name, d.type, t.typname AS base, t.typcategory AS category, e.typname AS element,
         CASE WHEN t.oid < 16384 THEN d.type ELSE 'text' END AS stage_type
    FROM millrace.column_definitions($1) AS d
    JOIN pg_catalog.pg_type AS t ON t.oid = pg_catalog.to_regtype(d.type)
    LEFT JOIN pg_catalog.pg_type AS e ON e.oid = t.typelem AND t.typcategory = 'A'`

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
         pg_catalog.getdatabaseencoding() AS database,
         ARRAY(SELECT a.attname::text FROM pg_catalog.pg_index AS i
                CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, position)
                 JOIN pg_catalog.pg_attribute AS a ON a.attrelid = r.oid AND a.attnum = k.attnum
                WHERE i.indrelid = r.oid AND i.indisprimary AND k.position <= i.indnkeyatts
                ORDER BY k.position) AS primary_key,
         $3::oid = ANY (millrace.trusted_roles()) AS trusted,
         r.relkind IN ('r', 'p', 'f') AND has_table_privilege($3::oid, r.oid, 'TRUNCATE') AS truncates,
         EXISTS (SELECT FROM pg_catalog.pg_attribute AS a
                  WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> '') AS generated,
         millrace.fingerprint($1, $2) AS fingerprint
    FROM pg_catalog.pg_class AS r JOIN pg_catalog.pg_namespace AS n ON n.oid = r.relnamespace
   WHERE n.nspname = $1 AND r.relname = $2`

/** Insertable columns in order; a domain counts as what it is made of. */
const columnsQuery = `
  WITH RECURSIVE base AS (
    SELECT a.attnum, t.oid, t.typtype, t.typdefaultbin, t.typnotnull
      FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
     WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    UNION ALL
    SELECT b.attnum, t.oid, t.typtype, coalesce(b.typdefaultbin, t.typdefaultbin), b.typnotnull OR t.typnotnull
      FROM base AS b JOIN pg_catalog.pg_type AS d ON d.oid = b.oid JOIN pg_catalog.pg_type AS t ON t.oid = d.typbasetype
     WHERE b.typtype = 'd')
  SELECT a.attname AS name, t.typname AS base, t.typcategory AS category, e.typname AS element,
         a.atthasdef OR a.attidentity <> '' OR b.typdefaultbin IS NOT NULL AS has_default,
         pg_catalog.format_type(a.atttypid, a.atttypmod) AS type,
         s.type AS stage_type, pg_catalog.to_regtype(s.type)::oid >= 16384 AS of_users,
         CASE WHEN a.attidentity <> '' THEN NULL
              ELSE coalesce(pg_catalog.pg_get_expr(f.adbin, f.adrelid), pg_catalog.pg_get_expr(b.typdefaultbin, 0)) END
           AS default_value,
         a.attidentity AS identity, a.attnotnull OR b.typnotnull AS not_null
    FROM base AS b
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = $1 AND a.attnum = b.attnum
    JOIN pg_catalog.pg_type AS t ON t.oid = b.oid
    LEFT JOIN pg_catalog.pg_type AS e ON e.oid = t.typelem AND t.typcategory = 'A'
    LEFT JOIN pg_catalog.pg_attrdef AS f ON f.adrelid = $1 AND f.adnum = a.attnum
    CROSS JOIN LATERAL millrace.staging_type(a.atttypid, a.atttypmod) AS s (type)
   WHERE b.typtype <> 'd'
   ORDER BY a.attnum`
