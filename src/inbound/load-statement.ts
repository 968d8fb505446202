// What a staged load runs as the consumer's owner: rows go from the staging table to the relation, with whatever they
// set off there, and every constraint is made immediate before the owner's function ends. After that nothing of the
// owner's is left to run with the daemon's rights.
//
// Why SET ROLE would not do: https://www.postgresql.org/docs/current/sql-set-role.html (code can RESET ROLE; within a
// SECURITY DEFINER function it cannot).

import { identifier, literal } from '../postgres/literal.ts'

/** A column of the staging table that becomes a column of the relation. */
export interface StagedColumn {
  name: string
  /** The relation's own type, where the staging table cannot have it because its conversion may run code of users. */
  castTo: string | null
  /** What the relation has where the value is absent: an SQL expression. */
  defaultValue: string | null
  /** Absent, it is left out of the INSERT: that gives it its number. `always`: given at insert, never changed. */
  identity: 'always' | 'default' | null
}

export type LoadMode = 'insert' | 'upsert' | 'changes'

export interface LoadPlan {
  /** The relation, quoted. */
  relation: string
  /** The staging table, quoted. */
  stage: string
  mode: LoadMode
  /** In the order of their numbers in the staging table's list of absent ones. */
  columns: StagedColumn[]
  /** The staging table has that list. */
  marksAbsent: boolean
  /** Names of the columns that tell rows apart; empty for `insert`. */
  keys: string[]
  /** One of them may be NULL, which equals no other. */
  nullableKeys: boolean
  /** The owner may TRUNCATE; else a truncation deletes. */
  truncates: boolean
  transform: Transform | null
}

/** SQL of the user's that makes the rows. */
export interface Transform {
  /** What follows INSERT INTO relation. */
  select: string
  /** Columns of `batch`: name, and the expression over the staging table. */
  batch: { name: string; expression: string }[]
  /** Columns of the relation that are filled; null leaves the list out. */
  into: string[] | null
}

/** The staging table's own columns, beside those of the relation. */
export const stageColumns = {
  /** Which message a row is of; in the order of the messages. */
  tag: 'millrace tag',
  /** Numbers of the columns (from 1) that take their default. */
  absent: 'millrace absent',
  /** u: insert or update, d: delete, t: truncate. */
  op: 'millrace op',
} as const

const tag = identifier(stageColumns.tag)
const op = identifier(stageColumns.op)
const absent = identifier(stageColumns.absent)

/** PL/pgSQL: loads all that is staged, in few statements. Returns the number of rows. */
export function loadBody(plan: LoadPlan): string {
  return `#variable_conflict use_column
DECLARE
  millrace_rows bigint;
  millrace_count bigint := 0;
BEGIN
  ${indented(statements(plan, 'true'), '  ')}
  SET CONSTRAINTS ALL IMMEDIATE;
  RETURN millrace_count;
END`
}

export function indented(text: string, by: string): string {
  return text.replaceAll('\n', `\n${by}`)
}

/** They add to millrace_count. @param filter which rows of the staging table AS s */
export function statements(plan: LoadPlan, filter: string): string {
  if (plan.transform) return counted(transformed(plan, plan.transform, filter))
  if (plan.mode === 'insert') return inserted(plan, filter).join('\n')
  return [...(plan.mode === 'changes' ? [truncated(plan, filter)] : []), ...replaced(plan, filter)].join('\n')
}

function counted(statement: string): string {
  return `${statement};
GET DIAGNOSTICS millrace_rows = ROW_COUNT;
millrace_count := millrace_count + millrace_rows;`
}

function transformed(plan: LoadPlan, { select, batch, into }: Transform, filter: string): string {
  const columns = batch.map(({ name, expression }) => `${expression} AS ${identifier(name)}`)
  const list = into ? ` (${into.map(identifier).join(', ')})` : ''
  return `WITH batch AS (SELECT ${columns.join(', ')} FROM ${plan.stage} AS s WHERE ${filter} ORDER BY s.${tag}, s.ctid)
INSERT INTO ${plan.relation}${list} ${select}`
}

/** @param rest what follows the rows' conditions */
export function inserted(plan: LoadPlan, filter: string, rest = ` ORDER BY s.${tag}, s.ctid`): string[] {
  return forms(plan).map(({ columns, where }) =>
    counted(`INSERT INTO ${plan.relation} (${names(columns)}) OVERRIDING SYSTEM VALUE
SELECT ${values(plan, columns)} FROM ${plan.stage} AS s WHERE ${filter}${where}${rest}`),
  )
}

/** An identity has no expression that the owner could always run; so rows without it are inserted by themselves. */
function forms(plan: LoadPlan): { columns: StagedColumn[]; where: string }[] {
  const index = plan.columns.findIndex((column) => column.identity !== null)
  if (index < 0 || !plan.marksAbsent) return [{ columns: plan.columns, where: '' }]
  const isAbsent = `coalesce(${index + 1} = ANY (s.${absent}), false)`
  return [
    { columns: plan.columns, where: ` AND NOT ${isAbsent}` },
    { columns: plan.columns.filter((_, i) => i !== index), where: ` AND ${isAbsent}` },
  ]
}

/** What was before a truncation in this batch never was. */
function truncated(plan: LoadPlan, filter: string): string {
  const emptying = plan.truncates ? `TRUNCATE ${plan.relation}` : `DELETE FROM ${plan.relation}`
  return `PERFORM FROM ${plan.stage} AS s WHERE s.${op} = 't' AND ${filter};
IF FOUND THEN
  ${emptying};
END IF;`
}

/**
 * The last message of each key decides. Deletions come first: a unique value may go from a row that is deleted to one
 * that is inserted.
 */
function replaced(plan: LoadPlan, filter: string): string[] {
  const keys = plan.keys.map((key) => `s.${identifier(key)}`)
  const distinct = plan.nullableKeys
    ? [...keys, `CASE WHEN ${keys.map((key) => `${key} IS NULL`).join(' OR ')} THEN s.ctid END`]
    : keys
  const since =
    plan.mode === 'changes'
      ? ` AND s.${op} <> 't' AND s.${tag} > coalesce((SELECT max(s.${tag}) FROM ${plan.stage} AS s WHERE s.${op} = 't' AND ${filter}), -1)`
      : ''
  const last = `SELECT DISTINCT ON (${distinct.join(', ')}) s.* FROM ${plan.stage} AS s
    WHERE ${filter}${since} ORDER BY ${distinct.join(', ')}, s.${tag} DESC, s.ctid DESC`
  const same = plan.keys.map((key) => `t.${identifier(key)} = ${expressionOf(plan, key)}`)
  const changed = plan.columns.filter(
    ({ name, identity }) => !plan.keys.includes(name) && identity !== 'always',
  )
  const settings = changed.map(({ name }) => `${identifier(name)} = excluded.${identifier(name)}`)
  const action = settings.length > 0 ? `DO UPDATE SET ${settings.join(', ')}` : 'DO NOTHING'
  return [
    counted(
      `DELETE FROM ${plan.relation} AS t USING (${last}) AS s WHERE s.${op} = 'd' AND ${same.join(' AND ')}`,
    ),
    ...forms(plan).map(({ columns, where }) =>
      counted(`INSERT INTO ${plan.relation} (${names(columns)}) OVERRIDING SYSTEM VALUE
SELECT ${values(plan, columns)} FROM (${last}) AS s WHERE s.${op} <> 'd'${where} ORDER BY s.${tag}
ON CONFLICT (${plan.keys.map(identifier).join(', ')}) ${action}`),
    ),
  ]
}

function names(columns: StagedColumn[]): string {
  return columns.map(({ name }) => identifier(name)).join(', ')
}

function values(plan: LoadPlan, columns: StagedColumn[]): string {
  return columns.map(({ name }) => expressionOf(plan, name)).join(', ')
}

function expressionOf({ columns, marksAbsent }: LoadPlan, name: string): string {
  const index = columns.findIndex((column) => column.name === name)
  const column = columns[index]
  const staged = `s.${identifier(name)}`
  if (!column) return staged
  const given = column.castTo === null ? staged : `CAST(${staged} AS ${column.castTo})`
  if (column.defaultValue === null || !marksAbsent) return given
  return `CASE WHEN ${index + 1} = ANY (s.${absent}) THEN ${column.defaultValue} ELSE ${given} END`
}

/** CREATE FUNCTION in the session's own temporary schema, as the daemon; it still has to be given to the owner. */
export function createFunction(
  signature: string,
  returns: string,
  body: string,
  ownersCode: boolean,
): string {
  const rights = ownersCode ? 'SECURITY DEFINER SET search_path FROM CURRENT' : 'SECURITY INVOKER'
  return `CREATE FUNCTION ${signature} RETURNS ${returns} LANGUAGE plpgsql ${rights} AS ${literal(body)}`
}
