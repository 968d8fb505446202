// Where a consumer starts is found once for each consume_begin that asks for it, and recorded before anything
// is read: for all partitions, in one transaction. The end of a partition is the last stable offset at that
// moment. A partition that appears later, or a whole topic that did, is read from its beginning.

import { MillraceError } from '../errors.ts'
import type { Session } from '../postgres/session.ts'
import type { ConsumerSpec } from './consumer.ts'

export interface TopicBounds {
  clusterId: string
  topicId: string
  /** Where each partition begins, and its last stable offset; the index is the partition. */
  start: bigint[]
  end: bigint[]
}

/** What is known of where a consumer starts. */
export interface Located {
  /** Still to be found. */
  pending: boolean
  positions: { partition: number; topic_id: string | null; cluster_id: string | null }[]
}

interface PendingRow extends Record<string, unknown> {
  start_pending: boolean
  start_offset: string | null
}

export const fromEnd = -1n
export const fromBeginning = -2n

/**
 * The first offset to read from a partition, and a warning where the one asked for is not in it.
 * @param asked fromEnd, fromBeginning or an offset
 */
export function startOffset(
  asked: bigint,
  partition: number,
  start: bigint,
  end: bigint,
): { offset: bigint; warning: string | null } {
  if (asked === fromEnd) return { offset: end, warning: null }
  if (asked === fromBeginning) return { offset: start, warning: null }
  const offset = asked < start ? start : asked > end ? end : asked
  if (offset === asked) return { offset, warning: null }
  const clamped = new MillraceError('start-offset-clamped', { wanted: asked, partition, offset })
  return { offset, warning: `${clamped.code}: ${clamped.message}` }
}

/** @returns null when the consumer is not what it was */
export async function readLocated(session: Session, spec: ConsumerSpec): Promise<Located | null> {
  const [row] = await session.query<PendingRow>(
    "SELECT start_pending, start_offset FROM millrace.consumer WHERE id = $1 AND version = $2 AND wanted = 'running'",
    [spec.id, spec.version],
  )
  if (!row) return null
  const positions = await session.query<Located['positions'][number]>(
    'SELECT partition, topic_id, cluster_id FROM millrace.position WHERE consumer_id = $1',
    [spec.id],
  )
  return { pending: row.start_pending, positions }
}

/**
 * Records where the consumer starts, unless another daemon has done it.
 * @param bounds null for a topic that does not exist yet: it will be read from its beginning
 * @returns false when the consumer is not what it was: look again
 */
export async function locate(
  session: Session,
  spec: ConsumerSpec,
  bounds: TopicBounds | null,
): Promise<boolean> {
  await session.script('BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE')
  try {
    const [row] = await session.query<PendingRow>(pendingQuery, [spec.id, spec.version])
    if (row?.start_pending) await record(session, spec, bounds, row.start_offset)
    await session.script('COMMIT')
    return row !== undefined
  } catch (error) {
    await session.rollback()
    throw error
  }
}

async function record(
  session: Session,
  spec: ConsumerSpec,
  bounds: TopicBounds | null,
  asked: string | null,
): Promise<void> {
  const warnings: string[] = []
  if (bounds) {
    const offsets = bounds.start.map((start, partition) => {
      const found = startOffset(BigInt(asked ?? fromEnd), partition, start, bounds.end[partition] ?? start)
      if (found.warning) warnings.push(found.warning)
      return String(found.offset)
    })
    const partitions = offsets.map((_, partition) => partition)
    const overwrite = asked !== null
    // what a former topic of this name had more of is not continued
    if (overwrite) await session.query(forgetBeyond, [spec.id, offsets.length])
    await session.query(overwrite ? `${insertPositions} ${andOverwrite}` : `${insertPositions} ${orKeep}`, [
      spec.id,
      partitions,
      offsets,
      bounds.clusterId,
      bounds.topicId,
      spec.version,
    ])
  } else if (asked !== null) {
    await session.query('DELETE FROM millrace.position WHERE consumer_id = $1', [spec.id])
  }
  await session.query(locatedQuery, [spec.id, warnings.length > 0 ? warnings.join('; ') : null])
}

const pendingQuery = `
  SELECT start_pending, start_offset FROM millrace.consumer
   WHERE id = $1 AND version = $2 AND wanted = 'running' FOR NO KEY UPDATE`

const insertPositions = `
  INSERT INTO millrace.position AS p (consumer_id, partition, next_offset, cluster_id, topic_id, config_version)
  SELECT $1, new.partition, new.next_offset, $4, $5, $6
    FROM unnest($2::int[], $3::bigint[]) AS new (partition, next_offset)
  ON CONFLICT (consumer_id, partition)`

const forgetBeyond = 'DELETE FROM millrace.position WHERE consumer_id = $1 AND partition >= $2'

const orKeep = 'DO NOTHING'

/** The raised epoch makes whatever is under way compare false. */
const andOverwrite = `DO UPDATE
     SET next_offset = excluded.next_offset, leader_epoch = -1, cluster_id = excluded.cluster_id,
         topic_id = excluded.topic_id, config_version = excluded.config_version, owner_epoch = p.owner_epoch + 1,
         owner = NULL, owner_pid = NULL, owner_started = NULL`

const locatedQuery = `
  UPDATE millrace.consumer
     SET start_pending = false, located_at = pg_catalog.clock_timestamp(), warning = $2
   WHERE id = $1`
