// Who may move a position. A claim raises the owner's epoch of each partition, so that whatever a former owner
// still sends compares false; and it ends the former owner's backend first, because a stopped process would
// otherwise hold its unique keys in an open COPY for ever (no timeout of PostgreSQL ends a backend that waits
// for its client inside COPY). A daemon that is alive gets a moment to let go by itself.

import { setTimeout } from 'node:timers/promises'
import { MillraceError } from '../errors.ts'
import type { Session } from '../postgres/session.ts'
import { endBackends } from './end-backends.ts'
import type { QueryRunner } from './target.ts'

export interface ClaimedPartition {
  ownerEpoch: string
  /** The stored position: the next offset. */
  position: bigint
  leaderEpoch: number
}

/** Partitions that this daemon owns, under one configuration of a consumer and one identity of its topic. */
export interface Claim {
  consumerId: string
  version: string
  clusterId: string
  topicId: string
  /** This daemon's id. */
  owner: string
  partitions: Map<number, ClaimedPartition>
}

export interface ClaimRequest extends Omit<Claim, 'partitions'> {
  /** The partitions wanted, each with where its log begins: a partition never seen before is read from there. */
  wanted: Map<number, bigint>
  /** Milliseconds that a live former owner has to let go. */
  grace: number
  /** Milliseconds after which an ended backend that is still there is given up on. */
  patience: number
}

interface OwnedRow extends Record<string, unknown> {
  partition: number
  next_offset: string
  leader_epoch: number
  owner_epoch: string
  owner: string | null
  owner_pid: number | null
  owner_started: string | null
  topic_id: string | null
  cluster_id: string | null
  alive: boolean
}

/**
 * Takes the partitions over. What came out of the consumer's hands meanwhile (it was stopped, or another claim
 * was faster) is left out.
 * @throws MillraceError topic-recreated, cluster-changed, takeover-failed
 */
export async function claim(runner: QueryRunner, request: ClaimRequest, signal: AbortSignal): Promise<Claim> {
  const partitions = [...request.wanted.keys()]
  await runner.query(addPositions, [
    request.consumerId,
    partitions,
    [...request.wanted.values()].map(String),
    request.clusterId,
    request.topicId,
    request.version,
  ])
  const rows = await evictOwners(runner, request, partitions, signal)
  for (const row of rows) checkIdentity(row, request)
  const claimed = await runner.query<OwnedRow>(takePositions, [
    request.consumerId,
    rows.map((row) => row.partition),
    rows.map((row) => row.owner_epoch),
    request.owner,
    request.version,
    request.clusterId,
    request.topicId,
  ])
  return { ...request, partitions: new Map(claimed.map((row) => [row.partition, claimedPartition(row)])) }
}

/** Ends or outwaits every other backend that may hold one of these positions. @returns the rows as they then are */
export async function evictOwners(
  runner: QueryRunner,
  request: Pick<ClaimRequest, 'consumerId' | 'owner' | 'grace' | 'patience'>,
  partitions: number[] | null,
  signal: AbortSignal,
): Promise<OwnedRow[]> {
  const start = Date.now()
  for (;;) {
    signal.throwIfAborted()
    const rows = await runner.query<OwnedRow>(readPositions, [request.consumerId, partitions])
    const others = rows.filter((row) => row.alive && row.owner !== null && row.owner !== request.owner)
    if (others.length === 0) return rows
    const waited = Date.now() - start
    if (waited > request.grace + request.patience) {
      throw new MillraceError('takeover-failed', { partition: others[0]?.partition })
    }
    if (waited > request.grace) {
      await endBackends(
        runner,
        others.map((row) => ({ pid: row.owner_pid, startedAt: row.owner_started })),
      )
    }
    await setTimeout(100)
  }
}

/**
 * Makes `session` the one that loads for this claim, and reads where each partition stands: after a lost
 * connection only the stored position tells whether the last COMMIT took place. Partitions that are no longer
 * this owner's are missing from the answer.
 * @param former the session before this one; its backend is ended when the connection to it is lost
 */
export async function attach(
  session: Session,
  claim: Claim,
  former: Session | null,
): Promise<Map<number, bigint>> {
  if (former?.lost) await endBackends(session, [former])
  const rows = await session.query<{ partition: number; next_offset: string }>(recordSession, [
    ...ownedBy(claim),
    session.pid,
    session.startedAt,
  ])
  return new Map(rows.map((row) => [row.partition, BigInt(row.next_offset)]))
}

/** Lets go, so that a new owner need not wait. */
export async function release(runner: QueryRunner, claim: Claim): Promise<void> {
  await runner.query(letGo, ownedBy(claim))
}

function ownedBy(claim: Claim): unknown[] {
  const epochs = [...claim.partitions.values()].map((partition) => partition.ownerEpoch)
  return [claim.consumerId, [...claim.partitions.keys()], epochs]
}

function claimedPartition(row: OwnedRow): ClaimedPartition {
  return { ownerEpoch: row.owner_epoch, position: BigInt(row.next_offset), leaderEpoch: row.leader_epoch }
}

/** Positions of another topic of the same name, or of another cluster, are not continued. */
export function checkIdentity(
  stored: Pick<OwnedRow, 'topic_id' | 'cluster_id'>,
  found: Pick<Claim, 'topicId' | 'clusterId'>,
): void {
  if (stored.cluster_id !== null && stored.cluster_id !== found.clusterId) {
    throw new MillraceError('cluster-changed', { stored: stored.cluster_id, found: found.clusterId })
  }
  if (stored.topic_id !== null && stored.topic_id !== found.topicId) {
    throw new MillraceError('topic-recreated', { stored: stored.topic_id, found: found.topicId })
  }
}

/** ON CONFLICT alone would wait for a former owner that has moved the row and sleeps before its COMMIT. */
const addPositions = `
  WITH added AS (INSERT INTO millrace.position (consumer_id, partition, next_offset, cluster_id, topic_id, config_version)
  SELECT $1, new.partition, new.next_offset, $4, $5, $6
    FROM unnest($2::int[], $3::bigint[]) AS new (partition, next_offset)
   WHERE NOT EXISTS (SELECT FROM millrace.position AS p WHERE p.consumer_id = $1 AND p.partition = new.partition)
     AND EXISTS (SELECT FROM millrace.consumer AS c
                  WHERE c.id = $1 AND c.version = $6 AND c.wanted = 'running' AND NOT c.start_pending)
  ON CONFLICT (consumer_id, partition) DO NOTHING
  RETURNING partition, next_offset)
  INSERT INTO millrace.batch (consumer_id, partition, from_offset, to_offset, kind)
  SELECT $1, added.partition, added.next_offset, added.next_offset, 'start' FROM added`

/** The start of another role's backend is not shown: then the pid decides alone. */
const readPositions = `
  SELECT p.partition, p.next_offset, p.leader_epoch, p.owner_epoch, p.owner, p.owner_pid,
         p.owner_started::text AS owner_started, p.topic_id, p.cluster_id,
         EXISTS (SELECT FROM pg_catalog.pg_stat_activity AS a
                  WHERE a.pid = p.owner_pid AND coalesce(a.backend_start = p.owner_started, true)) AS alive
    FROM millrace.position AS p
   WHERE p.consumer_id = $1 AND ($2::int[] IS NULL OR p.partition = ANY ($2))
   ORDER BY p.partition`

const takePositions = `
  UPDATE millrace.position AS p
     SET owner = $4, owner_epoch = p.owner_epoch + 1, owner_pid = NULL, owner_started = NULL, config_version = $5,
         cluster_id = coalesce(p.cluster_id, $6), topic_id = coalesce(p.topic_id, $7)
    FROM unnest($2::int[], $3::bigint[]) AS seen (partition, owner_epoch)
   WHERE p.consumer_id = $1 AND p.partition = seen.partition AND p.owner_epoch = seen.owner_epoch
     AND EXISTS (SELECT FROM millrace.consumer AS c WHERE c.id = $1 AND c.version = $5 AND c.wanted = 'running')
  RETURNING p.partition, p.next_offset, p.leader_epoch, p.owner_epoch`

const mine = `
     FROM unnest($2::int[], $3::bigint[]) AS mine (partition, owner_epoch)
    WHERE p.consumer_id = $1 AND p.partition = mine.partition AND p.owner_epoch = mine.owner_epoch`

const recordSession = `
  UPDATE millrace.position AS p SET owner_pid = $4, owner_started = $5
  ${mine}
  RETURNING p.partition, p.next_offset`

const letGo = `
  UPDATE millrace.position AS p SET owner = NULL, owner_pid = NULL, owner_started = NULL
  ${mine}`
