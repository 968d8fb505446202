// What waits for one partition, in order. At most one batch is under way, and what comes of it is known before the next
// one is sent: so nothing overtakes, however often a batch is sent again. A batch keeps its number as long as it is not
// known to be refused, by which the broker tells a repetition from a new one (KIP-98).

import { BatchWriter, type OutgoingRecord, type Sender } from './batch-writer.ts'
import type { Identity } from './brokers.ts'
import type { BufferShelf } from './buffer-shelf.ts'

export interface Pending {
  batch: BatchWriter
  /** From its first sending on. */
  sender: Sender | null
  /** It may have been written: nobody answered, or the answer leaves that open. */
  uncertain: boolean
}

/** Sequence numbers go round within 31 bits. */
const sequences = 2 ** 31

/** Bytes that a batch begins with; it grows. */
const firstSize = 3 * 1024

export class PartitionQueue {
  readonly topic: string
  readonly partition: number
  /** A broker's id; negative while there is none. */
  leader = -1
  /** performance.now() before which nothing is sent. */
  notBefore = 0
  underWay: Pending | null = null
  /** performance.now() since which the broker takes nothing for the partition; null: it does. */
  failingSince: number | null = null
  /** In a row: each is followed by a longer pause than the one before. */
  failures = 0
  /** It was given up before, and nothing was written since. */
  givenUp = false
  /** It is not there any more, and what it held is elsewhere. */
  abandoned = false
  #identity: Identity | null = null
  /** The producer id whose numbers do not count any more. */
  #spent: bigint | null = null
  #nextSequence = 0
  #closed: Pending[] = []
  #open: BatchWriter | null = null
  #openSince = 0

  readonly #shelf: BufferShelf | null

  constructor(topic: string, partition: number, shelf: BufferShelf | null = null) {
    this.topic = topic
    this.partition = partition
    this.#shelf = shelf
  }

  get empty(): boolean {
    return this.#open === null && this.#closed.length === 0 && this.underWay === null
  }

  /** @param now performance.now()  @returns bytes of memory that it took, and whether its batch is full now */
  append(
    record: OutgoingRecord,
    ticket: number,
    batchSize: number,
    now: number,
  ): { bytes: number; full: boolean } {
    const before = this.#open?.memory ?? 0
    if (this.#open === null) {
      this.#open = new BatchWriter(firstSize, this.#shelf)
      this.#openSince = now
    }
    this.#open.append(record, ticket)
    const { size, memory } = this.#open
    const full = size >= batchSize
    if (full) this.#close()
    return { bytes: memory - before, full }
  }

  /** performance.now() from which on something may be sent; null: there is nothing. */
  readyAt(linger: number): number | null {
    if (this.underWay) return null
    if (this.#closed.length > 0) return this.notBefore
    return this.#open ? Math.max(this.notBefore, this.#openSince + linger) : null
  }

  /** Bytes of the batch that is to be sent next. */
  get nextSize(): number {
    return (this.#closed[0]?.batch ?? this.#open)?.size ?? 0
  }

  /** Takes the next batch under way. */
  take(): Pending {
    if (this.#closed.length === 0) this.#close()
    this.underWay = this.#closed.shift() as Pending
    return this.underWay
  }

  /** Whether it has to begin anew with another identity: the broker would take its first numbers for repetitions. */
  hasSpent({ producerId }: Identity): boolean {
    return this.#identity === null && this.#spent === producerId
  }

  /** The batch under way gets its number, unless it has one. */
  number(pending: Pending, identity: Identity): Sender {
    if (this.#identity === null) {
      this.#identity = identity
      this.#nextSequence = 0
    }
    if (pending.sender === null) {
      pending.sender = { ...this.#identity, sequence: this.#nextSequence }
      this.#nextSequence = (this.#nextSequence + pending.batch.count) % sequences
    }
    return pending.sender
  }

  /** It is written. */
  done(): void {
    this.underWay = null
    this.failingSince = null
    this.failures = 0
    this.givenUp = false
  }

  /**
   * It is the next one again. What is known not to be written has no number until then.
   * @param notBefore performance.now() before which it is not sent  @param written whether it may have been
   */
  again(notBefore: number, written: boolean): void {
    this.notBefore = notBefore
    if (!this.underWay) return
    this.underWay.uncertain ||= written
    if (!this.underWay.uncertain) {
      this.takeBack()
      return
    }
    this.#closed.unshift(this.underWay)
    this.underWay = null
  }

  /** The numbers do not count any more: others, from the batch under way on. */
  forgetNumbers(): void {
    if (this.#identity) this.#spent = this.#identity.producerId
    this.#identity = null
    for (const pending of this.#closed) pending.sender = null
    if (this.underWay) this.underWay.sender = null
  }

  /** What was sent may have been written, and it is not known whether. */
  get uncertain(): boolean {
    return this.underWay?.sender != null || this.#closed.some(({ sender }) => sender !== null)
  }

  /** It was refused, and is the next one again. */
  takeBack(): void {
    this.#closed.unshift(unsent(this.#free()))
  }

  /**
   * It was refused. Two halves take its place, or, of a single record, nothing.
   * @returns bytes of memory that it holds less than before
   */
  split(): number {
    const batch = this.#free()
    if (batch.count < 2) return batch.memory
    const [first, second] = halves(batch)
    this.#closed.unshift(unsent(first), unsent(second))
    return batch.memory - first.memory - second.memory
  }

  /**
   * Takes out what may not be sent now. What was sent before and may have been written stays as it is.
   * @returns bytes of memory that it holds less than before, and the tickets of what was taken out
   */
  sift(mustWait: (record: OutgoingRecord, ticket: number) => boolean): { bytes: number; tickets: number[] } {
    const tickets: number[] = []
    let before = 0
    let after = 0
    const kept: Pending[] = []
    if (this.#open) this.#close()
    for (const pending of this.#closed) {
      before += pending.batch.memory
      const batch = pending.sender ? pending.batch : sifted(pending.batch, mustWait, tickets)
      if (batch) kept.push(batch === pending.batch ? pending : unsent(batch))
      after += batch?.memory ?? 0
      if (batch !== pending.batch) pending.batch.release()
    }
    this.#closed = kept
    return { bytes: before - after, tickets }
  }

  /** Nothing is sent to it any more. @returns its batches, the one under way first */
  abandon(): BatchWriter[] {
    this.abandoned = true
    this.#close()
    const all = this.underWay ? [this.underWay, ...this.#closed] : this.#closed
    this.underWay = null
    this.#closed = []
    return all.map(({ batch }) => batch)
  }

  /**
   * Ends what is under way. Its number is the next one's, unless it was sent before and may have been written then: the
   * broker would take another batch with that number for a repetition, and not write it.
   */
  #free(): BatchWriter {
    const { batch, sender, uncertain } = this.underWay as Pending
    this.underWay = null
    if (uncertain) this.forgetNumbers()
    else if (sender) this.#nextSequence = sender.sequence
    return batch
  }

  #close(): void {
    if (this.#open) this.#closed.push(unsent(this.#open))
    this.#open = null
  }
}

function unsent(batch: BatchWriter): Pending {
  return { batch, sender: null, uncertain: false }
}

function halves(batch: BatchWriter): [BatchWriter, BatchWriter] {
  const [first, second] = [new BatchWriter(firstSize), new BatchWriter(firstSize)]
  const middle = batch.count >> 1
  let i = 0
  for (const [record, ticket] of batch.entries()) (i++ < middle ? first : second).append(record, ticket)
  return [first, second]
}

/** @returns null when nothing is left */
function sifted(
  batch: BatchWriter,
  mustWait: (record: OutgoingRecord, ticket: number) => boolean,
  tickets: number[],
): BatchWriter | null {
  const waits = Array.from(batch.entries(), ([record, ticket]) => mustWait(record, ticket))
  if (!waits.includes(true)) return batch
  const copy = new BatchWriter(firstSize)
  let i = 0
  for (const [record, ticket] of batch.entries()) {
    if (waits[i++]) tickets.push(ticket)
    else copy.append(record, ticket)
  }
  return copy.count > 0 ? copy : null
}
