// Dead letters are loaded again by the way that their consumer loads its messages, and with its owner's rights. Each is
// deleted in the transaction that loads it; one that fails again stays, with its new reason. Where nothing can be
// loaded until a person acts, the request ends with the code that says why, and the letters stay as they are.

import { setTimeout } from 'node:timers/promises'
import { MillraceError } from '../errors.ts'
import { failpoint } from '../failpoint.ts'
import type { ChunkPool } from '../formats/chunk-pool.ts'
import type { Logger } from '../log.ts'
import type { Session } from '../postgres/session.ts'
import type { SharedSession } from '../postgres/shared-session.ts'
import { type ConsumerSpec, consumerColumns } from './consumer.ts'
import type { Reject } from './dead-letter.ts'
import { FailureBrake } from './failure-brake.ts'
import { findRoutes } from './find-routes.ts'
import { type ConsumerPlan, describePlan, hasChanged } from './load-plan.ts'
import { TargetChanged } from './loader.ts'
import type { MemoryAccount } from './memory-budget.ts'
import { mostReasons, type OwnedRequest, type Reason, RequestLost } from './owned-request.ts'
import { isFinal, patiently } from './patience.ts'
import { salvage } from './salvage.ts'
import { checkPlan, readySession } from './salvage-ready.ts'
import { type LetterBatch, takeLetters } from './stored-letters.ts'
import { endOf } from './stream-end.ts'
import type { WalkParts } from './walk.ts'

export interface ReplayParts {
  request: OwnedRequest
  shared: SharedSession
  chunks: ChunkPool
  budget: MemoryAccount
  /** Milliseconds. */
  retry: { min: number; max: number }
  log: Logger
  signal: AbortSignal
}

/**
 * Loads all letters that wait for this request, consumer by consumer.
 * @returns why those of a consumer could not be tried to the end; the first of such reasons, or null
 * @throws RequestLost, the signal's AbortError
 */
export async function replay(parts: ReplayParts): Promise<MillraceError | null> {
  const rows = await patiently(parts, () =>
    parts.shared.query<{ id: string }>(
      'SELECT DISTINCT consumer_id AS id FROM millrace.dead_letter WHERE replay_id = $1 ORDER BY 1',
      [parts.request.id],
    ),
  )
  let problem: MillraceError | null = null
  for (const { id } of rows) {
    const found = await new ConsumerReplay(parts, id).run()
    problem ??= found
  }
  return problem
}

class ConsumerReplay {
  readonly #parts: ReplayParts
  readonly #consumer: string
  readonly #brake = new FailureBrake()
  /** The last letter that was dealt with. */
  #after = '0'
  #plan: ConsumerPlan | null = null
  #expectsMany = false

  constructor(parts: ReplayParts, consumer: string) {
    this.#parts = parts
    this.#consumer = consumer
  }

  /** @returns why a person has to act */
  async run(): Promise<MillraceError | null> {
    let topic = ''
    try {
      const spec = await this.#findSpec()
      topic = spec.topic
      while (await patiently(this.#parts, () => this.#loadSome(spec)));
      return null
    } catch (error) {
      if (error instanceof RequestLost || this.#parts.signal.aborted) throw error
      const end = endOf(error, topic, false)
      if (end.reason !== 'failed') throw error
      await patiently(this.#parts, () => this.#giveUp())
      return end.failure.error
    }
  }

  /** @throws MillraceError consumer-missing */
  async #findSpec(): Promise<ConsumerSpec> {
    const [spec] = await patiently(this.#parts, () =>
      this.#parts.shared.query<ConsumerSpec & Record<string, unknown>>(
        `SELECT ${consumerColumns} FROM millrace.consumer AS c WHERE c.id = $1`,
        [this.#consumer],
      ),
    )
    if (!spec)
      throw new MillraceError('consumer-missing', { reason: `there is no consumer ${this.#consumer}` })
    return spec
  }

  /** @returns whether there may be more */
  async #loadSome(spec: ConsumerSpec): Promise<boolean> {
    const { request, shared, signal } = this.#parts
    signal.throwIfAborted()
    try {
      this.#plan ??= await describePlan(shared, spec)
      const plan = this.#plan
      const loaded = await request.withSession((session) => this.#transact(session, spec, plan))
      if (loaded === null) return false
      const pause = this.#brake.after(loaded.failed, loaded.done)
      if (pause > 0) await setTimeout(pause, undefined, { signal })
      return true
    } catch (error) {
      const plan = this.#plan
      if (plan === null || signal.aborted) throw error
      const changed =
        error instanceof TargetChanged || (isFinal(error) && (await hasChanged(shared, spec, plan)))
      if (!changed) throw error
      this.#plan = null
      throw new TargetChanged('the relation was altered')
    }
  }

  async #transact(
    session: Session,
    spec: ConsumerSpec,
    plan: ConsumerPlan,
  ): Promise<{ done: number; failed: number } | null> {
    const { request, chunks, budget, signal } = this.#parts
    const staging = await readySession(session, plan)
    let held = 0
    try {
      await session.script('BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE')
      await request.hold(session)
      const letters = await takeLetters(session, request.id, this.#consumer, this.#after)
      if (letters.spans.length === 0) {
        await session.rollback()
        return null
      }
      budget.add(letters.bytes)
      held = letters.bytes
      if (await findsRoutes(letters, plan, { topic: spec.topic, budget })) {
        await session.rollback()
        return { done: 0, failed: 0 } // again, in a session that is ready for them
      }
      await checkPlan(session, plan)
      const expectsMany = this.#expectsMany
      const { rejects, many } = await salvage(letters.spans, {
        session,
        spec,
        plan,
        staging,
        chunks,
        budget,
        letters: null,
        expectsMany,
      })
      signal.throwIfAborted()
      await this.#settle(session, letters, rejects)
      failpoint('replay.before-commit')
      await session.script('COMMIT')
      failpoint('replay.after-commit')
      this.#expectsMany = many && rejects.length > 0
      this.#after = letters.ids.at(-1) as string
      return { done: letters.ids.length - rejects.length, failed: rejects.length }
    } catch (error) {
      await session.rollback()
      throw error
    } finally {
      budget.release(held)
    }
  }

  /** Those that were loaded go, the others stay; as the daemon, in the transaction that loaded them. */
  async #settle(session: Session, { spans, ids }: LetterBatch, rejects: Reject[]): Promise<void> {
    const placed = new Map(rejects.map((reject) => [`${reject.partition}/${reject.offset}`, reject]))
    const loaded: string[] = []
    const failed: [string, Reject][] = []
    for (const [index, { partition, from }] of spans.entries()) {
      const reject = placed.get(`${partition}/${from}`)
      if (reject) failed.push([ids[index] as string, reject])
      else loaded.push(ids[index] as string)
    }
    await session.query('DELETE FROM millrace.dead_letter WHERE id = ANY ($1::bigint[])', [loaded])
    await session.query(keepFailed, [
      failed.map(([id]) => id),
      failed.map(([, { code }]) => code),
      failed.map(([, { sqlstate }]) => sqlstate),
      failed.map(([, { reason }]) => reason.replaceAll('\0', '�')),
    ])
    const reasons = failed.slice(0, mostReasons).map(([, reject]) => reasonFor(reject))
    await session.query(count, [
      this.#parts.request.id,
      loaded.length,
      failed.length,
      JSON.stringify(reasons),
      mostReasons,
    ])
  }

  /** What is left of this consumer's letters stays as it is. */
  async #giveUp(): Promise<void> {
    const { request } = this.#parts
    await request.withSession(async (session) => {
      try {
        await session.script('BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE')
        await request.hold(session)
        await session.query(release, [request.id, this.#consumer])
        await session.script('COMMIT')
      } catch (error) {
        await session.rollback()
        throw error
      }
    })
  }
}

/** @returns whether letters go to relations that were not known before */
async function findsRoutes(
  { spans }: LetterBatch,
  { routes }: ConsumerPlan,
  parts: WalkParts,
): Promise<boolean> {
  if (!routes) return false
  const known = routes.plans.length
  await findRoutes(spans, routes, parts)
  return routes.plans.length > known
}

export function reasonFor({ partition, offset, code, sqlstate, reason }: Reject): Reason {
  return {
    partition,
    offset: String(offset),
    code,
    sqlstate,
    message: reason.slice(0, longestMessage).replaceAll('\0', '�'),
  }
}

/** Characters; the letter itself has all of it. */
const longestMessage = 500

const keepFailed = `
  UPDATE millrace.dead_letter AS d
     SET attempts = d.attempts + 1, code = f.code, sqlstate = f.sqlstate, message = f.message,
         failed_at = pg_catalog.clock_timestamp(), replay_id = NULL
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS f (id, code, sqlstate, message)
   WHERE d.id = f.id`

/** Of the reasons, the first ones are told. */
const count = `
  UPDATE millrace.request AS r
     SET done_count = r.done_count + $2, failed_count = r.failed_count + $3,
         result = pg_catalog.jsonb_build_object('reasons', coalesce(r.result -> 'reasons', '[]') || CASE
           WHEN coalesce(pg_catalog.jsonb_array_length(r.result -> 'reasons'), 0) < $5 THEN $4::jsonb ELSE '[]' END)
   WHERE r.id = $1`

const release = `
  WITH released AS (
    UPDATE millrace.dead_letter SET replay_id = NULL WHERE replay_id = $1 AND consumer_id = $2 RETURNING id)
  UPDATE millrace.request AS r SET failed_count = r.failed_count + (SELECT pg_catalog.count(*) FROM released)
   WHERE r.id = $1`
