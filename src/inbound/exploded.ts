// Messages as they go to the server when it takes them one by one: every column as text, and those left out of which it
// need not be asked.

import type { ChunkPool } from '../formats/chunk-pool.ts'
import type { ExplodedFormat } from '../formats/explode.ts'
import type { WalkedRecord } from '../kafka/walked-record.ts'
import type { BatchCounts } from './batch.ts'
import { undamaged } from './damaged.ts'
import type { Held } from './held-batch.ts'
import type { MemoryAccount } from './memory-budget.ts'
import { trimmed } from './portions.ts'
import { type FetchedSpan, type Pace, walkAll } from './walk.ts'

/** A message that was not given to the server. */
export interface Refused {
  tag: number
  code: string
  sqlstate: string | null
  reason: string
}

export interface Exploded extends Held {
  refused: Refused[]
  /** By partition; with those that were refused. */
  counts: Map<number, BatchCounts>
}

export interface ExplodeParts {
  topic: string
  format: ExplodedFormat
  chunks: ChunkPool
  budget: MemoryAccount
  pace: Pace
}

/** @throws Damaged */
export async function explode(piece: FetchedSpan[], parts: ExplodeParts): Promise<Exploded> {
  const { format, chunks, budget, pace } = parts
  const exploder = format.exploder(chunks)
  const refused: Refused[] = []
  const counts: Exploded['counts'] = new Map()
  const sink = {
    appendRecord(record: WalkedRecord) {
      const { skipped } = exploder
      const refusal = exploder.appendRecord(record)
      if (refusal) refused.push({ tag: record.tag, ...refusal })
      return exploder.skipped === skipped
    },
  }
  for (const [index, span] of piece.map(trimmed).entries()) {
    for (const batch of span.batches) {
      const walked = await undamaged(span, () => walkAll(batch, span, index, parts, pace, sink))
      addCounts(counts, span.partition, walked)
    }
  }
  const { segments, bytes } = exploder.finish()
  budget.add(bytes)
  return { segments, size: bytes, refused, counts }
}

export function addCounts(counts: Map<number, BatchCounts>, partition: number, more: BatchCounts): void {
  const { messages, skipped, bytes } = counts.get(partition) ?? { messages: 0, skipped: 0, bytes: 0 }
  counts.set(partition, {
    messages: messages + more.messages,
    skipped: skipped + more.skipped,
    bytes: bytes + more.bytes,
  })
}
