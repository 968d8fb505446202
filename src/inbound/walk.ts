// Record batches are walked as bytes, in slices of a millisecond or so, so that the event loop stays free.

import { setImmediate } from 'node:timers/promises'
import { decompress } from '../kafka/compression.ts'
import type { RecordBatch } from '../kafka/record-batch.ts'
import { type RecordSink, RecordWalk } from '../kafka/records.ts'
import { WalkedRecord } from '../kafka/walked-record.ts'
import type { Span } from '../pipeline/span.ts'
import type { MemoryAccount } from './memory-budget.ts'

/** A span with the record batches that a read_committed reader sees in it; none may be before `from`. */
export interface FetchedSpan extends Span {
  batches: RecordBatch[]
}

export interface WalkParts {
  topic: string
  /** Told of what is decompressed; what does not fit into all of it is refused. */
  budget: MemoryAccount
}

/** A tag is a span's index and an offset within it. A span would need 2^40 offsets to reach the next one's. */
export const tagStep = 2 ** 40

/** Values are passed on in slices of so many bytes, and the loop is left alone after so many milliseconds. */
const sliceBytes = 32 * 1024
const sliceMilliseconds = 1

export class Pace {
  #start = performance.now()

  /** Lets others run when it is time. */
  async keep(): Promise<void> {
    if (performance.now() - this.#start <= sliceMilliseconds) return
    await setImmediate()
    this.#start = performance.now()
  }
}

/** Which message a tag stands for: the index of its span, and its offset. */
export function placeOf(tag: number, spans: Span[]): { index: number; offset: bigint } {
  const index = Math.floor(tag / tagStep)
  const { from } = spans[index] as Span
  return { index, offset: from + BigInt(tag - index * tagStep) }
}

/** What is done with the records. */
interface Walker {
  /** Walks about so many bytes. @returns whether records are left */
  step(walk: RecordWalk, record: WalkedRecord, bytes: number): boolean
  /** Enough, though records are left. */
  isOver(walk: RecordWalk): boolean
}

interface Walked {
  /** Records with a value, and those without that the sink took. */
  messages: number
  /** Tombstones and empty messages that were passed over. */
  skipped: number
  /** Bytes of the values. */
  bytes: number
  /** The offset after what was walked. */
  end: bigint
}

/**
 * Walks one record batch of the span with this index.
 * @throws MillraceError record-batch-corrupt, compression-unsupported, message-too-large
 */
export async function walkBatch(
  batch: RecordBatch,
  span: Span,
  index: number,
  { topic, budget }: WalkParts,
  pace: Pace,
  walker: Walker,
): Promise<Walked> {
  const where = { partition: span.partition, offset: batch.baseOffset }
  const records = await decompress(batch.codec, batch.payload, budget.limit, where)
  const held = batch.codec === 0 ? 0 : records.length
  const ahead = Number(batch.baseOffset - span.from)
  const last = span.to <= batch.lastOffset ? span.to - 1n : batch.lastOffset
  const lastDelta = Number(last - batch.baseOffset)
  const tagBase = index * tagStep + ahead
  const walk = new RecordWalk(records, batch.records, Math.max(0, -ahead), lastDelta, tagBase, where)
  const record = new WalkedRecord(topic, span.partition, batch)
  budget.add(held)
  try {
    let more = true
    while (more && !walker.isOver(walk)) {
      more = walker.step(walk, record, sliceBytes)
      await pace.keep()
    }
    const end = more ? batch.baseOffset + BigInt(walk.lastWalked) + 1n : last + 1n
    return {
      messages: walk.values,
      skipped: walk.empty,
      bytes: walk.valueBytes,
      end: end > last ? last + 1n : end,
    }
  } finally {
    budget.release(held)
  }
}

/** Gives the sink every record that has a message. @throws what walkBatch throws */
export function walkAll(
  batch: RecordBatch,
  span: Span,
  index: number,
  parts: WalkParts,
  pace: Pace,
  sink: RecordSink,
): Promise<Walked> {
  return walkBatch(batch, span, index, parts, pace, {
    step: (walk, record, bytes) => walk.walkRecords(sink, record, bytes),
    isOver: () => false,
  })
}
