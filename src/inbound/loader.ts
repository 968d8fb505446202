// One batch, one transaction: the positions first, by compare-and-set, then the rows. The comparison covers the
// offset, the owner's epoch, the configuration's version and the identity of cluster and topic; where it fails
// nothing is written. The positions are written before the role changes: code that the load fires runs as the
// pipeline's owner and never sees an open door back to the position.

import { failpoint } from '../failpoint.ts'
import type { Format } from '../formats/format.ts'
import { identifier, literal } from '../postgres/literal.ts'
import type { Session } from '../postgres/session.ts'
import type { Batch, LoadedSpan } from './batch.ts'
import type { Claim, ClaimedPartition } from './claim.ts'
import type { Target } from './target.ts'

/** `lost`: the stored position is not the one that this batch continues. Nothing was written. */
export type LoadOutcome = 'loaded' | 'lost'

/** The relation may not be loaded directly; found again inside the transaction, because it may have been altered. */
export class TargetRefused extends Error {
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

/**
 * @throws PostgreSQL's error (the transaction is rolled back or its outcome unknown), TargetRefused
 */
export async function load(
  session: Session,
  claim: Claim,
  target: Target,
  format: Format,
  batch: Batch,
): Promise<LoadOutcome> {
  try {
    const [moved] = await session.script<{ count: string; unsure: boolean }>(
      movePositions(claim, target, batch.spans),
    )
    if (Number(moved?.count) !== batch.spans.length) {
      await session.rollback()
      return 'lost'
    }
    failpoint('inbound.after-position')
    if (moved?.unsure) await checkTarget(session, target)
    for (const segment of batch.segments) {
      const chunks = segment.chunks
      await session.copyIn(`${enterRole(session, target)}${format.copyStatement(segment)}`, chunks)
    }
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

/**
 * Begins, moves the positions and reports how many moved, and whether the relation has to be checked before it is
 * loaded, because something about it may be in other hands than when the consumer began.
 */
function movePositions(claim: Claim, target: Target, spans: LoadedSpan[]): string {
  const rows = spans.map((span) => {
    const owned = claim.partitions.get(span.partition) as ClaimedPartition
    const values = [
      span.from,
      span.to,
      span.leaderEpoch,
      owned.ownerEpoch,
      span.messages,
      span.skipped,
      span.bytes,
    ]
    return `(${span.partition}, ${values.map((value) => `${value}::bigint`).join(', ')})`
  })
  return `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
    SET LOCAL synchronous_commit = ${target.synchronousCommit};
    WITH moved AS (
      UPDATE millrace.position AS p
         SET next_offset = v.next, leader_epoch = v.leader_epoch, messages = p.messages + v.messages,
             skipped = p.skipped + v.skipped, bytes = p.bytes + v.bytes, moved_at = pg_catalog.clock_timestamp()
        FROM (VALUES ${rows.join(', ')})
          AS v (partition, expected, next, leader_epoch, owner_epoch, messages, skipped, bytes)
       WHERE p.consumer_id = ${claim.consumerId} AND p.partition = v.partition AND p.next_offset = v.expected
         AND p.owner_epoch = v.owner_epoch AND p.config_version = ${claim.version}
         AND p.cluster_id = ${literal(claim.clusterId)} AND p.topic_id = ${literal(claim.topicId)}
         AND EXISTS (SELECT FROM millrace.consumer AS c
                      WHERE c.id = p.consumer_id AND c.version = ${claim.version} AND c.wanted = 'running')
         AND NOT EXISTS (SELECT FROM millrace.failure AS f
                          WHERE f.consumer_id = p.consumer_id AND f.version = ${claim.version})
      RETURNING 1)
    SELECT pg_catalog.count(*) AS count, millrace.needs_check(${argumentsOf(target)}) AS unsure
      FROM moved`
}

/**
 * Checks the relation under a lock, so that what is found holds until the end. The lock is taken as whoever may insert.
 * @throws TargetRefused
 */
async function checkTarget(session: Session, target: Target): Promise<void> {
  const [problem] = await session.script<{ code: string; message: string }>(
    `SET LOCAL ROLE ${identifier(target.owner)};
     SELECT millrace.lock_target(${literal(target.schema)}, ${literal(target.name)});
     RESET ROLE;
     SELECT code, message FROM millrace.target_problem(${argumentsOf(target)})`,
  )
  if (problem) throw new TargetRefused(problem.code, problem.message)
}

/** Of needs_check and target_problem. */
function argumentsOf({ schema, name, ownerOid }: Target): string {
  return `${literal(schema)}, ${literal(name)}, ${ownerOid}::oid`
}

/** What the rows are loaded as: the consumer's owner, with the search path that triggers expect. */
function enterRole(session: Session, target: Target): string {
  const role = target.owner === session.user ? '' : `SET LOCAL ROLE ${identifier(target.owner)};`
  return `SELECT pg_catalog.set_config('search_path', ${literal(session.ownSearchPath)}, true);${role}`
}
