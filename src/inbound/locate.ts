// Where a consumer starts is found once for each call that asks for it, and recorded before anything is read: for all
// partitions, in one transaction, which also records in millrace.batch what was moved. The end of a partition is the
// last stable offset at that moment. A partition that appears later, or a whole topic that did, is read from its
// beginning.

import type { Session } from '../postgres/session.ts'
import type { ConsumerSpec } from './consumer.ts'
import { type Asked, type Place, placesOf, type TopicBounds, warningsWithoutTopic } from './start.ts'

/** What is known of where a consumer starts. */
export interface Located {
  /** Still to be found. */
  pending: boolean
  /** The moment asked for, milliseconds since 1970. */
  time: number | null
  positions: { partition: number; topic_id: string | null; cluster_id: string | null }[]
}

interface PendingRow extends Record<string, unknown> {
  start_pending: boolean
  start_offset: string | null
  start_time: string | null
  /** partition → offset, as text: a number of JSON would be cut above 2^53. */
  start_partitions: Record<string, string> | null
  begun: boolean
}

/** @returns null when the consumer is not what it was */
export async function readLocated(session: Session, spec: ConsumerSpec): Promise<Located | null> {
  const [row] = await session.query<PendingRow>(pendingQuery, [spec.id, spec.version])
  if (!row) return null
  const positions = await session.query<Located['positions'][number]>(
    'SELECT partition, topic_id, cluster_id FROM millrace.position WHERE consumer_id = $1',
    [spec.id],
  )
  return { pending: row.start_pending, time: askedOf(row).time, positions }
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
    const [row] = await session.query<PendingRow>(`${pendingQuery} FOR NO KEY UPDATE`, [
      spec.id,
      spec.version,
    ])
    if (row?.start_pending) {
      const warnings = bounds
        ? await record(session, spec, bounds, askedOf(row))
        : await forget(session, spec, askedOf(row))
      await session.query(locatedQuery, [spec.id, warnings.length > 0 ? warnings.join('; ') : null])
    }
    await session.script('COMMIT')
    return row !== undefined
  } catch (error) {
    await session.rollback()
    throw error
  }
}

function askedOf(row: PendingRow): Asked {
  const partitions = Object.entries(row.start_partitions ?? {})
  return {
    offset: row.start_offset === null ? null : BigInt(row.start_offset),
    time: row.start_time === null ? null : Number(row.start_time),
    partitions: row.start_partitions && new Map(partitions.map(([key, to]) => [Number(key), BigInt(to)])),
    begun: row.begun,
  }
}

/** @returns warnings */
async function record(
  session: Session,
  spec: ConsumerSpec,
  bounds: TopicBounds,
  asked: Asked,
): Promise<string[]> {
  const { places, warnings } = placesOf(bounds, asked)
  const moved = places.filter((place) => place.moves)
  const kept = places.filter((place) => !place.moves)
  const rows = await session.query<{ partition: number; next_offset: string }>(lockPositions, [spec.id])
  const before = new Map(rows.map((row) => [row.partition, row.next_offset]))
  const whole = asked.offset !== null || asked.time !== null
  // what a former topic of this name had more of is not continued
  if (whole) await session.query(forgetBeyond, [spec.id, places.length])
  const insert = (part: Place[], conflict: string) =>
    session.query(`${insertPositions} ${conflict}`, [
      spec.id,
      part.map((place) => place.partition),
      part.map((place) => String(place.offset)),
      bounds.clusterId,
      bounds.topicId,
      spec.version,
    ])
  await insert(moved, andOverwrite)
  await insert(kept, orKeep)
  const recorded = places.filter((place) => place.moves || !before.has(place.partition))
  await session.query(recordMoves, [
    spec.id,
    recorded.map((place) => place.partition),
    recorded.map((place) => before.get(place.partition) ?? null),
    recorded.map((place) => String(place.offset)),
  ])
  return warnings
}

/** Of a topic that is not there: it will be read from its beginning. @returns warnings */
async function forget(session: Session, spec: ConsumerSpec, asked: Asked): Promise<string[]> {
  const named = asked.partitions && [...asked.partitions.keys()]
  const all = asked.offset !== null || asked.time !== null
  if (all || named) await session.query(forgetPositions, [spec.id, all ? null : named])
  return warningsWithoutTopic(asked)
}

/** Messages have a timestamp in whole milliseconds; below 0 there are only special values. */
const pendingQuery = `
  SELECT start_pending, start_offset, located_at IS NOT NULL AS begun,
         (SELECT jsonb_object_agg(e.key, e.value) FROM jsonb_each_text(start_partitions) AS e) AS start_partitions,
         CASE WHEN start_time IS NOT NULL THEN greatest(0, ceil(extract(epoch FROM start_time) * 1000))::bigint END
           AS start_time
    FROM millrace.consumer
   WHERE id = $1 AND version = $2 AND wanted = 'running'`

const lockPositions = `
  SELECT partition, next_offset FROM millrace.position WHERE consumer_id = $1 ORDER BY partition FOR UPDATE`

const insertPositions = `
  INSERT INTO millrace.position AS p (consumer_id, partition, next_offset, cluster_id, topic_id, config_version)
  SELECT $1, new.partition, new.next_offset, $4, $5, $6
    FROM unnest($2::int[], $3::bigint[]) AS new (partition, next_offset)
  ON CONFLICT (consumer_id, partition)`

const orKeep = 'DO NOTHING'

/** The raised epoch makes whatever is under way compare false. */
const andOverwrite = `DO UPDATE
     SET next_offset = excluded.next_offset, leader_epoch = -1, cluster_id = excluded.cluster_id,
         topic_id = excluded.topic_id, config_version = excluded.config_version, owner_epoch = p.owner_epoch + 1,
         owner = NULL, owner_pid = NULL, owner_started = NULL`

/** A start where there was no position, else a seek from where it stood. */
const recordMoves = `
  INSERT INTO millrace.batch (consumer_id, partition, from_offset, to_offset, kind)
  SELECT $1, m.partition, coalesce(m.before, m.after), m.after, CASE WHEN m.before IS NULL THEN 'start' ELSE 'seek' END
    FROM unnest($2::int[], $3::bigint[], $4::bigint[]) AS m (partition, before, after)`

const forgetBeyond = 'DELETE FROM millrace.position WHERE consumer_id = $1 AND partition >= $2'

const forgetPositions = `
  DELETE FROM millrace.position WHERE consumer_id = $1 AND ($2::int[] IS NULL OR partition = ANY ($2))`

const locatedQuery = `
  UPDATE millrace.consumer
     SET start_pending = false, located_at = pg_catalog.clock_timestamp(), warning = $2
   WHERE id = $1`
