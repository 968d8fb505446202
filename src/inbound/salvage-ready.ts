// What a transaction that salvages needs around it.

import type { Session } from '../postgres/session.ts'
import { sqlstateOf } from '../postgres/sqlstate.ts'
import { allRelations, type ConsumerPlan } from './load-plan.ts'
import { ask, checkUnchanged, prepare, prepareStaging } from './loader.ts'
import type { RelationPlan } from './relation-plan.ts'
import { Staging } from './staging.ts'

/** Before the transaction. @throws TargetChanged @returns what `salvage` takes messages one by one with */
export async function readySession(session: Session, plan: ConsumerPlan): Promise<Staging | null> {
  const relations = allRelations(plan)
  await prepare(session, relations)
  return plan.routes ? null : stagingFor(session, relations[0] as RelationPlan)
}

/** In the transaction, where no position moves: a replay, a try. @throws TargetChanged */
export async function checkPlan(session: Session, plan: ConsumerPlan): Promise<void> {
  await ask(session, checkUnchanged(allRelations(plan)))
}

/** A role without the right to temporary tables is served all the same, more slowly. */
async function stagingFor(session: Session, relation: RelationPlan): Promise<Staging | null> {
  try {
    await prepareStaging(session, [relation.staged])
    const staging = Staging.in(session, relation.staged)
    await staging.prepareSalvage()
    return staging
  } catch (error) {
    if (relation.direct && sqlstateOf(error) === insufficientPrivilege) return null
    throw error
  }
}

const insufficientPrivilege = '42501'
