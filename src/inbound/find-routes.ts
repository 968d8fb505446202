// Before messages are handed to the relations that their keys name, every key among them is looked up: what takes
// messages one by one cannot wait.

import { MillraceError } from '../errors.ts'
import type { WalkedRecord } from '../kafka/walked-record.ts'
import { keyOf, type RouteTable } from './routes.ts'
import { type FetchedSpan, Pace, type WalkParts, walkAll } from './walk.ts'

export async function findRoutes(spans: FetchedSpan[], routes: RouteTable, parts: WalkParts): Promise<void> {
  const unknown = new Set<string>()
  const sink = {
    appendRecord(record: WalkedRecord) {
      const key = keyOf(record)
      if (key !== null && !routes.knows(key)) unknown.add(key)
    },
  }
  const pace = new Pace()
  for (const [index, span] of spans.entries()) {
    for (const batch of span.batches) {
      try {
        await walkAll(batch, span, index, parts, pace, sink)
      } catch (error) {
        // whoever builds the batch meets it again and says where
        if (!(error instanceof MillraceError)) throw error
      }
    }
  }
  for (const key of unknown) await routes.look(key)
}
