// Offsets that retention removed before they were read: where the consumer was told so (on_offset_gap), its position
// moves to what is left, in one statement that also records what was left out. Nothing passes over a gap silently,
// and nothing goes back: an offset above the end of the log is no gap.

import { MillraceError } from '../errors.ts'
import type { Topic } from '../kafka/topic-client.ts'
import type { Session } from '../postgres/session.ts'
import type { ConsumerSpec } from './consumer.ts'
import type { Failure } from './stream-end.ts'

export interface Gap {
  partition: number
  from: bigint
  /** Exclusive. */
  to: bigint
}

/** @returns null when the failure is no gap, or the consumer is not to go on after one */
export function gapOf(spec: ConsumerSpec, { error, partition, offset }: Failure): Gap | null {
  const { low } = error.facts as { low?: bigint }
  if (spec.onOffsetGap !== 'earliest' || error.code !== 'offset-out-of-range') return null
  if (partition === null || offset === null || low === undefined || low <= offset) return null
  return { partition, from: offset, to: low }
}

/**
 * Moves the position over the gap.
 * @returns what the consumer's warning then says; null when the position is not where the gap begins any more
 */
export async function passGap(
  session: Session,
  spec: ConsumerSpec,
  topic: Topic,
  gap: Gap,
): Promise<MillraceError | null> {
  const { partition, from, to } = gap
  const warning = new MillraceError('offset-gap', { topic: spec.topic, partition, from, to: to - 1n })
  const rows = await session.query(moveOver, [
    spec.id,
    spec.version,
    partition,
    String(from),
    String(to),
    topic.clusterId,
    topic.id,
    `${warning.code}: ${warning.message}`,
  ])
  return rows.length === 1 ? warning : null
}

/** The raised epoch makes whatever is under way compare false. The newest warning comes first. */
const moveOver = `
  WITH moved AS (
    UPDATE millrace.position AS p
       SET next_offset = $5, leader_epoch = -1, owner_epoch = p.owner_epoch + 1, owner = NULL, owner_pid = NULL,
           owner_started = NULL
      FROM millrace.consumer AS c
     WHERE c.id = $1 AND c.version = $2 AND c.wanted = 'running' AND p.consumer_id = c.id AND p.partition = $3
       AND p.next_offset = $4 AND p.config_version = $2 AND p.cluster_id = $6 AND p.topic_id = $7
    RETURNING 1),
  told AS (
    UPDATE millrace.consumer AS c
       SET warning = left(concat_ws('; ', $8::text, c.warning), 2000)
     WHERE c.id = $1 AND EXISTS (SELECT FROM moved))
  INSERT INTO millrace.batch (consumer_id, partition, from_offset, to_offset, kind)
  SELECT $1, $3, $4, $5, 'gap' FROM moved
  RETURNING 1`
