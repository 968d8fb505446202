// A batch is what one transaction loads: spans of offsets and the COPY bytes made of the messages in them. It is
// built by walking record batches as bytes, in slices of a few milliseconds so that the event loop stays free.

import { setImmediate } from 'node:timers/promises'
import { type ErrorCode, MillraceError } from '../errors.ts'
import type { ChunkPool } from '../formats/chunk-pool.ts'
import type { BadMessage, Format, Segment } from '../formats/format.ts'
import { decompress } from '../kafka/compression.ts'
import type { RecordBatch } from '../kafka/record-batch.ts'
import { RecordWalk } from '../kafka/records.ts'
import { before, type Span } from '../pipeline/span.ts'

/** A span with the record batches that a read_committed reader sees in it; none may be before `from`. */
export interface FetchedSpan extends Span {
  batches: RecordBatch[]
}

export interface BatchCounts {
  /** Values that go to COPY. */
  messages: number
  /** Tombstones and empty messages. */
  skipped: number
  /** Bytes of those values. */
  bytes: number
}

/** Part of a batch that belongs to one partition. */
export interface LoadedSpan extends FetchedSpan, BatchCounts {}

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

/** Values are passed on in slices of so many bytes, and the loop is left alone after so many milliseconds. */
const sliceBytes = 64 * 1024
const sliceMilliseconds = 2

/** A tag is a span's index and an offset within it. A span would need 2^40 offsets to reach the next one's. */
const tagStep = 2 ** 40

export interface BuildLimits {
  /** The batch ends after the record batch that reaches so many bytes of values. */
  bytes: number
}

/**
 * Builds a batch of as many of the spans as fit.
 * @returns the batch, which ends before the first message or record batch that cannot be loaded, and the spans
 *   that are left for the next one
 */
export async function buildBatch(
  spans: FetchedSpan[],
  format: Format,
  pool: ChunkPool,
  limits: BuildLimits,
): Promise<{ batch: Batch; rest: FetchedSpan[] }> {
  const encoder = format.encoder(pool)
  const taken: LoadedSpan[] = []
  let rest: FetchedSpan[] = []
  let total = 0
  let damaged: Unreadable | null = null
  let sliceStart = performance.now()
  for (const [index, span] of spans.entries()) {
    const counts: BatchCounts = { messages: 0, skipped: 0, bytes: 0 }
    let end = span.to
    for (const [i, batch] of span.batches.entries()) {
      if (batch.baseOffset >= span.to) break
      try {
        const walk = await openWalk(batch, span, index * tagStep)
        while (walk.walk(encoder, sliceBytes) && !encoder.bad) {
          if (performance.now() - sliceStart > sliceMilliseconds) {
            await setImmediate()
            sliceStart = performance.now()
          }
        }
        counts.messages += walk.values
        counts.skipped += walk.empty
        counts.bytes += walk.valueBytes
        total += walk.valueBytes
      } catch (error) {
        damaged = unreadable(error, index, batch.baseOffset)
      }
      if (encoder.bad || damaged) break
      if (total >= limits.bytes && batch.lastOffset + 1n < span.to) {
        end = batch.lastOffset + 1n
        rest = [{ ...span, from: end, batches: span.batches.slice(i + 1) }]
        break
      }
    }
    taken.push({ ...span, to: end, ...counts })
    if (encoder.bad || damaged || total >= limits.bytes) {
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
    const { batch: sound } = await buildBatch(before(taken, index, offset), format, pool, limits)
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
  const index = Math.floor(tag / tagStep)
  const { from } = spans[index] as FetchedSpan
  return { index, offset: from + BigInt(tag - index * tagStep), code, reason }
}

/** @throws the error, when it is not about the record batch */
function unreadable(error: unknown, index: number, offset: bigint): Unreadable {
  if (!(error instanceof MillraceError)) throw error
  return { index, offset, code: error.code, reason: String(error.facts.reason ?? error.message) }
}

/** The segments' memory goes back to the pool. */
export function giveBack(batch: Batch, pool: ChunkPool): void {
  for (const segment of batch.segments) for (const chunk of segment.chunks) pool.give(chunk)
  batch.segments = []
}

/** @throws MillraceError record-batch-corrupt, compression-unsupported */
async function openWalk(batch: RecordBatch, span: FetchedSpan, tagBase: number): Promise<RecordWalk> {
  const where = { partition: span.partition, offset: batch.baseOffset }
  const records = await decompress(batch.codec, batch.payload, where)
  const ahead = Number(batch.baseOffset - span.from)
  const firstDelta = Math.max(0, -ahead)
  const last = span.to <= batch.lastOffset ? span.to - 1n : batch.lastOffset
  return new RecordWalk(
    records,
    batch.records,
    firstDelta,
    Number(last - batch.baseOffset),
    tagBase + ahead,
    where,
  )
}

/**
 * The leader epoch of what is right before `to`. An earlier batch's would not do: where that is followed by one
 * that nobody sees (the marker of a transaction), the broker would find the log cut (KIP-320).
 */
function leaderEpochOf(span: FetchedSpan): number {
  const last = span.batches.findLast((batch) => batch.baseOffset < span.to)
  return last && last.lastOffset + 1n >= span.to ? last.leaderEpoch : span.leaderEpoch
}
