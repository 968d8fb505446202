// A batch is what one transaction loads: spans of offsets and the COPY bytes made of the messages in them. It is
// built by walking record batches as bytes, in slices of a few milliseconds so that the event loop stays free.

import { setImmediate } from 'node:timers/promises'
import type { ChunkPool } from '../formats/chunk-pool.ts'
import type { Format, Segment } from '../formats/format.ts'
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
  code: string
  reason: string
}

export interface Batch {
  spans: LoadedSpan[]
  segments: Segment[]
  /** Bytes held by the segments. */
  size: number
  /** The message that the batch ends before, when it cannot be given to COPY at all. */
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
 * @returns the batch and the spans that are left for the next one
 * @throws MillraceError record-batch-corrupt, compression-unsupported
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
  let sliceStart = performance.now()
  for (const [index, span] of spans.entries()) {
    const counts: BatchCounts = { messages: 0, skipped: 0, bytes: 0 }
    let end = span.to
    for (const [i, batch] of span.batches.entries()) {
      if (batch.baseOffset >= span.to) break
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
      if (encoder.bad) break
      if (total >= limits.bytes && batch.lastOffset + 1n < span.to) {
        end = batch.lastOffset + 1n
        rest = [{ ...span, from: end, batches: span.batches.slice(i + 1) }]
        break
      }
    }
    taken.push({ ...span, to: end, ...counts })
    if (encoder.bad || total >= limits.bytes) {
      rest = [...rest, ...spans.slice(index + 1)]
      break
    }
  }
  const encoded = encoder.finish()
  const batch: Batch = { spans: taken, segments: encoded.segments, size: encoded.bytes, rejected: null }
  if (encoded.bad) {
    const { tag, code, reason } = encoded.bad
    const index = Math.floor(tag / tagStep)
    const { partition, from } = taken[index] as LoadedSpan
    const offset = from + BigInt(tag - index * tagStep)
    // built again without it and what follows: the counts must be those of what is loaded
    giveBack(batch, pool)
    const { batch: sound } = await buildBatch(before(taken, index, offset), format, pool, limits)
    return { batch: { ...sound, rejected: { partition, offset, code, reason } }, rest: [] }
  }
  for (const span of batch.spans) span.leaderEpoch = leaderEpochOf(span)
  return { batch, rest }
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

/** The epoch under which the last message before `to` was written, as far as this span tells. */
function leaderEpochOf(span: FetchedSpan): number {
  return span.batches.findLast((batch) => batch.baseOffset < span.to)?.leaderEpoch ?? span.leaderEpoch
}
