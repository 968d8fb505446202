// What a transaction that salvages needs around it where no position moves: a replay, a try.

import type { Session } from '../postgres/session.ts'
import type { ConsumerPlan } from './load-plan.ts'
import { checkUnchanged, open, prepare } from './loader.ts'
import type { RelationPlan } from './relation-plan.ts'
import { stagingFor } from './salvage-load.ts'
import type { Staging } from './staging.ts'

/** Before the transaction. @returns what `salvage` takes messages one by one with */
export async function readySession(session: Session, plan: ConsumerPlan): Promise<Staging | null> {
  const relations = relationsOf(plan)
  await prepare(session, relations)
  return plan.routes ? null : stagingFor(session, relations[0] as RelationPlan)
}

/** In the transaction. @throws TargetChanged */
export async function checkPlan(session: Session, plan: ConsumerPlan): Promise<void> {
  await open(session, checkUnchanged(relationsOf(plan)))
}

function relationsOf(plan: ConsumerPlan): RelationPlan[] {
  return plan.routes?.plans ?? plan.relationsOf([])
}
