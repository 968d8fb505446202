// A snapshot's writer is code of a table's owner, whatever the function is that was named: so it is called in a function of
// that owner's, where nobody else can alter it.

import { identifier, literal } from '../postgres/literal.ts'
import { callOwnersCode, giveUpTampered } from '../postgres/owner-code.ts'
import type { Session } from '../postgres/session.ts'

/** The writer did not answer as a writer does. */
export class WriterAnswer extends Error {}

export interface Owner {
  oid: string
  name: string
}

/** What a writer is asked for: blocks, or single places. */
export interface Asked {
  relation: string
  /** The writer's name with its schema, quoted. */
  writer: string
  firstBlock: string
  endBlock: string
  /** PostgreSQL's text of a tid[]. */
  again: string
}

export interface Written {
  written: string
  /** PostgreSQL's text of a tid[]. */
  skipped: string
  /** Milliseconds that the server took. */
  took: number
}

/** A session may have served another role before: each has a function of its own. */
function nameFor({ oid }: Owner): string {
  return `millrace snapshot ${oid}`
}

function wrapperOf(owner: Owner): string {
  return `pg_temp.${identifier(nameFor(owner))}`
}

/** Places that a chunk may leave: so many rows fit into the 2048 blocks of the largest one. */
const mostSkipped = 600_000

/** Makes the function where there is none. Not within a transaction: a rollback would undo it. */
export async function prepareWriter(session: Session, owner: Owner): Promise<void> {
  if (session.keepsakes.has(nameFor(owner))) return
  const wrapper = wrapperOf(owner)
  const [made] = await session.script<{ version: string | null }>(
    `CREATE FUNCTION ${wrapper}(writer text, relation oid, first_block bigint, end_block bigint, again tid[])
       RETURNS TABLE (written bigint, skipped tid[])
       LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS ${literal(body)};
     ALTER FUNCTION ${wrapper} OWNER TO ${identifier(owner.name)};
     ${inspect(owner)}`,
  )
  session.keepsakes.set(nameFor(owner), made?.version)
}

const body = `#variable_conflict use_column
BEGIN
  RETURN QUERY EXECUTE pg_catalog.format(
    'SELECT w.written, w.skipped FROM %s($1, $2, $3, $4) AS w (written, skipped)', writer)
    USING relation, first_block, end_block, again;
END`

/** Finds whatever has the function's name: an altered one is another version of its row, and there may be only one. */
export function inspect(owner: Owner): string {
  return `
  SELECT pg_catalog.string_agg(pg_catalog.concat_ws('/', p.oid, p.xmin, p.ctid, p.prosecdef, p.proowner), ',') AS version
    FROM pg_catalog.pg_proc AS p
   WHERE p.pronamespace = pg_catalog.pg_my_temp_schema() AND p.proname = ${literal(nameFor(owner))}`
}

/**
 * The session is given up where the function is not what was made.
 * @param found what `inspect` has found, since no code of the owner's ran
 * @throws SessionTampered
 */
export function checkWriter(
  session: Session,
  owner: Owner,
  found: { version: string | null } | undefined,
): void {
  const made = session.keepsakes.get(nameFor(owner))
  if (typeof made === 'string' && found?.version === made) return
  giveUpTampered(session, 'what the snapshot is made of')
}

/**
 * Within a transaction, which after an error cannot go on; `checkWriter` comes first.
 * @throws PostgreSQL's error, DefersCode, WriterAnswer
 */
export async function callWriter(session: Session, owner: Owner, asked: Asked): Promise<Written> {
  const { relation, writer, firstBlock, endBlock, again } = asked
  const [answer] = await callOwnersCode<Answer>(
    session,
    owner.oid,
    `SELECT w.written::text AS written,
            CASE WHEN pg_catalog.cardinality(w.skipped) <= ${mostSkipped} THEN w.skipped::text END AS skipped,
            extract(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.statement_timestamp())::float8 * 1000 AS took
       FROM ${wrapperOf(owner)}(${literal(writer)}::text, ${relation}::oid, ${firstBlock}::bigint, ${endBlock}::bigint,
                      ${literal(again)}::tid[]) AS w LIMIT 1`,
  )
  const { written = null, skipped = null, took = 0 } = answer ?? {}
  if (written === null || skipped === null || written.startsWith('-'))
    throw new WriterAnswer('the writer did not return how many rows it wrote, and which it skipped')
  return { written, skipped, took }
}

interface Answer {
  written: string | null
  skipped: string | null
  took: number
}
