// One batch, one transaction: the positions first, then the rows, then COMMIT. The positions move before the role
// changes and before any code of the consumer's owner runs: it never sees an open door back to them.

import { failpoint } from '../failpoint.ts'
import type { Segment } from '../formats/format.ts'
import { identifier, literal } from '../postgres/literal.ts'
import type { Session } from '../postgres/session.ts'
import { sqlstateOf } from '../postgres/sqlstate.ts'
import type { Batch, LoadedSpan } from './batch.ts'
import type { Claim } from './claim.ts'
import { type ConsumerPlan, segmentsOf } from './load-plan.ts'
import { beginAndMove } from './position-move.ts'
import type { RelationPlan, StagePlan } from './relation-plan.ts'
import { Staging } from './staging.ts'
import type { Target } from './target.ts'

/** The position moved under us: the batch is not continued from what is stored. Nothing was written. */
export class PositionLost extends Error {}

/** The relation is not what it was when the plan was made; nothing was written. */
export class TargetChanged extends Error {}

/**
 * @throws PostgreSQL's error (the transaction is rolled back or its outcome unknown), PositionLost, TargetChanged,
 *   SessionTampered, DefersCode
 */
export async function load(session: Session, claim: Claim, plan: ConsumerPlan, batch: Batch): Promise<void> {
  const relations = plan.relationsOf(batch.segments)
  await prepare(session, relations)
  try {
    await loadRows(session, relations, batch.segments, openingOf(claim, batch.spans, relations))
    failpoint('inbound.after-copy')
    failpoint('inbound.before-commit')
    await session.script('COMMIT')
    failpoint('inbound.after-commit')
  } catch (error) {
    await session.rollback()
    throw error
  }
}

/** Statements that begin the transaction of a batch: the positions move, if the relations are what they were. */
export function openingOf(claim: Claim, spans: LoadedSpan[], relations: RelationPlan[]): string {
  return `${beginAndMove(claim, spans)} ${checkUnchanged(relations)}`
}

/** Back from the owner's role. */
export const leaveRole = `RESET ROLE; SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)`

/** Before the transaction: what the session needs in order to load for this consumer. @throws TargetChanged */
export async function prepare(session: Session, relations: RelationPlan[]): Promise<void> {
  const owner = relations.find(({ direct }) => !direct)?.target.owner ?? session.user
  await session.cleanFor(owner === session.user ? null : owner)
  await prepareStaging(
    session,
    relations.flatMap(({ direct, staged }) => (direct ? [] : [staged])),
  )
}

/** @throws TargetChanged */
export async function prepareStaging(session: Session, plans: StagePlan[]): Promise<void> {
  try {
    await Staging.prepare(session, plans)
  } catch (error) {
    throw openingError(error)
  }
}

/** Begins the transaction of a batch, with nothing else yet. @throws what `load` throws */
export async function begin(session: Session, opening: string): Promise<void> {
  await ask(session, opening)
  failpoint('inbound.after-position')
}

/** Sends statements of an opening. @throws what `load` throws */
export async function ask(session: Session, statements: string): Promise<void> {
  try {
    await session.script(statements)
  } catch (error) {
    throw openingError(error)
  }
}

/** Statements that fail with `relationChanged` unless these relations may be loaded as planned. */
export function checkUnchanged(relations: RelationPlan[]): string {
  const calls = relations.map(({ direct, target: { schema, name, ownerOid, fingerprint } }) => {
    const seen = literal(fingerprint)
    return `millrace.check_unchanged(${literal(schema)}, ${literal(name)}, ${ownerOid}::oid, ${seen}, ${direct})`
  })
  return calls.map((call) => `SELECT ${call};`).join(' ')
}

/**
 * Within the transaction, or with the opening that begins it: that takes no round trip of its own where a COPY follows.
 * Afterwards the owner's role may still be on.
 */
export async function loadRows(
  session: Session,
  relations: RelationPlan[],
  segments: Segment[],
  opening = '',
): Promise<void> {
  let first = opening
  for (const relation of relations) {
    const own = segmentsOf(segments, relation)
    if (relation.direct) {
      for (const segment of own) {
        await copyRows(session, relation, segment, first)
        first = ''
      }
      if (own.length > 0 && relations.length > 1) await session.script(leaveRole)
    } else {
      if (first) await begin(session, first)
      first = ''
      const staging = Staging.in(session, relation.staged)
      await staging.fill(own)
      await staging.loadAll()
    }
  }
  if (first) await begin(session, first)
}

async function copyRows(
  session: Session,
  { target, format }: RelationPlan,
  segment: Segment,
  opening: string,
): Promise<void> {
  const copy = `${enterRole(session, target)}${format.copyStatement(segment)}`
  if (!opening) {
    await session.copyIn(copy, segment.chunks)
    return
  }
  let begun = false
  const chunks = function* () {
    begun = true
    failpoint('inbound.after-position')
    yield* segment.chunks
  }
  try {
    await session.copyIn(`${opening}${copy}`, chunks())
  } catch (error) {
    // once rows are asked for, code of the owner's may run, and could say the same
    throw begun ? error : openingError(error)
  }
}

/** SQLSTATEs that an opening fails with, and nobody else. */
const positionsMoved = 'ML001'
const relationChanged = 'ML002'

function openingError(error: unknown): unknown {
  switch (sqlstateOf(error)) {
    case positionsMoved:
      return new PositionLost((error as Error).message)
    case relationChanged:
      return new TargetChanged((error as Error).message)
    default:
      return error
  }
}

/** What the rows are loaded as: the consumer's owner, with the search path that triggers expect. */
function enterRole(session: Session, target: Target): string {
  const role = target.owner === session.user ? '' : `SET LOCAL ROLE ${identifier(target.owner)};`
  return `SELECT pg_catalog.set_config('search_path', ${literal(session.ownSearchPath)}, true);${role}`
}
