// The ends of partitions as they are read, one stretch of offsets each: what is kept of them is bounded by bytes, and
// where it would be more the oldest record batches are left out.

import type { RecordBatch } from '../kafka/record-batch.ts'
import type { ResponsePool } from '../kafka/response-pool.ts'
import type { Fetched, Reading } from './fetch-loop.ts'
import type { MemoryAccount } from './memory-budget.ts'
import type { FetchedSpan } from './walk.ts'

/** The offsets [from, end) of a partition whose log begins at `low`. */
export interface StretchBounds {
  low: bigint
  from: bigint
  end: bigint
}

interface Stretch extends StretchBounds {
  /** How far it is read. */
  read: bigint
  batches: RecordBatch[]
  bytes: number
}

export class Stretches {
  readonly #stretches: Map<number, Stretch>
  readonly #budget: MemoryAccount
  readonly #responses: ResponsePool
  readonly #mostBytes: number
  /** Something was left out. */
  isCut = false

  constructor(
    bounds: Map<number, StretchBounds>,
    parts: { budget: MemoryAccount; responses: ResponsePool; mostBytes: number },
  ) {
    const begin = (one: StretchBounds): Stretch => ({ ...one, read: one.from, batches: [], bytes: 0 })
    this.#stretches = new Map([...bounds].map(([partition, one]) => [partition, begin(one)]))
    this.#budget = parts.budget
    this.#responses = parts.responses
    this.#mostBytes = parts.mostBytes
  }

  get isRead(): boolean {
    return [...this.#stretches.values()].every(({ read, end }) => read >= end)
  }

  /** They begin where the logs do. */
  get isWhole(): boolean {
    return [...this.#stretches.values()].every(({ low, from }) => from === low)
  }

  /** Held in the budget. */
  get bytes(): number {
    return [...this.#stretches.values()].reduce((sum, { bytes }) => sum + bytes, 0)
  }

  get readings(): Map<number, Reading> {
    return new Map(
      [...this.#stretches].map(([partition, { from }]) => [partition, { offset: from, epoch: -1 }]),
    )
  }

  get spans(): FetchedSpan[] {
    return [...this.#stretches].map(([partition, { from, end, batches }]) => ({
      partition,
      from,
      to: end,
      leaderEpoch: -1,
      batches,
    }))
  }

  /** Copies what belongs to them: the response's memory is used again. */
  keep(fetched: Fetched): void {
    for (const span of fetched.spans) {
      const stretch = this.#stretches.get(span.partition)
      if (!stretch) continue
      for (const batch of span.batches) {
        if (batch.baseOffset >= stretch.end) break
        stretch.batches.push({ ...batch, payload: Buffer.from(batch.payload) })
        this.#count(stretch, batch.payload.length)
      }
      stretch.read = span.to
      this.#shorten(stretch)
    }
    this.pass(fetched)
  }

  /** Gives the memory of a response back. */
  pass({ reserved, memory }: Fetched): void {
    this.#budget.release(reserved)
    for (const buffer of memory) this.#responses.give(buffer)
  }

  /** Gives back what was kept. */
  drop(): void {
    this.#budget.release(this.bytes)
    this.#stretches.clear()
  }

  #shorten(stretch: Stretch): void {
    const share = this.#mostBytes / this.#stretches.size
    while (stretch.bytes > share && stretch.batches.length > 1) {
      const oldest = stretch.batches.shift() as RecordBatch
      this.#count(stretch, -oldest.payload.length)
      stretch.from = (stretch.batches[0] as RecordBatch).baseOffset
      this.isCut = true
    }
  }

  #count(stretch: Stretch, bytes: number): void {
    stretch.bytes += bytes
    this.#budget.add(bytes)
  }
}
