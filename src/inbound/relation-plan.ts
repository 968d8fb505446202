// How messages become rows of one relation, from what was asked for and what the relation is: straight into it, or by way
// of a staging table. Nothing is asked of PostgreSQL here.

import { MillraceError } from '../errors.ts'
import { createFormat } from '../formats/create-format.ts'
import { createExploder, type ExplodedFormat } from '../formats/explode.ts'
import type { Column, Format, FormatOptions, PrefixField } from '../formats/format.ts'
import { identifier } from '../postgres/literal.ts'
import type { ConsumerSpec } from './consumer.ts'
import { type LoadPlan, type StagedColumn, stageColumns, type Transform } from './load-statement.ts'
import type { BatchColumn, Target, TargetColumn } from './target.ts'

/** A column of a staging table. */
interface StageColumn {
  name: string
  type: string
  /** The type is no one of PostgreSQL's own. */
  ofUsers?: boolean
}

/** For a staging table and the function that empties it into the relation. */
export interface StagePlan extends LoadPlan {
  /** The staging table's name, in pg_temp; others are made of it. */
  name: string
  owner: string
  ownerOid: number
  stageColumns: StageColumn[]
  /** Writes what COPY puts into the staging table. */
  format: Format
  /** The same message by message and with every column as text, for messages that fail. */
  exploded: ExplodedFormat
}

export interface RelationPlan {
  target: Target
  /** What batches are built with: for the relation where it is loaded directly, else for the staging table. */
  format: Format
  direct: boolean
  /** Of a direct consumer, too: messages that fail go by way of it. */
  staged: StagePlan
}

/** Metadata in the order in which they are written. */
const metadataFields = ['key', 'topic', 'partition', 'offset', 'timestamp', 'headers'] as const
type MetadataField = (typeof metadataFields)[number]

/** Types of the metadata where a transform reads them. */
const metadataTypes: Record<MetadataField, string> = {
  key: 'bytea',
  topic: 'text',
  partition: 'integer',
  offset: 'bigint',
  timestamp: 'timestamp with time zone',
  headers: 'jsonb',
}

/** @throws MillraceError column-missing, json-path-invalid */
export function planOf(
  spec: ConsumerSpec,
  target: Target,
  batchColumns: BatchColumn[],
  serverVersion: number,
): RelationPlan {
  const common: FormatOptions = {
    ...spec,
    encoding: target.encoding,
    databaseEncoding: target.databaseEncoding,
    target,
    serverVersion,
    tombstone: spec.tombstone ?? (spec.mode === 'insert' ? 'skip' : 'delete'),
    keyColumns: spec.keyColumns ?? target.primaryKey,
  }
  const staged = stagePlan(spec, target, batchColumns, common)
  const metadata = metadataPrefix(spec, target)
  return target.direct
    ? { target, direct: true, format: createFormat({ ...common, prefix: metadata }), staged }
    : { target, direct: false, format: staged.format, staged }
}

/** A session may still have what was made for an earlier plan of the same consumer. */
let nextName = 1

function stagePlan(
  spec: ConsumerSpec,
  target: Target,
  batchColumns: BatchColumn[],
  common: FormatOptions,
): StagePlan {
  const name = `millrace stage ${spec.id} ${nextName++}`
  const stage = (kind: string) => ({ ...target, schema: 'pg_temp', name: `${name}${kind}` })
  const marksAbsent = spec.format === 'json' && target.columns.some((column) => column.hasDefault)
  const own: PrefixField[] = [
    { field: 'tag', column: stageColumns.tag },
    ...(marksAbsent ? ([{ field: 'absent', column: stageColumns.absent }] as const) : []),
    ...(spec.mode === 'insert' ? [] : ([{ field: 'op', column: stageColumns.op }] as const)),
  ]
  const shape = spec.transform === null ? rowsShape(spec, target) : batchShape(spec, batchColumns)
  const options = { ...common, ...shape.options, prefix: [...own, ...shape.prefix] }
  const format = createFormat({ ...options, target: { ...stage(''), columns: shape.columns } })
  const types = new Map(shape.types.map((column) => [column.name, column]))
  const filled = [...shape.prefix.map(({ column }) => column), ...format.columns]
  const keys = [...(common.keyColumns ?? [])]
  return {
    name,
    owner: target.owner,
    ownerOid: target.ownerOid,
    relation: target.relation,
    stage: `pg_temp.${identifier(name)}`,
    mode: spec.mode,
    marksAbsent,
    keys,
    nullableKeys: keys.some((key) => !target.columns.find((column) => column.name === key)?.notNull),
    truncates: target.truncates,
    columns: stagedColumns(target, format.columns, shape.prefix),
    transform: spec.transform === null ? null : transformOf(spec.transform, target, filled, shape.casts),
    stageColumns: [
      { name: stageColumns.tag, type: 'bigint' },
      ...(marksAbsent ? [{ name: stageColumns.absent, type: 'integer[]' }] : []),
      ...(spec.mode === 'insert' ? [] : [{ name: stageColumns.op, type: '"char"' }]),
      ...filled.map((column) => types.get(column) ?? { name: column, type: 'text' }),
    ],
    format,
    exploded: createExploder({ ...options, target: { ...stage(' raw'), columns: shape.columns } }),
  }
}

/** What the staging table holds beside its own columns. */
interface Shape {
  columns: Column[]
  prefix: PrefixField[]
  types: StageColumn[]
  /** The types of a transform's columns that the staging table cannot have. */
  casts: Map<string, string | null>
  options: Partial<FormatOptions>
}

/** The columns of the relation. */
function rowsShape(spec: ConsumerSpec, target: Target): Shape {
  return {
    columns: target.columns,
    prefix: metadataPrefix(spec, target),
    types: target.columns.map(({ name, stageType, ofUsers }) => ({ name, type: stageType, ofUsers })),
    casts: new Map(),
    options: {},
  }
}

/** What a transform calls `batch`: all metadata, and the columns that it named or the whole value. */
function batchShape(spec: ConsumerSpec, batchColumns: BatchColumn[]): Shape {
  const prefix = metadataFields.map((field) => ({
    field,
    column: field,
    type: field === 'key' ? 'bytea' : 'other',
  })) satisfies PrefixField[]
  const metadata = metadataFields.map((field) => ({ name: field, type: metadataTypes[field] }))
  if (batchColumns.length === 0) {
    const type = spec.format === 'json' ? 'jsonb' : 'text'
    const value: Column = { name: 'value', type, hasDefault: false }
    const types = [...metadata, { name: 'value', type }]
    return { columns: [value], prefix, types, casts: new Map(), options: { value, columns: null } }
  }
  return {
    columns: batchColumns.map(({ name, columnType }) => ({ name, type: columnType, hasDefault: false })),
    prefix,
    types: [...metadata, ...batchColumns.map(({ name, stageType }) => ({ name, type: stageType }))],
    casts: new Map(batchColumns.map(({ name, castTo }) => [name, castTo])),
    options: { columns: batchColumns.map(({ name }) => name) },
  }
}

/** @throws MillraceError column-missing */
function metadataPrefix(spec: ConsumerSpec, target: Target): PrefixField[] {
  const asked = spec.metadata ?? {}
  return metadataFields.flatMap((field) => {
    const name = asked[field]
    if (name === undefined) return []
    const column = target.columns.find((one) => one.name === name)
    if (!column) throw new MillraceError('column-missing', { relation: target.relation, column: name })
    return [{ field, column: name, type: column.type }]
  })
}

/** In the order of the format's own columns, so that their numbers are those of the list of absent ones. */
function stagedColumns(target: Target, filled: readonly string[], prefix: PrefixField[]): StagedColumn[] {
  return [...filled, ...prefix.map(({ column }) => column)].flatMap((name) => {
    const column = target.columns.find((one) => one.name === name)
    return column ? [stagedColumn(column)] : []
  })
}

function stagedColumn({ name, castTo, defaultValue, identity }: TargetColumn): StagedColumn {
  return { name, castTo, defaultValue, identity }
}

/** A relation with generated columns needs a list of the others. */
function transformOf(
  select: string,
  target: Target,
  filled: string[],
  casts: Map<string, string | null>,
): Transform {
  const expression = (name: string) => {
    const type = casts.get(name)
    return type ? `CAST(s.${identifier(name)} AS ${type})` : `s.${identifier(name)}`
  }
  return {
    select,
    batch: filled.map((name) => ({ name, expression: expression(name) })),
    into: target.hasGenerated ? target.columns.map(({ name }) => name) : null,
  }
}
