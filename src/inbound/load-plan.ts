// What a consumer loads: one relation, or those that its messages' keys name. Found once for each assignment;
// who loads by it compares what the relation is then.

import { isDeepStrictEqual } from 'node:util'
import { MillraceError } from '../errors.ts'
import type { Format, Segment } from '../formats/format.ts'
import type { SharedSession } from '../postgres/shared-session.ts'
import type { ConsumerSpec } from './consumer.ts'
import { planOf, type RelationPlan } from './relation-plan.ts'
import { RoutedFormat, type RoutedSegment, RouteTable } from './routes.ts'
import { describeBatchColumns, describeTarget } from './target.ts'

/** All that a consumer loads. */
export interface ConsumerPlan {
  /** What batches are built with. */
  format: Format
  /** Where the message's key names the relation: those that are known. Else null, and there is one. */
  routes: RouteTable | null
  /** The relations that these segments go to. */
  relationsOf(segments: Segment[]): RelationPlan[]
}

/** All that are known, whatever the messages are. */
export function allRelations(plan: ConsumerPlan): RelationPlan[] {
  return plan.routes?.plans ?? plan.relationsOf([])
}

/** The segments of one of the relations. */
export function segmentsOf(segments: Segment[], relation: RelationPlan): Segment[] {
  return segments.filter((segment) => !('plan' in segment) || segment.plan === relation)
}

/** @throws MillraceError relation-missing, target-refused, column-missing, json-path-invalid */
export async function describePlan(shared: SharedSession, spec: ConsumerSpec): Promise<ConsumerPlan> {
  if (spec.routeByKey) {
    const routes = new RouteTable(shared, spec, describeRelation)
    const relationsOf = (segments: Segment[]) => [
      ...new Set((segments as RoutedSegment[]).map(({ plan }) => plan)),
    ]
    return { format: new RoutedFormat(spec, routes), routes, relationsOf }
  }
  const relation = await describeRelation(shared, spec)
  return { format: relation.format, routes: null, relationsOf: () => [relation] }
}

async function describeRelation(shared: SharedSession, spec: ConsumerSpec): Promise<RelationPlan> {
  return shared.use(async (session) => {
    const target = await describeTarget(session, spec)
    return planOf(spec, target, await describeBatchColumns(session, spec), session.serverVersion)
  })
}

/** Whether the relation is another one by now than the plan was made for; a relation that is gone has changed. */
export async function hasChanged(
  shared: SharedSession,
  spec: ConsumerSpec,
  plan: ConsumerPlan,
): Promise<boolean> {
  try {
    for (const { target } of allRelations(plan)) {
      const { schema, name } = target
      if (!isDeepStrictEqual(target, await describeTarget(shared, { ...spec, schema, name }))) return true
    }
    return false
  } catch (error) {
    if (error instanceof MillraceError) return true
    throw error
  }
}
