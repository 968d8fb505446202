// Which offset of each partition a start or a seek means, given what the partition holds. Pure: what is asked for and
// what there is go in, places come out.

import { MillraceError } from '../errors.ts'

export interface TopicBounds {
  clusterId: string
  topicId: string
  /** Where each partition begins, and its last stable offset; the index is the partition. */
  start: bigint[]
  end: bigint[]
  /** The first offset from the moment asked for on, where one was. */
  at: bigint[] | null
}

/** At most one of offset and time is not null; all null: from the end, or where it stands. */
export interface Asked {
  /** fromEnd, fromBeginning or an offset, for every partition. */
  offset: bigint | null
  /** Milliseconds since 1970. */
  time: number | null
  /** The same as `offset` for some partitions; the others go where offset or time says, or stay where they are. */
  partitions: Map<number, bigint> | null
  /** It has begun before: a partition where it stands nowhere was added since, and is read from its beginning. */
  begun: boolean
}

export interface Place {
  partition: number
  offset: bigint
  /** Also a partition that stands somewhere goes there. */
  moves: boolean
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
  return {
    offset,
    warning: textOf(new MillraceError('start-offset-clamped', { wanted: asked, partition, offset })),
  }
}

/** A place for each partition of the topic, in order. */
export function placesOf(bounds: TopicBounds, asked: Asked): { places: Place[]; warnings: string[] } {
  const warnings: string[] = []
  const places = bounds.start.map((start, partition): Place => {
    const end = bounds.end[partition] ?? start
    const named = asked.partitions?.get(partition)
    if (named === undefined && asked.time !== null) {
      return { partition, offset: bounds.at?.[partition] ?? end, moves: true }
    }
    const wanted = named ?? asked.offset ?? undefined
    const without = asked.begun ? fromBeginning : fromEnd
    const { offset, warning } = startOffset(wanted ?? without, partition, start, end)
    if (warning) warnings.push(warning)
    return { partition, offset, moves: wanted !== undefined }
  })
  for (const partition of asked.partitions?.keys() ?? []) {
    if (partition < places.length) continue
    warnings.push(textOf(new MillraceError('start-partition-missing', { partition })))
  }
  return { places, warnings }
}

/** Of a topic that does not exist yet, which will be read from its beginning. */
export function warningsWithoutTopic({ offset, partitions }: Asked): string[] {
  const reason = 'the topic does not exist yet, and will be read from its beginning'
  const late = (wanted: bigint, place: { partition?: number }): string[] =>
    wanted > 0n ? [textOf(new MillraceError('start-offset-clamped', { wanted, ...place, reason }))] : []
  const named = [...(partitions ?? [])].flatMap(([partition, wanted]) => late(wanted, { partition }))
  return offset === null ? named : late(offset, {})
}

function textOf({ code, message }: MillraceError): string {
  return `${code}: ${message}`
}
