// A batch is what one transaction loads: spans of offsets and the COPY bytes made of the messages in them.

import { type ErrorCode, MillraceError } from '../errors.ts'
import type { ChunkPool } from '../formats/chunk-pool.ts'
import type { BadMessage, Format, Segment } from '../formats/format.ts'
import { before } from '../pipeline/span.ts'
import { type FetchedSpan, Pace, placeOf, type WalkParts, walkBatch } from './walk.ts'

export interface BatchCounts {
  /** With a value that goes to COPY, and tombstones that become a row or delete one. */
  messages: number
  /** Tombstones and empty messages that are passed over. */
  skipped: number
  /** Bytes of those values. */
  bytes: number
}

/** Part of a batch that belongs to one partition. */
export interface LoadedSpan extends FetchedSpan, BatchCounts {
  /** Of messages that could not be loaded. */
  deadLetters?: number
}

export interface RejectedMessage {
  partition: number
  offset: bigint
  code: ErrorCode
  reason: string
}

export interface Batch {
  spans: LoadedSpan[]
  segments: Segment[]
  /** Bytes held by the segments. */
  size: number
  /** What the batch ends before, when it cannot be given to COPY at all: a message, or a damaged record batch. */
  rejected: RejectedMessage | null
}

export interface BuildParts extends WalkParts {
  format: Format
  pool: ChunkPool
  /** The batch ends soon after it has so many bytes of values. */
  maxBytes: number
}

/**
 * Builds a batch of as many of the spans as fit.
 * @returns the batch, which ends before the first message or record batch that cannot be loaded, and the spans
 *   that are left for the next one
 */
export async function buildBatch(
  spans: FetchedSpan[],
  parts: BuildParts,
): Promise<{ batch: Batch; rest: FetchedSpan[] }> {
  const { format, pool } = parts
  const encoder = format.encoder(pool)
  const taken: LoadedSpan[] = []
  let rest: FetchedSpan[] = []
  let room = parts.maxBytes
  let damaged: Unreadable | null = null
  const pace = new Pace()
  for (const [index, span] of spans.entries()) {
    const counts: BatchCounts = { messages: 0, skipped: 0, bytes: 0 }
    let end = span.to
    for (const [i, batch] of span.batches.entries()) {
      if (batch.baseOffset >= span.to) break
      try {
        const until = room - counts.bytes
        const walked = await walkBatch(batch, span, index, parts, pace, {
          step: (walk, record, bytes) =>
            format.needsRecords ? walk.walkRecords(encoder, record, bytes) : walk.walk(encoder, bytes),
          isOver: (walk) => encoder.bad !== null || walk.valueBytes >= until,
        })
        counts.messages += walked.messages
        counts.skipped += walked.skipped
        counts.bytes += walked.bytes
        end = walked.end
      } catch (error) {
        damaged = unreadable(error, index, batch.baseOffset)
      }
      if (encoder.bad || damaged) break
      if (counts.bytes >= room && end < span.to) {
        // a batch that was cut is walked again from where it was cut
        rest = [{ ...span, from: end, batches: span.batches.slice(end > batch.lastOffset ? i + 1 : i) }]
        break
      }
      end = span.to
    }
    room -= counts.bytes
    taken.push({ ...span, to: end, ...counts })
    if (encoder.bad || damaged || room <= 0) {
      rest = [...rest, ...spans.slice(index + 1)]
      break
    }
  }
  const encoded = encoder.finish()
  const batch: Batch = { spans: taken, segments: encoded.segments, size: encoded.bytes, rejected: null }
  const unloadable = encoded.bad ? ofBadMessage(encoded.bad, taken) : damaged
  if (unloadable) {
    // built again without it and what follows: the counts must be those of what is loaded
    giveBack(batch, pool)
    const { index, offset, code, reason } = unloadable
    const { batch: sound } = await buildBatch(before(taken, index, offset), {
      ...parts,
      maxBytes: Number.MAX_SAFE_INTEGER,
    })
    const { partition } = taken[index] as LoadedSpan
    return { batch: { ...sound, rejected: { partition, offset, code, reason } }, rest: [] }
  }
  for (const span of batch.spans) span.leaderEpoch = leaderEpochOf(span)
  return { batch, rest }
}

/** Where a batch has to end: a message, or the record batch that cannot be read. */
interface Unreadable {
  /** Of the span. */
  index: number
  offset: bigint
  code: ErrorCode
  reason: string
}

function ofBadMessage({ tag, code, reason }: BadMessage, spans: FetchedSpan[]): Unreadable {
  return { ...placeOf(tag, spans), code, reason }
}

/** @throws the error, when it is not about the record batch */
function unreadable(error: unknown, index: number, offset: bigint): Unreadable {
  if (!(error instanceof MillraceError)) throw error
  return { index, offset, code: error.code, reason: String(error.facts.reason ?? error.message) }
}

/** The segments' memory goes back to the pool. */
export function giveBack(batch: Pick<Batch, 'segments'>, pool: ChunkPool): void {
  for (const segment of batch.segments) for (const chunk of segment.chunks) pool.give(chunk)
  batch.segments = []
}

/**
 * The leader epoch of what is right before `to`. An earlier batch's would not do: where that is followed by one
 * that nobody sees (the marker of a transaction), the broker would find the log cut (KIP-320).
 */
function leaderEpochOf(span: FetchedSpan): number {
  const last = span.batches.findLast((batch) => batch.baseOffset < span.to)
  return last && last.lastOffset + 1n >= span.to ? last.leaderEpoch : span.leaderEpoch
}
