// One batch, one transaction: the positions first, then the rows, then COMMIT. The positions move before the role
// changes and before any code of the consumer's owner runs: it never sees an open door back to them.

import { failpoint } from '../failpoint.ts'
import type { Segment } from '../formats/format.ts'
import { identifier, literal } from '../postgres/literal.ts'
import type { Session } from '../postgres/session.ts'
import type { Batch } from './batch.ts'
import type { Claim } from './claim.ts'
import { type ConsumerPlan, segmentsOf } from './load-plan.ts'
import { beginAndMove } from './position-move.ts'
import type { RelationPlan } from './relation-plan.ts'
import { Staging } from './staging.ts'
import { fingerprintOf, type Target } from './target.ts'

/** `lost`: the stored position is not the one that this batch continues. Nothing was written. */
export type LoadOutcome = 'loaded' | 'lost'

/** The relation is not what it was when the plan was made; nothing was written. */
export class TargetChanged extends Error {}

/**
 * @throws PostgreSQL's error (the transaction is rolled back or its outcome unknown), TargetChanged, SessionTampered,
 *   DefersCode
 */
export async function load(
  session: Session,
  claim: Claim,
  plan: ConsumerPlan,
  batch: Batch,
): Promise<LoadOutcome> {
  const relations = plan.relationsOf(batch.segments)
  await prepare(session, relations)
  try {
    const { moved, answer } = await beginAndMove<TargetState[]>(
      session,
      claim,
      batch.spans,
      targetStates(relations),
    )
    if (!moved) {
      await session.rollback()
      return 'lost'
    }
    failpoint('inbound.after-position')
    await checkTargets(session, relations, answer)
    await loadRows(session, relations, batch.segments)
    failpoint('inbound.after-copy')
    failpoint('inbound.before-commit')
    await session.script('COMMIT')
    failpoint('inbound.after-commit')
    return 'loaded'
  } catch (error) {
    await session.rollback()
    throw error
  }
}

/** Back from there. */
export const leaveRole = `RESET ROLE; SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)`

/** Before the transaction: what the session needs in order to load for this consumer. */
export async function prepare(session: Session, relations: RelationPlan[]): Promise<void> {
  const owner = relations.find(({ direct }) => !direct)?.target.owner ?? session.user
  await session.cleanFor(owner === session.user ? null : owner)
  await Staging.prepare(
    session,
    relations.flatMap(({ direct, staged }) => (direct ? [] : [staged])),
  )
}

/** Within the transaction. */
export async function loadRows(
  session: Session,
  relations: RelationPlan[],
  segments: Segment[],
): Promise<void> {
  for (const relation of relations) {
    const own = segmentsOf(segments, relation)
    if (relation.direct) {
      await copyRows(session, relation, own)
      if (relations.length > 1) await session.script(leaveRole)
    } else {
      const staging = Staging.in(session, relation.staged)
      await staging.fill(own)
      await staging.loadAll()
    }
  }
}

/** Afterwards the owner's role is still on. */
async function copyRows(
  session: Session,
  { target, format }: RelationPlan,
  segments: Segment[],
): Promise<void> {
  for (const segment of segments) {
    await session.copyIn(`${enterRole(session, target)}${format.copyStatement(segment)}`, segment.chunks)
  }
}

/** `unsure`: something about it may be in other hands than when the plan was made. */
export type TargetState = 'same' | 'changed' | 'unsure'

/** An expression that tells it of each. */
export function targetStates(relations: RelationPlan[]): string {
  return `ARRAY[${relations.map(targetState).join(', ')}]::text[]`
}

function targetState({ direct, target }: RelationPlan): string {
  const [schema, name] = [literal(target.schema), literal(target.name)]
  const unsure =
    direct || target.trusted ? `WHEN millrace.needs_check(${argumentsOf(target)}) THEN 'unsure'` : ''
  return `CASE WHEN ${fingerprintOf(schema, name)} IS DISTINCT FROM ${literal(target.fingerprint)} THEN 'changed' ${unsure} ELSE 'same' END`
}

/**
 * Where the plan may no longer be right, checks the relation under a lock, so that what is found holds until the end.
 * The lock is taken as whoever may insert.
 * @throws TargetChanged
 */
export async function checkTargets(
  session: Session,
  relations: RelationPlan[],
  states: TargetState[],
): Promise<void> {
  if (states.includes('changed')) throw new TargetChanged('the relation was altered')
  for (const [index, { target, direct }] of relations.entries()) {
    if (states[index] === 'unsure') await checkTarget(session, target, direct)
  }
}

async function checkTarget(session: Session, target: Target, direct: boolean): Promise<void> {
  const [found] = await session.script<{ way: string; message: string | null }>(
    `SET LOCAL ROLE ${identifier(target.owner)};
     SELECT millrace.lock_target(${literal(target.schema)}, ${literal(target.name)});
     RESET ROLE;
     SELECT way, message FROM millrace.loading_way(${argumentsOf(target)}, ${!direct})`,
  )
  if (found?.way !== (direct ? 'direct' : 'staged'))
    throw new TargetChanged(found?.message ?? 'the relation is gone')
}

/** Of needs_check and loading_way. */
function argumentsOf({ schema, name, ownerOid }: Target): string {
  return `${literal(schema)}, ${literal(name)}, ${ownerOid}::oid`
}

/** What the rows are loaded as: the consumer's owner, with the search path that triggers expect. */
function enterRole(session: Session, target: Target): string {
  const role = target.owner === session.user ? '' : `SET LOCAL ROLE ${identifier(target.owner)};`
  return `SELECT pg_catalog.set_config('search_path', ${literal(session.ownSearchPath)}, true);${role}`
}
