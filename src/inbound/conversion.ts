// Messages that came with every column as text become rows of the staging table, or a reason why not. A row's text is
// read as the staging table's own row type: that calls the input function of each column's type, with its limits, as COPY
// does. The types are those that the table has, not whatever has their names by now; nobody's cast is called, and a
// varchar that is too long fails.
//
// Reading without an exception: https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-VALIDITY

import { messageClauses } from '../pipeline/error-policy.ts'
import { identifier, literal } from '../postgres/literal.ts'
import { failedColumns, failedTable, longestReason, messagesOfBlock } from './failed-message.ts'
import { createFunction, stageColumns } from './load-statement.ts'
import type { StagePlan } from './relation-plan.ts'
import { columnList, stageName } from './stage-name.ts'

const tag = identifier(stageColumns.tag)

/** The tables' aliases must not be names of users' columns: those would be found first. */
const row = identifier('millrace raw row')

/** From this version on types say without an exception what they do not take. */
export const softErrorsSince = 160000

/** Makes the table with the texts, and a function that converts it message by message. */
export function createRaw(plan: StagePlan): string {
  const raw = stageName(plan, ' raw')
  const results = `TABLE (millrace_row ${plan.stage}, ${failedTable})`
  const kept: string[] = Object.values(stageColumns)
  const columns = plan.stageColumns.map(({ name, type }) => ({
    name,
    type: kept.includes(name) ? type : 'text',
  }))
  return `
    CREATE TEMPORARY TABLE ${identifier(`${plan.name} raw`)} (${columnList(columns)}) ON COMMIT DELETE ROWS;
    ${createFunction(`${stageName(plan, ' convert')}()`, results, convertBody(plan, raw), false)}`
}

/** A message that fails here writes nothing in its subtransaction, so it takes no transaction id. */
function convertBody(plan: StagePlan, raw: string): string {
  return `DECLARE
  r ${raw};
BEGIN
  FOR r IN SELECT * FROM ${raw} LOOP
    millrace_failed_tag := NULL;
    BEGIN
      millrace_row := r::text::${plan.stage};
    EXCEPTION WHEN OTHERS THEN
      IF NOT (${messageClauses('SQLSTATE', 'conversion')}) THEN
        RAISE;
      END IF;
      millrace_row := NULL;
      millrace_failed_tag := r.${tag};
      millrace_sqlstate := SQLSTATE;
      millrace_reason := SQLERRM;
    END;
    RETURN NEXT;
  END LOOP;
END`
}

/** Statements that convert everything; the last one says what failed. No row of a message that failed is staged. */
export function convertEach(plan: StagePlan): string {
  return `${emptyStage(plan)};
    WITH converted AS MATERIALIZED (SELECT * FROM ${stageName(plan, ' convert')}()),
    failed AS MATERIALIZED (
      SELECT ${failedColumns} FROM converted WHERE millrace_failed_tag IS NOT NULL),
    staged AS (
      INSERT INTO ${plan.stage} SELECT (c.millrace_row).* FROM converted AS c
       WHERE c.millrace_failed_tag IS NULL
         AND NOT EXISTS (SELECT FROM failed AS f WHERE f.tag = (c.millrace_row).${tag}))
    ${failedBlocks}`
}

/**
 * The same in one go and without exceptions, at a fraction of the cost. It fails where a type knows no other way to say what
 * is wrong.
 */
export function convertAll(plan: StagePlan): string {
  const raw = stageName(plan, ' raw')
  const arguments_ = `${row}::text, ${literal(plan.stage)}`
  return `${emptyStage(plan)};
    WITH failed AS MATERIALIZED (
      SELECT e.tag, (e.error).sql_error_code AS sqlstate, pg_catalog.left((e.error).message, ${longestReason}) AS reason
        FROM (SELECT ${row}.${tag} AS tag, pg_catalog.pg_input_error_info(${arguments_}) AS error FROM ${raw} AS ${row}
               WHERE NOT pg_catalog.pg_input_is_valid(${arguments_}) OFFSET 0) AS e),
    staged AS (
      INSERT INTO ${plan.stage} SELECT (c.millrace_row).*
        FROM (SELECT ${row}::text::${plan.stage} AS millrace_row FROM ${raw} AS ${row}
               WHERE NOT EXISTS (SELECT FROM failed AS f WHERE f.tag = ${row}.${tag}) OFFSET 0) AS c)
    ${failedBlocks}`
}

/** A client takes in few large values faster than many small ones. Their order is that of the rows. */
const failedBlocks = `
    SELECT pg_catalog.json_agg(f.tag) AS tags, pg_catalog.json_agg(f.sqlstate) AS sqlstates,
           pg_catalog.json_agg(f.reason) AS reasons
      FROM (SELECT n.tag, n.sqlstate, n.reason, n.tag / ${messagesOfBlock} AS block
              FROM (SELECT failed.*, pg_catalog.row_number() OVER () AS place FROM failed) AS n
             ORDER BY block, n.place) AS f
     GROUP BY f.block ORDER BY f.block`

export function emptyRaw(plan: StagePlan): string {
  return emptied(stageName(plan, ' raw'))
}

function emptyStage(plan: StagePlan): string {
  return emptied(plan.stage)
}

/** Rows that are deleted would be passed over by whatever reads the table until COMMIT. */
function emptied(table: string): string {
  const truncation = `BEGIN
  IF EXISTS (SELECT FROM ${table}) THEN
    TRUNCATE ${table};
  END IF;
END`
  return `DO ${literal(truncation)}`
}
