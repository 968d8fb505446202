// Spans are taken in portions, cut between record batches: each portion has what is read at a time, and together they are
// the whole, in order.

import { after } from '../pipeline/span.ts'
import type { RejectedMessage } from './batch.ts'
import type { FetchedSpan } from './walk.ts'

/** Without the record batches that are outside the span. */
export function trimmed(span: FetchedSpan): FetchedSpan {
  const batches = span.batches.filter((batch) => batch.lastOffset >= span.from && batch.baseOffset < span.to)
  return { ...span, batches }
}

/** Parts of about so many messages, in order; cut between record batches. */
export function cutInto(messages: number, spans: FetchedSpan[]): FetchedSpan[][] {
  const parts: FetchedSpan[][] = []
  let part: FetchedSpan[] = []
  let counted = 0
  for (const span of spans) {
    let rest = span
    for (const [index, batch] of span.batches.entries()) {
      if (counted >= messages) {
        const at = batch.baseOffset > rest.from ? batch.baseOffset : rest.from
        const done = rest.batches.length - (span.batches.length - index)
        if (done > 0) part.push({ ...rest, to: at, leaderEpoch: -1, batches: rest.batches.slice(0, done) })
        parts.push(part)
        rest = { ...rest, from: at, batches: rest.batches.slice(done) }
        part = []
        counted = 0
      }
      counted += batch.records
    }
    part.push(rest)
  }
  return [...parts, part]
}

/** What is left of a piece behind the message. */
export function beyond(piece: FetchedSpan[], { partition, offset }: RejectedMessage): FetchedSpan[] {
  const index = piece.findIndex(
    (span) => span.partition === partition && offset >= span.from && offset < span.to,
  )
  return after(piece, index, offset)
}
