// Every transaction that loads begins with this: the positions move by compare-and-set, before anything of anybody
// else's runs, and the batch is noted. The comparison covers the offset, the owner's epoch, the configuration's version
// and the identity of cluster and topic.

import { literal } from '../postgres/literal.ts'
import type { Session } from '../postgres/session.ts'
import type { BatchCounts, LoadedSpan } from './batch.ts'
import type { Claim, ClaimedPartition } from './claim.ts'

/**
 * Begins the transaction and moves the positions.
 * @param alsoAsk an expression, answered in the same round trip
 * @returns whether all of them moved (else nothing may be loaded: roll back), and the answer
 */
export async function beginAndMove<Answer>(
  session: Session,
  claim: Claim,
  spans: LoadedSpan[],
  alsoAsk = 'NULL',
): Promise<{ moved: boolean; answer: Answer }> {
  const [row] = await session.script<{ count: string; answer: Answer }>(
    `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
     ${movePositions(claim, spans)}
     SELECT pg_catalog.count(*) AS count, ${alsoAsk} AS answer FROM moved`,
  )
  return { moved: Number(row?.count) === spans.length, answer: row?.answer as Answer }
}

function movePositions(claim: Claim, spans: LoadedSpan[]): string {
  const rows = spans.map((span) => {
    const owned = claim.partitions.get(span.partition) as ClaimedPartition
    const values = [span.from, span.to, span.leaderEpoch, owned.ownerEpoch]
    const counts = [span.messages, span.skipped, span.bytes]
    return `(${span.partition}, ${[...values, ...counts].map((value) => `${value}::bigint`).join(', ')})`
  })
  return `
    WITH v (partition, expected, next, leader_epoch, owner_epoch, messages, skipped, bytes) AS (VALUES ${rows.join(', ')}),
    moved AS (
      UPDATE millrace.position AS p
         SET next_offset = v.next, leader_epoch = v.leader_epoch, messages = p.messages + v.messages,
             skipped = p.skipped + v.skipped, bytes = p.bytes + v.bytes, moved_at = pg_catalog.clock_timestamp()
        FROM v
       WHERE p.consumer_id = ${claim.consumerId} AND p.partition = v.partition AND p.next_offset = v.expected
         AND p.owner_epoch = v.owner_epoch AND p.config_version = ${claim.version}
         AND p.cluster_id = ${literal(claim.clusterId)} AND p.topic_id = ${literal(claim.topicId)}
         AND EXISTS (SELECT FROM millrace.consumer AS c
                      WHERE c.id = p.consumer_id AND c.version = ${claim.version} AND c.wanted = 'running')
         AND NOT EXISTS (SELECT FROM millrace.failure AS f
                          WHERE f.consumer_id = p.consumer_id AND f.version = ${claim.version})
      RETURNING p.partition),
    noted AS (
      INSERT INTO millrace.batch (consumer_id, partition, from_offset, to_offset, kind, messages, skipped, bytes, xid, committed_at)
      SELECT ${claim.consumerId}, v.partition, v.expected, v.next, 'load', v.messages, v.skipped, v.bytes,
             pg_catalog.pg_current_xact_id(), pg_catalog.clock_timestamp()
        FROM v JOIN moved ON moved.partition = v.partition)`
}

/** Counts that are known only when everything has been tried; in the same transaction, as the daemon. */
export async function addCounts(
  session: Session,
  claim: Claim,
  counts: Map<number, BatchCounts & { deadLetters: number }>,
): Promise<void> {
  const rows = [...counts].map(
    ([partition, { messages, skipped, bytes, deadLetters }]) =>
      `(${partition}, ${messages}::bigint, ${skipped}::bigint, ${bytes}::bigint, ${deadLetters}::bigint)`,
  )
  if (rows.length === 0) return
  const v = `(VALUES ${rows.join(', ')}) AS v (partition, messages, skipped, bytes, dead_letters)`
  const added = ['messages', 'skipped', 'bytes', 'dead_letters']
    .map((name) => `${name} = t.${name} + v.${name}`)
    .join(', ')
  await session.script(
    `UPDATE millrace.position AS t SET ${added} FROM ${v}
      WHERE t.consumer_id = ${claim.consumerId} AND t.partition = v.partition;
     UPDATE millrace.batch AS t SET ${added} FROM ${v}
      WHERE t.consumer_id = ${claim.consumerId} AND t.partition = v.partition AND t.xid = pg_catalog.pg_current_xact_id()`,
  )
}
