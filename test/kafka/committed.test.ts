// F10: what a read_committed reader sees is what a model of transactions says, whatever producers interleave and
// wherever the Fetch begins.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type AbortedTransaction, committedBatches } from '../../src/kafka/committed.ts'
import { readRecordBatches } from '../../src/kafka/record-batch.ts'
import { batchBytes, markerBytes } from './log-segment.ts'

type Step =
  /** A batch outside transactions. */
  | { kind: 'plain'; records: number }
  /** A batch of this producer's transaction, which begins with it if none is open. */
  | { kind: 'send'; producer: number; records: number }
  | { kind: 'end'; producer: number; how: 'commit' | 'abort' }

const step = fc.oneof(
  fc.record({ kind: fc.constant('plain' as const), records: fc.integer({ min: 1, max: 3 }) }),
  fc.record({
    kind: fc.constant('send' as const),
    producer: fc.integer({ min: 0, max: 2 }),
    records: fc.integer({ min: 1, max: 3 }),
  }),
  fc.record({
    kind: fc.constant('end' as const),
    producer: fc.integer({ min: 0, max: 2 }),
    how: fc.constantFrom('commit' as const, 'abort' as const),
  }),
)

interface Transaction {
  producer: number
  first: bigint
  last: bigint
  aborted: boolean
}

interface Entry {
  bytes: Buffer
  base: bigint
  last: bigint
  /** Null for plain batches and markers. */
  transaction: Transaction | null
  marker: boolean
}

/** The log that a broker would write, and the transactions in it. Those left open are aborted at the end. */
function logOf(steps: Step[]): { entries: Entry[]; transactions: Transaction[] } {
  const entries: Entry[] = []
  const transactions: Transaction[] = []
  const open = new Map<number, Transaction>()
  let next = 0n
  const append = (bytes: Buffer, records: number, transaction: Transaction | null, marker = false) => {
    entries.push({ bytes, base: next, last: next + BigInt(records - 1), transaction, marker })
    next += BigInt(records)
  }
  const send = (records: number, producer: number | null) => {
    const list = Array.from({ length: records }, (_, delta) => ({ delta, value: Buffer.from('v') }))
    let transaction: Transaction | null = null
    if (producer !== null) {
      transaction = open.get(producer) ?? { producer, first: next, last: next, aborted: false }
      open.set(producer, transaction)
    }
    const of = producer === null ? {} : { producerId: BigInt(producer), transactional: true }
    append(batchBytes({ baseOffset: next, records: list, ...of }), records, transaction)
  }
  const end = (producer: number, how: 'commit' | 'abort') => {
    const transaction = open.get(producer)
    // a transaction that sent nothing to this partition leaves no marker in it
    if (!transaction) return
    open.delete(producer)
    transaction.aborted = how === 'abort'
    transaction.last = next
    transactions.push(transaction)
    append(markerBytes(next, BigInt(producer), how), 1, null, true)
  }
  for (const step of steps) {
    if (step.kind === 'plain') send(step.records, null)
    else if (step.kind === 'send') send(step.records, step.producer)
    else end(step.producer, step.how)
  }
  for (const producer of [...open.keys()]) end(producer, 'abort')
  return { entries, transactions }
}

/** As a broker lists them: those that have records or their marker in what is sent, by their end. */
function abortedIn(transactions: Transaction[], from: bigint, to: bigint): AbortedTransaction[] {
  return transactions
    .filter(({ aborted, first, last }) => aborted && last >= from && first <= to)
    .map(({ producer, first }) => ({ producerId: BigInt(producer), firstOffset: first }))
}

test('F10 the batches of committed transactions are seen, and no others (property)', () => {
  const part = fc.double({ min: 0, max: 1, noNaN: true })
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 30 }), part, part, (steps, a, b) => {
      const { entries, transactions } = logOf(steps)
      if (entries.length === 0) return
      // a Fetch begins at any batch and brings any number of them
      const begin = Math.floor(a * (entries.length - 1))
      const sent = entries.slice(begin, begin + 1 + Math.floor(b * (entries.length - begin)))
      const from = sent[0]!.base
      const to = sent.at(-1)!.last
      const aborted = abortedIn(transactions, from, to)
      const batches = readRecordBatches(Buffer.concat(sent.map(({ bytes }) => bytes)))
      const visible = sent.filter(({ transaction, marker }) => !marker && !transaction?.aborted)
      assert.deepEqual(
        committedBatches(batches, aborted).map((batch) => batch.baseOffset),
        visible.map(({ base }) => base),
      )
    }),
    { numRuns: 3000 },
  )
})

test('F10 a producer aborts, then commits: only the second transaction is seen', () => {
  const { entries, transactions } = logOf([
    { kind: 'send', producer: 1, records: 2 },
    { kind: 'end', producer: 1, how: 'abort' },
    { kind: 'send', producer: 1, records: 2 },
    { kind: 'end', producer: 1, how: 'commit' },
  ])
  const batches = readRecordBatches(Buffer.concat(entries.map(({ bytes }) => bytes)))
  const seen = committedBatches(batches, abortedIn(transactions, 0n, 5n))
  assert.deepEqual(
    seen.map((batch) => batch.baseOffset),
    [3n],
  )
})

test('without transactions nothing is copied', () => {
  const batches = readRecordBatches(
    batchBytes({ baseOffset: 0n, records: [{ delta: 0, value: Buffer.from('v') }] }),
  )
  assert.equal(committedBatches(batches, []), batches)
})
