// The part of a staged load that lives in a session: temporary tables of the daemon's, and functions that belong to
// the consumer's owner and run as that role. Whatever the owner's code left behind in the session is undone in the
// same script, before anything else runs there as the daemon; its functions are compared with how they were made,
// because code that ran in this session could have altered them (no other session can reach them).

import { failpoint } from '../failpoint.ts'
import type { ExplodedFormat } from '../formats/explode.ts'
import type { Segment } from '../formats/format.ts'
import { identifier, literal } from '../postgres/literal.ts'
import type { Session } from '../postgres/session.ts'
import { createFunction, loadBodies, stageColumns } from './load-statement.ts'
import type { StagePlan } from './relation-plan.ts'

/** A message that failed by itself. */
export interface FailedMessage {
  tag: number
  sqlstate: string
  reason: string
}

/** Something in this session is not as it was made: the session is not used any more. */
export class SessionTampered extends Error {}

/** A trigger of the user's would have waited for COMMIT, where before version 18 it runs as the daemon. */
export class DefersCode extends Error {}

export class Staging {
  readonly #session: Session
  readonly #plan: StagePlan
  /** What each function was when it was made: an altered one is another version of its row. */
  readonly #functions: string
  readonly #oids: string
  #salvages = false

  private constructor(session: Session, plan: StagePlan, made: { oids: string; functions: string }) {
    this.#session = session
    this.#plan = plan
    this.#functions = made.functions
    this.#oids = made.oids
  }

  /** What was prepared. */
  static in(session: Session, plan: StagePlan): Staging {
    const found = session.keepsakes.get(plan)
    if (!(found instanceof Staging)) throw new Error('the staging tables were not prepared')
    return found
  }

  /** Makes tables and functions where there are none. Not within a transaction: a rollback would undo them. */
  static async prepare(session: Session, plans: StagePlan[]): Promise<void> {
    const missing = () => plans.filter((plan) => !session.keepsakes.has(plan))
    if (session.keepsakes.size + missing().length > keptStagings && session.keepsakes.size > 0)
      await session.forget()
    for (const plan of missing()) await Staging.#make(session, plan)
  }

  static async #make(session: Session, plan: StagePlan): Promise<void> {
    const [made] = await session.script<{ oids: string; functions: string }>(createStage(session, plan))
    if (!made) throw new Error('the staging functions were not made')
    session.keepsakes.set(plan, new Staging(session, plan, made))
  }

  get exploded(): ExplodedFormat {
    return this.#plan.exploded
  }

  /** COPY into the staging table. */
  async fill(segments: Segment[]): Promise<void> {
    for (const segment of segments) {
      await this.#session.copyIn(this.#plan.format.copyStatement(segment), segment.chunks)
    }
  }

  /** Before the transaction that takes messages one by one. */
  async prepareSalvage(): Promise<void> {
    if (this.#salvages) return
    await this.#session.script(createRaw(this.#plan))
    this.#salvages = true
  }

  /** COPY of messages with every column as text; `convert` makes rows of the staging table of them. */
  async fillRaw(segments: Segment[]): Promise<void> {
    for (const segment of segments) {
      await this.#session.copyIn(this.#plan.exploded.copyStatement(segment), segment.chunks)
    }
  }

  /** Messages that have a value which is none of its column's type are noted as failed. */
  async convert(): Promise<void> {
    const { stage } = this.#plan
    const failed = named(this.#plan, ' failed')
    await this.#session.script(
      `INSERT INTO ${stage} SELECT * FROM ${named(this.#plan, ' convert')}();
       DELETE FROM ${stage} AS s USING ${failed} AS f WHERE s.${tag} = f.tag;
       DELETE FROM ${named(this.#plan, ' raw')}`,
    )
  }

  /** Loads what is staged and empties the staging table. @throws PostgreSQL's error */
  async loadAll(): Promise<void> {
    await this.#call(`SELECT ${named(this.#plan, ' load')}()`)
  }

  /** The same, message by message; those that fail are noted. */
  async loadEach(): Promise<void> {
    await this.#call(
      `INSERT INTO ${named(this.#plan, ' failed')} SELECT * FROM ${named(this.#plan, ' each')}()`,
    )
  }

  /** What `convert` and `loadEach` noted, in order; then the note is empty. */
  async takeFailed(): Promise<FailedMessage[]> {
    const failed = named(this.#plan, ' failed')
    const rows = await this.#session.script<{ tag: string; sqlstate: string; reason: string }>(
      `WITH taken AS (DELETE FROM ${failed} RETURNING *)
       SELECT DISTINCT ON (tag) tag, sqlstate, pg_catalog.left(reason, ${longestReason}) AS reason FROM taken ORDER BY tag`,
    )
    return rows.map(({ tag, sqlstate, reason }) => ({ tag: Number(tag), sqlstate, reason }))
  }

  /** Calls the owner's code, and undoes whatever it may have left in the session. */
  async #call(statement: string): Promise<void> {
    const session = this.#session
    const [intact] = await session.script<{ functions: string }>(inspect(this.#oids))
    if (intact?.functions !== this.#functions) {
      session.discard(new SessionTampered('a function of the staged load was altered'))
      throw new SessionTampered('a function of the staged load was altered')
    }
    failpoint('inbound.before-owner')
    const [left] = await session.script<{ message: string }>(
      `${statement};
       CLOSE ALL;
       ${session.resetScript};
       DELETE FROM ${this.#plan.stage};
       SELECT message FROM millrace.deferred_code(${this.#plan.ownerOid}::oid)`,
    )
    if (left) throw new DefersCode(left.message)
  }
}

const tag = identifier(stageColumns.tag)

/** Each assignment of a consumer makes its own; a session with more begins anew. */
const keptStagings = 64

/** Characters of PostgreSQL's message that are kept. */
const longestReason = 2000

function named({ name }: StagePlan, kind: string): string {
  return `pg_temp.${identifier(`${name}${kind}`)}`
}

function columnList(columns: { name: string; type: string }[]): string {
  return columns.map(({ name, type }) => `${identifier(name)} ${type}`).join(', ')
}

function createStage(session: Session, plan: StagePlan): string {
  const { all, each } = loadBodies(plan)
  const owner = identifier(plan.owner)
  const [load, loadEach] = [named(plan, ' load'), named(plan, ' each')]
  const failed = 'TABLE (millrace_failed_tag bigint, millrace_sqlstate text, millrace_reason text)'
  return `
    CREATE TEMPORARY TABLE ${identifier(plan.name)} (${columnList(plan.stageColumns)}) ON COMMIT DELETE ROWS;
    GRANT SELECT ON ${plan.stage} TO ${owner};
    SELECT pg_catalog.set_config('search_path', ${literal(session.ownSearchPath)}, true);
    ${createFunction(`${load}()`, 'bigint', all, true)};
    ${createFunction(`${loadEach}()`, failed, each, true)};
    SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    ALTER FUNCTION ${load}() OWNER TO ${owner};
    ALTER FUNCTION ${loadEach}() OWNER TO ${owner};
    SELECT pg_catalog.string_agg(p.oid::text, ',') AS oids, ${versions} AS functions
      FROM pg_catalog.pg_proc AS p WHERE p.oid IN (${literal(`${load}()`)}::regprocedure, ${literal(`${loadEach}()`)}::regprocedure)`
}

/** For messages that fail: every column as text, and one conversion after the other. */
function createRaw(plan: StagePlan): string {
  const [raw, failed] = [named(plan, ' raw'), named(plan, ' failed')]
  const kept: string[] = Object.values(stageColumns)
  const columns = plan.stageColumns.map(({ name, type }) => ({
    name,
    type: kept.includes(name) ? type : 'text',
  }))
  return `
    CREATE TEMPORARY TABLE ${identifier(`${plan.name} raw`)} (${columnList(columns)}) ON COMMIT DELETE ROWS;
    CREATE TEMPORARY TABLE ${identifier(`${plan.name} failed`)} (tag bigint, sqlstate text, reason text) ON COMMIT DELETE ROWS;
    ${createFunction(`${named(plan, ' convert')}()`, `SETOF ${plan.stage}`, convertBody(plan, raw, failed), false)}`
}

/**
 * Assignment in PL/pgSQL converts as COPY does: by the type's input function, with its limits (a varchar that is too
 * long fails). A message that fails here writes nothing in its subtransaction, so it takes no transaction id.
 */
function convertBody(plan: StagePlan, raw: string, failed: string): string {
  const assignments = plan.stageColumns.map(({ name }) => `v.${identifier(name)} := r.${identifier(name)};`)
  return `DECLARE
  r ${raw};
  v ${plan.stage};
BEGIN
  FOR r IN SELECT * FROM ${raw} LOOP
    BEGIN
      ${assignments.join('\n      ')}
      RETURN NEXT v;
    EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR feature_not_supported
      OR datatype_mismatch OR undefined_object OR undefined_table OR undefined_function OR undefined_column
      OR invalid_name OR ambiguous_function OR syntax_error THEN
      INSERT INTO ${failed} VALUES (r.${tag}, SQLSTATE, SQLERRM);
    END;
  END LOOP;
END`
}

const versions = `pg_catalog.string_agg(pg_catalog.concat_ws('/', p.oid, p.xmin, p.ctid), ',' ORDER BY p.oid)`

function inspect(oids: string): string {
  return `SELECT ${versions} AS functions FROM pg_catalog.pg_proc AS p WHERE p.oid IN (${oids}) AND p.prosecdef`
}
