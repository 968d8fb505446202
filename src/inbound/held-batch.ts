// What is made of messages for COPY counts in the memory budget from when it is there until it is given back.

import type { ChunkPool } from '../formats/chunk-pool.ts'
import type { Segment } from '../formats/format.ts'
import { type Batch, buildBatch, giveBack } from './batch.ts'
import type { ConsumerSpec } from './consumer.ts'
import type { ConsumerPlan } from './load-plan.ts'
import type { MemoryAccount } from './memory-budget.ts'
import type { FetchedSpan } from './walk.ts'

export interface Memory {
  chunks: ChunkPool
  budget: MemoryAccount
}

/** Has pieces of the pool, and so many bytes of the budget. */
export interface Held {
  segments: Segment[]
  size: number
}

/** Builds a batch of about so many bytes. @returns it, and the spans that are left for the next one */
export async function buildHeld(
  spans: FetchedSpan[],
  { spec, plan, chunks, budget }: Memory & { spec: ConsumerSpec; plan: ConsumerPlan },
  maxBytes = Number.MAX_SAFE_INTEGER,
): Promise<{ batch: Batch; rest: FetchedSpan[] }> {
  const parts = { topic: spec.topic, format: plan.format, pool: chunks, budget, maxBytes }
  const built = await buildBatch(spans, parts)
  budget.add(built.batch.size)
  return built
}

/** Gives the memory back; a second time does nothing. */
export function release(held: Held, { chunks, budget }: Memory): void {
  giveBack(held, chunks)
  budget.release(held.size)
  held.size = 0
}
