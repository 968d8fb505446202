// The part of a staged load that lives in a session: temporary tables of the daemon's, and functions that belong to
// the consumer's owner and run as that role. No other session can reach them.

import { failpoint } from '../failpoint.ts'
import type { ExplodedFormat } from '../formats/explode.ts'
import type { Segment } from '../formats/format.ts'
import { verdictOf } from '../pipeline/error-policy.ts'
import { identifier, literal } from '../postgres/literal.ts'
import { callOwnersCode, giveUpTampered } from '../postgres/owner-code.ts'
import type { Session } from '../postgres/session.ts'
import { convertAll, convertEach, createRaw, emptyRaw, softErrorsSince } from './conversion.ts'
import { type FailedBlock, type FailedMessage, failedMessages, longestReason } from './failed-message.ts'
import { eachBody, eachTable } from './load-each.ts'
import { createFunction, loadBody } from './load-statement.ts'
import type { StagePlan } from './relation-plan.ts'
import { columnList, stageName } from './stage-name.ts'

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
    await this.#session.script(emptyRaw(this.#plan))
    for (const segment of segments) {
      await this.#session.copyIn(this.#plan.exploded.copyStatement(segment), segment.chunks)
    }
  }

  /** The server can convert in one go. */
  get convertsAll(): boolean {
    return this.#session.serverVersion >= softErrorsSince
  }

  /**
   * Makes rows of the staging table of what `fillRaw` has brought, all in one go.
   * @returns messages that have a value which is none of its column's type, and no row of theirs is staged; null where
   *   that has to be found message by message
   * @throws PostgreSQL's error, where a type can say so in no other way
   */
  async convertAll(): Promise<FailedMessage[] | null> {
    const blocks = await this.#session.script<FailedBlock>(convertAll(this.#plan))
    const codes = new Set(blocks.flatMap(({ sqlstates }) => sqlstates))
    if ([...codes].some((code) => verdictOf(code, 'conversion') !== 'message')) return null
    return failedMessages(blocks)
  }

  /** The same, message by message. */
  async convertEach(): Promise<FailedMessage[]> {
    return failedMessages(await this.#session.script<FailedBlock>(convertEach(this.#plan)))
  }

  /** Loads what is staged. @throws PostgreSQL's error */
  async loadAll(): Promise<void> {
    await this.#call(`SELECT ${stageName(this.#plan, ' load')}()`)
  }

  /** The same, message by message. @returns those that fail, and how many transaction ids it took */
  async loadEach(): Promise<{ failed: FailedMessage[]; transactionIds: number }> {
    const rows = await this.#call<FailedPiece>(
      `SELECT pg_catalog.array_to_json(millrace_failed_tags) AS tags, millrace_sqlstate AS sqlstate,
              pg_catalog.left(millrace_reason, ${longestReason}) AS reason, millrace_taken AS taken
         FROM ${stageName(this.#plan, ' each')}()`,
    )
    const failed = rows.flatMap(({ tags, sqlstate, reason }) =>
      (tags ?? []).map((tag) => ({ tag, sqlstate, reason })),
    )
    return { failed, transactionIds: Number(rows.at(-1)?.taken ?? 0) }
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

/** As `eachTable`. */
interface FailedPiece extends Record<string, unknown> {
  tags: number[] | null
  sqlstate: string
  reason: string
  taken: string
}

/** Each assignment of a consumer makes its own; a session with more begins anew. */
const keptStagings = 64

function createStage(session: Session, plan: StagePlan): string {
  const owner = identifier(plan.owner)
  const [load, loadEach] = [stageName(plan, ' load'), stageName(plan, ' each')]
  return `
    CREATE TEMPORARY TABLE ${identifier(plan.name)} (${columnList(plan.stageColumns)}) ON COMMIT DELETE ROWS;
    ${checkTypes(plan)};
    GRANT SELECT ON ${plan.stage} TO ${owner};
    SELECT pg_catalog.set_config('search_path', ${literal(session.ownSearchPath)}, true);
    ${createFunction(`${load}()`, 'bigint', loadBody(plan), true)};
    ${createFunction(`${loadEach}()`, `TABLE (${eachTable})`, eachBody(plan), true)};
    SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    ALTER FUNCTION ${load}() OWNER TO ${owner};
    ALTER FUNCTION ${loadEach}() OWNER TO ${owner}`
}

/**
 * The plan has names of types, and a name may be another type's by now: a domain's, whose checks are code of its owner's. The
 * table that was made has the types themselves, whatever is called what from here on. ML002: the plan is old.
 */
function checkTypes({ stage }: StagePlan): string {
  const check = `BEGIN
  IF EXISTS (
    SELECT FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = ${literal(stage)}::pg_catalog.regclass AND a.attnum > 0
      AND millrace.staging_type(a.atttypid, a.atttypmod) <> pg_catalog.format_type(a.atttypid, a.atttypmod))
  THEN
    RAISE EXCEPTION 'a type of the relation was altered' USING ERRCODE = 'ML002';
  END IF;
END`
  return `DO ${literal(check)}`
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
