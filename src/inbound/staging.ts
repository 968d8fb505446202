// The part of a staged load that lives in a session: temporary tables of the daemon's, and functions that belong to
// the consumer's owner and run as that role. No other session can reach them.

import { failpoint } from '../failpoint.ts'
import type { ExplodedFormat } from '../formats/explode.ts'
import type { Segment } from '../formats/format.ts'
import { messageClauses } from '../pipeline/error-policy.ts'
import { identifier, literal } from '../postgres/literal.ts'
import { callOwnersCode, giveUpTampered } from '../postgres/owner-code.ts'
import type { Session } from '../postgres/session.ts'
import { createFunction, loadBodies, stageColumns } from './load-statement.ts'
import type { StagePlan } from './relation-plan.ts'

/** A message that failed by itself. */
export interface FailedMessage {
  tag: number
  sqlstate: string
  reason: string
}

export class Staging {
  readonly #session: Session
  readonly #plan: StagePlan
  /** What the tables and functions were when they were made. */
  #objects: string
  #salvages = false
  /** Something may be staged. */
  #filled = false

  private constructor(session: Session, plan: StagePlan, objects: string) {
    this.#session = session
    this.#plan = plan
    this.#objects = objects
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
    const [made] = await session.script<{ objects: string }>(
      `${createStage(session, plan)}; ${inspect(plan)}`,
    )
    session.keepsakes.set(plan, new Staging(session, plan, made?.objects ?? ''))
  }

  get exploded(): ExplodedFormat {
    return this.#plan.exploded
  }

  /** COPY into the staging table. */
  async fill(segments: Segment[]): Promise<void> {
    await this.#inspect()
    if (this.#filled) await this.#session.script(`DELETE FROM ${this.#plan.stage}`)
    this.#filled = true
    for (const segment of segments) {
      await this.#session.copyIn(this.#plan.format.copyStatement(segment), segment.chunks)
    }
  }

  /** Before the transaction that takes messages one by one. */
  async prepareSalvage(): Promise<void> {
    if (this.#salvages) return
    await this.#inspect()
    const [made] = await this.#session.script<{ objects: string }>(
      `${createRaw(this.#plan)}; ${inspect(this.#plan)}`,
    )
    this.#objects = made?.objects ?? ''
    this.#salvages = true
  }

  /** COPY of messages with every column as text; `convert` makes rows of the staging table of them. */
  async fillRaw(segments: Segment[]): Promise<void> {
    await this.#inspect()
    await this.#session.script(`DELETE FROM ${named(this.#plan, ' raw')}`)
    for (const segment of segments) {
      await this.#session.copyIn(this.#plan.exploded.copyStatement(segment), segment.chunks)
    }
  }

  /**
   * Makes rows of the staging table of what `fillRaw` has brought.
   * @returns messages that have a value which is none of its column's type; no row of theirs is staged
   */
  async convert(): Promise<FailedMessage[]> {
    const { stage } = this.#plan
    const rows = await this.#session.script<FailedRow>(
      `DELETE FROM ${stage};
       WITH converted AS MATERIALIZED (SELECT * FROM ${named(this.#plan, ' convert')}()),
       staged AS (
         INSERT INTO ${stage} SELECT (c.millrace_row).* FROM converted AS c
          WHERE c.millrace_failed_tag IS NULL AND NOT EXISTS (
            SELECT FROM converted AS f WHERE f.millrace_failed_tag = (c.millrace_row).${tag}))
       SELECT ${failedColumns} FROM converted WHERE millrace_failed_tag IS NOT NULL`,
    )
    return failedMessages(rows)
  }

  /** Loads what is staged. @throws PostgreSQL's error */
  async loadAll(): Promise<void> {
    await this.#call(`SELECT ${named(this.#plan, ' load')}()`)
  }

  /** The same, message by message. @returns those that fail */
  async loadEach(): Promise<FailedMessage[]> {
    return failedMessages(
      await this.#call<FailedRow>(`SELECT ${failedColumns} FROM ${named(this.#plan, ' each')}()`),
    )
  }

  /**
   * Before anything of this session's own is used by its name: the owner's code could have dropped it (DISCARD TEMP asks
   * nobody) and made something else of that name.
   * @throws SessionTampered
   */
  async #inspect(): Promise<void> {
    const [found] = await this.#session.script<{ objects: string | null }>(inspect(this.#plan))
    if (found?.objects === this.#objects) return
    giveUpTampered(this.#session, 'what the staged load is made of')
  }

  /** Calls the owner's code. @returns the statement's rows */
  async #call<Row extends Record<string, unknown>>(statement: string): Promise<Row[]> {
    await this.#inspect()
    failpoint('inbound.before-owner')
    return callOwnersCode<Row>(this.#session, this.#plan.ownerOid, statement)
  }
}

interface FailedRow extends Record<string, unknown> {
  tag: string
  sqlstate: string
  reason: string
}

/** Characters of PostgreSQL's message that are kept. */
const longestReason = 2000

/** Of the functions that take messages one by one: of each that fails. */
const failedTable = 'millrace_failed_tag bigint, millrace_sqlstate text, millrace_reason text'
const failedColumns = `millrace_failed_tag AS tag, millrace_sqlstate AS sqlstate,
  pg_catalog.left(millrace_reason, ${longestReason}) AS reason`

/** In the order of the messages. Of one with several rows that fail, the first reason counts. */
function failedMessages(rows: FailedRow[]): FailedMessage[] {
  const failed = new Map<number, FailedMessage>()
  for (const { tag, sqlstate, reason } of rows) {
    if (!failed.has(Number(tag))) failed.set(Number(tag), { tag: Number(tag), sqlstate, reason })
  }
  return [...failed.values()]
}

const tag = identifier(stageColumns.tag)

/** Each assignment of a consumer makes its own; a session with more begins anew. */
const keptStagings = 64

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
  return `
    CREATE TEMPORARY TABLE ${identifier(plan.name)} (${columnList(plan.stageColumns)}) ON COMMIT DELETE ROWS;
    GRANT SELECT ON ${plan.stage} TO ${owner};
    SELECT pg_catalog.set_config('search_path', ${literal(session.ownSearchPath)}, true);
    ${createFunction(`${load}()`, 'bigint', all, true)};
    ${createFunction(`${loadEach}()`, `TABLE (${failedTable})`, each, true)};
    SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    ALTER FUNCTION ${load}() OWNER TO ${owner};
    ALTER FUNCTION ${loadEach}() OWNER TO ${owner}`
}

/** For messages that fail: every column as text, and one conversion after the other. */
function createRaw(plan: StagePlan): string {
  const raw = named(plan, ' raw')
  const results = `TABLE (millrace_row ${plan.stage}, ${failedTable})`
  const kept: string[] = Object.values(stageColumns)
  const columns = plan.stageColumns.map(({ name, type }) => ({
    name,
    type: kept.includes(name) ? type : 'text',
  }))
  return `
    CREATE TEMPORARY TABLE ${identifier(`${plan.name} raw`)} (${columnList(columns)}) ON COMMIT DELETE ROWS;
    ${createFunction(`${named(plan, ' convert')}()`, results, convertBody(plan, raw), false)}`
}

/**
 * Assignment in PL/pgSQL converts as COPY does: by the type's input function, with its limits (a varchar that is too
 * long fails). That is so for types of PostgreSQL's own, but for regclass, which has a cast that takes no number. To a
 * type of a user's an assignment calls a cast of the user's, where there is one, and here it would run as the daemon; a
 * constant is converted by the input function alone.
 * A message that fails here writes nothing in its subtransaction, so it takes no transaction id.
 */
function convertBody(plan: StagePlan, raw: string): string {
  const assignments = plan.stageColumns.map(({ name, type, ofUsers }) => {
    const [to, from] = [`v.${identifier(name)}`, `r.${identifier(name)}`]
    return ofUsers || type === 'regclass'
      ? `EXECUTE 'SELECT ' || pg_catalog.quote_nullable(${from}) || ${literal(`::${type}`)} INTO ${to};`
      : `${to} := ${from};`
  })
  return `DECLARE
  r ${raw};
  v ${plan.stage};
BEGIN
  FOR r IN SELECT * FROM ${raw} LOOP
    BEGIN
      ${assignments.join('\n      ')}
    EXCEPTION WHEN OTHERS THEN
      IF NOT (${messageClauses('SQLSTATE', 'conversion')}) THEN
        RAISE;
      END IF;
      millrace_row := NULL;
      millrace_failed_tag := r.${tag};
      millrace_sqlstate := SQLSTATE;
      millrace_reason := SQLERRM;
      RETURN NEXT;
      CONTINUE;
    END;
    millrace_row := v;
    millrace_failed_tag := NULL;
    RETURN NEXT;
  END LOOP;
END`
}

/**
 * Everything in the session's temporary schema that has a name of the plan's. Tables are the daemon's: nobody else can
 * alter them. The functions are the owner's; an altered one is another version of its row.
 */
function inspect({ name }: StagePlan): string {
  const names = ['', ' raw', ' load', ' each', ' convert'].map((kind) => literal(`${name}${kind}`)).join(', ')
  return `
    SELECT pg_catalog.string_agg(o.version, ',' ORDER BY o.version) AS objects FROM (
      SELECT pg_catalog.concat_ws('/', c.relname, c.oid, c.relowner) AS version FROM pg_catalog.pg_class AS c
       WHERE c.relnamespace = pg_catalog.pg_my_temp_schema() AND c.relname IN (${names})
      UNION ALL
      SELECT pg_catalog.concat_ws('/', p.proname, p.oid, p.xmin, p.ctid, p.prosecdef) FROM pg_catalog.pg_proc AS p
       WHERE p.pronamespace = pg_catalog.pg_my_temp_schema() AND p.proname IN (${names})) AS o`
}
