// Every transaction that loads begins with this: the positions move by compare-and-set, before anything of anybody
// else's runs, and the batch is noted.

import { literal } from '../postgres/literal.ts'
import type { Session } from '../postgres/session.ts'
import type { BatchCounts, LoadedSpan } from './batch.ts'
import type { Claim, ClaimedPartition } from './claim.ts'

/**
 * Statements that begin the transaction and move the positions; other statements of the daemon's may follow in the same
 * round trip. They fail with `positionsMoved` where a position is not where the span begins, or is not ours.
 */
export function beginAndMove(claim: Claim, spans: LoadedSpan[]): string {
  const { consumerId, version, clusterId, topicId, partitions } = claim
  const array = (type: string, value: (span: LoadedSpan) => unknown) => `'{${spans.map(value)}}'::${type}[]`
  const owned = (span: LoadedSpan) => partitions.get(span.partition) as ClaimedPartition
  return `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
    SELECT millrace.move_positions(${consumerId}, ${version}, ${literal(clusterId)}, ${literal(topicId)},
      ${array('integer', (span) => span.partition)},
      ${array('bigint', (span) => span.from)},
      ${array('bigint', (span) => span.to)},
      ${array('integer', (span) => span.leaderEpoch)},
      ${array('bigint', (span) => owned(span).ownerEpoch)},
      ${array('bigint', (span) => span.messages)},
      ${array('bigint', (span) => span.skipped)},
      ${array('bigint', (span) => span.bytes)});`
}

/** Counts that are known only when everything has been tried; in the same transaction, as the daemon. */
export async function addCounts(
  session: Session,
  claim: Claim,
  counts: Map<number, BatchCounts & { deadLetters: number }>,
  transactionIds: number,
): Promise<void> {
  const rows = [...counts].map(([partition, { messages, skipped, bytes, deadLetters }], index) => {
    // those of the whole batch, in the row of one of its partitions
    const ids = index === 0 ? transactionIds : 0
    return `(${partition}, ${[messages, skipped, deadLetters, bytes, ids].map((count) => `${count}::bigint`).join(', ')})`
  })
  if (rows.length === 0) return
  const v = `(VALUES ${rows.join(', ')}) AS v (partition, ${counted.join(', ')})`
  const added = counted.map((name) => `${name} = t.${name} + v.${name}`).join(', ')
  await session.script(
    `UPDATE millrace.position AS t SET ${added} FROM ${v}
      WHERE t.consumer_id = ${claim.consumerId} AND t.partition = v.partition;
     UPDATE millrace.batch AS t SET ${added} FROM ${v}
      WHERE t.consumer_id = ${claim.consumerId} AND t.partition = v.partition AND t.xid = pg_catalog.pg_current_xact_id()`,
  )
}

const counted = ['messages', 'skipped', 'dead_letters', 'bytes', 'transaction_ids']
