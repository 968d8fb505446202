// The transaction of a batch in which something fails: positions, what is good, what is kept of the rest, COMMIT.

import { MillraceError } from '../errors.ts'
import { failpoint } from '../failpoint.ts'
import type { ChunkPool } from '../formats/chunk-pool.ts'
import type { Session } from '../postgres/session.ts'
import type { BatchCounts, LoadedSpan } from './batch.ts'
import type { Claim } from './claim.ts'
import type { ConsumerSpec } from './consumer.ts'
import { DeadLetters, type Reject } from './dead-letter.ts'
import { allRelations, type ConsumerPlan } from './load-plan.ts'
import { begin, openingOf } from './loader.ts'
import type { MemoryAccount } from './memory-budget.ts'
import { addCounts } from './position-move.ts'
import { type Salvaged, salvage } from './salvage.ts'
import { readySession } from './salvage-ready.ts'
import type { FetchedSpan } from './walk.ts'

export interface SalvageLoadParts {
  session: Session
  spec: ConsumerSpec
  claim: Claim
  plan: ConsumerPlan
  chunks: ChunkPool
  budget: MemoryAccount
  expectsMany: boolean
}

export interface SalvageLoad extends Salvaged {
  /** What was loaded, and how much of it. */
  spans: LoadedSpan[]
}

/**
 * @throws Damaged, MillraceError dead-letters-full, and what `load` throws
 */
export async function loadSalvaging(spans: FetchedSpan[], parts: SalvageLoadParts): Promise<SalvageLoad> {
  const { session, spec, claim, plan } = parts
  const staging = await readySession(session, plan)
  const { budget, chunks: pool } = parts
  const letters =
    spec.onError === 'dead_letter' ? new DeadLetters(spec, { topic: spec.topic, budget, pool }) : null
  try {
    await begin(session, openingOf(claim, spans.map(uncounted), allRelations(plan)))
    const salvaged = await salvage(spans, { ...parts, staging, letters })
    failpoint('inbound.after-copy')
    if (letters) {
      await checkRoom(session, spec, salvaged.rejects.length)
      await letters.write(session)
    }
    const counts = countsOf(salvaged)
    await addCounts(session, claim, counts, salvaged.transactionIds)
    failpoint('inbound.before-commit')
    await session.script('COMMIT')
    failpoint('inbound.after-commit')
    const none = { messages: 0, skipped: 0, bytes: 0, deadLetters: 0 }
    return { ...salvaged, spans: spans.map((span) => ({ ...span, ...(counts.get(span.partition) ?? none) })) }
  } catch (error) {
    await session.rollback()
    throw error
  } finally {
    letters?.discard()
  }
}

/** @throws MillraceError dead-letters-full */
async function checkRoom(session: Session, spec: ConsumerSpec, needed: number): Promise<void> {
  if (needed === 0) return
  const [row] = await session.script<{ room: string }>(
    `SELECT millrace.dead_letter_room(${spec.id}, ${needed}) AS room`,
  )
  if (Number(row?.room) < needed)
    throw new MillraceError('dead-letters-full', { topic: spec.topic, room: row?.room, needed })
}

function uncounted(span: FetchedSpan): LoadedSpan {
  return { ...span, messages: 0, skipped: 0, bytes: 0 }
}

function countOf({ counts }: Salvaged, partition: number): BatchCounts {
  return counts.get(partition) ?? { messages: 0, skipped: 0, bytes: 0 }
}

function countsOf(salvaged: Salvaged): Map<number, BatchCounts & { deadLetters: number }> {
  const rejected = Map.groupBy(salvaged.rejects, (reject: Reject) => reject.partition)
  const partitions = new Set([...salvaged.counts.keys(), ...rejected.keys()])
  return new Map(
    [...partitions].map((partition) => [
      partition,
      { ...countOf(salvaged, partition), deadLetters: rejected.get(partition)?.length ?? 0 },
    ]),
  )
}
