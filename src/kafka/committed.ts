// Under read_committed the broker still sends the records of aborted transactions, and says beside them
// which they are (KIP-98). They and the control batches are taken out here, by batch: a batch belongs to
// one producer and at most one transaction. The position advances over what is taken out.

import type { RecordBatch } from './record-batch.ts'

export interface AbortedTransaction {
  producerId: bigint
  /** The first offset of the transaction's records in this partition. */
  firstOffset: bigint
}

/** What a control batch's only record says: key = version int16, type int16 (0 abort, 1 commit). */
function isAbortMarker(batch: RecordBatch): boolean {
  const payload = batch.payload
  if (batch.records === 0) return false // the log cleaner keeps the empty batch of a marker that it removed
  let at = 0
  const skipVarint = () => {
    while ((payload[at++] as number) & 0x80) {}
  }
  skipVarint() // length
  at++ // attributes
  skipVarint() // timestampDelta
  skipVarint() // offsetDelta
  skipVarint() // keyLength
  return payload.readInt16BE(at + 2) === 0
}

/** The batches whose records a read_committed consumer may see, in order. */
export function committedBatches(batches: RecordBatch[], aborted: AbortedTransaction[]): RecordBatch[] {
  if (aborted.length === 0 && !batches.some((batch) => batch.control)) return batches
  const waiting = aborted.toSorted((a, b) => (a.firstOffset < b.firstOffset ? -1 : 1))
  const open = new Set<bigint>()
  return batches.filter((batch) => {
    while (waiting.length > 0 && (waiting[0] as AbortedTransaction).firstOffset <= batch.lastOffset) {
      open.add((waiting.shift() as AbortedTransaction).producerId)
    }
    if (batch.control) {
      if (isAbortMarker(batch)) open.delete(batch.producerId)
      return false
    }
    return !(batch.transactional && open.has(batch.producerId))
  })
}
