// A batch in which something cannot be loaded, in one transaction all the same: what is good goes in, what is not is
// kept or counted, and the positions move past both. While failures are few the batch is halved until each stands
// alone; when they are many the server goes through the messages one by one.

import type { ChunkPool } from '../formats/chunk-pool.ts'
import { verdictOf } from '../pipeline/error-policy.ts'
import { isSingle, split } from '../pipeline/span.ts'
import type { Session } from '../postgres/session.ts'
import { sqlstateOf } from '../postgres/sqlstate.ts'
import type { Batch, BatchCounts, RejectedMessage } from './batch.ts'
import type { ConsumerSpec } from './consumer.ts'
import { Damaged, isDamage } from './damaged.ts'
import type { DeadLetters, Reject } from './dead-letter.ts'
import { addCounts, type Exploded, explode, type Refused } from './exploded.ts'
import type { FailedMessage } from './failed-message.ts'
import { buildHeld, release } from './held-batch.ts'
import type { ConsumerPlan } from './load-plan.ts'
import { leaveRole, loadRows } from './loader.ts'
import type { MemoryAccount } from './memory-budget.ts'
import { beyond, cutInto, trimmed } from './portions.ts'
import type { Staging } from './staging.ts'
import { verdictOn } from './verdict.ts'
import { type FetchedSpan, Pace, placeOf } from './walk.ts'

export interface SalvageParts {
  session: Session
  spec: ConsumerSpec
  plan: ConsumerPlan
  /** Prepared for salvage; null where there is more than one relation, or no temporary table to be had: then there is
   *  halving alone. */
  staging: Staging | null
  chunks: ChunkPool
  budget: MemoryAccount
  /** Most of what came lately failed: do not begin with halving. */
  expectsMany: boolean
  /** Collects the rejects' messages; null: nobody keeps them. */
  letters: DeadLetters | null
}

export interface Salvaged {
  rejects: Reject[]
  counts: Map<number, BatchCounts>
  /** Transaction ids that subtransactions have taken. */
  transactionIds: number
  /** Messages were taken one by one. */
  many: boolean
}

/** Failures in one batch after which halving is given up. */
const few = 3

/** Messages that the server takes one by one while what comes next is read. */
const portionMessages = 20_000

/**
 * Loads what can be loaded of the spans, in the open transaction.
 * @throws Damaged; PostgreSQL's error where it is not about a message
 */
export async function salvage(spans: FetchedSpan[], parts: SalvageParts): Promise<Salvaged> {
  const run = new Salvage(parts)
  await run.take(spans)
  return run.outcome
}

class Salvage {
  readonly outcome: Salvaged = { rejects: [], counts: new Map(), transactionIds: 0, many: false }
  readonly #parts: SalvageParts
  readonly #pace = new Pace()
  /** How many of the rejects have been handed to the letters. */
  #kept = 0

  constructor(parts: SalvageParts) {
    this.#parts = parts
  }

  async take(spans: FetchedSpan[]): Promise<void> {
    const pieces = [spans]
    for (let piece = pieces.pop(); piece; piece = pieces.pop()) {
      if (piece.length === 0) continue
      const many = this.#parts.expectsMany || this.outcome.rejects.length >= few
      if (many && this.#parts.staging) await this.#inPortions(piece, spans, this.#parts.staging)
      else pieces.push(...(await this.#halve(piece)))
    }
    await this.#keep(spans)
  }

  /** While the server works on a portion, the next is read, and what failed before is collected. */
  async #inPortions(piece: FetchedSpan[], all: FetchedSpan[], staging: Staging): Promise<void> {
    this.outcome.many = true
    const portions = cutInto(portionMessages, piece.map(trimmed))
    let exploded: Exploded | null = await this.#explode(portions[0] ?? [], staging)
    for (const [index, portion] of portions.entries()) {
      const next = portions[index + 1]
      const reading: Promise<Exploded | null> = next ? this.#explode(next, staging) : Promise.resolve(null)
      const loading = this.#oneByOne(portion, exploded as Exploded, staging)
      const [loaded, read, kept] = await Promise.allSettled([loading, reading, this.#keep(all)])
      exploded = read.status === 'fulfilled' ? read.value : null
      const failed = [loaded, read, kept].find((one) => one.status === 'rejected')
      if (!failed) continue
      if (exploded) release(exploded, this.#parts)
      throw failed.reason
    }
  }

  /** Collects the messages of what was rejected since the last call. */
  async #keep(spans: FetchedSpan[]): Promise<void> {
    const rejects = this.outcome.rejects.slice(this.#kept)
    this.#kept = this.outcome.rejects.length
    if (rejects.length > 0) await this.#parts.letters?.collect(rejects, spans)
  }

  /** Loads the piece, or tells which parts of it are left to load, the last one first. */
  async #halve(piece: FetchedSpan[]): Promise<FetchedSpan[][]> {
    const { batch } = await buildHeld(piece.map(trimmed), this.#parts)
    const left: FetchedSpan[][] = []
    try {
      if (batch.rejected) {
        left.push(beyond(piece, batch.rejected))
        this.#refuse(batch.rejected)
      }
      if (batch.spans.length === 0) return left
      const error = await this.#attempt(() => this.#load(batch))
      if (error === null) for (const span of batch.spans) this.#count(span.partition, span)
      else if (isSingle(batch.spans)) this.#reject(batch.spans[0] as FetchedSpan, error)
      else left.push(...split<FetchedSpan>(batch.spans).reverse())
      return left
    } finally {
      release(batch, this.#parts)
    }
  }

  async #load(batch: Batch): Promise<void> {
    const { session, plan } = this.#parts
    for (const relation of plan.relationsOf(batch.segments)) {
      await loadRows(session, [relation], batch.segments)
      // what waits for COMMIT would fail everything there
      if (relation.direct) await session.script(`SET CONSTRAINTS ALL IMMEDIATE; ${leaveRole}`)
    }
  }

  /** Conversion first, which writes nothing for what fails; then all the rest at once, or message by message. */
  async #oneByOne(piece: FetchedSpan[], exploded: Exploded, staging: Staging): Promise<void> {
    const unreadable = await this.#attempt(() => staging.fillRaw(exploded.segments)).finally(() =>
      release(exploded, this.#parts),
    )
    if (unreadable) {
      // bytes that are no text in the messages' encoding
      if (isSingle(piece)) this.#reject(piece[0] as FetchedSpan, unreadable)
      else
        for (const part of split(piece))
          await this.#oneByOne(part, await this.#explode(part, staging), staging)
      return
    }
    let failed = await this.#convert(staging)
    if (await this.#attempt(() => staging.loadAll())) {
      const { failed: refused, transactionIds } = await staging.loadEach()
      this.outcome.transactionIds += transactionIds
      // there may be more of them than a call takes arguments
      failed = failed.concat(refused)
    }
    this.#rejectTags(piece, failed)
    this.#rejectTags(piece, exploded.refused)
    for (const [partition, counts] of exploded.counts) this.#count(partition, counts)
  }

  async #convert(staging: Staging): Promise<FailedMessage[]> {
    let failed: FailedMessage[] | null = null
    const inOneGo = async () => {
      failed = await staging.convertAll()
    }
    // what a type may say of a value is a message's affair here
    if (staging.convertsAll)
      await this.#attempt(inOneGo, (error) => verdictOf(sqlstateOf(error), 'conversion'))
    return failed ?? staging.convertEach()
  }

  #explode(piece: FetchedSpan[], { exploded }: Staging): Promise<Exploded> {
    const { spec, chunks, budget } = this.#parts
    return explode(piece, { topic: spec.topic, format: exploded, chunks, budget, pace: this.#pace })
  }

  /** @returns PostgreSQL's error where it is about a message: then nothing was done */
  async #attempt(work: () => Promise<void>, verdict = verdictOn): Promise<Error | null> {
    const { session } = this.#parts
    await session.script('SAVEPOINT millrace')
    this.outcome.transactionIds++
    try {
      await work()
      await session.script('RELEASE SAVEPOINT millrace')
      return null
    } catch (error) {
      if (verdict(error) !== 'message') throw error
      await session.script('ROLLBACK TO SAVEPOINT millrace; RELEASE SAVEPOINT millrace')
      return error as Error
    }
  }

  /** @throws Damaged */
  #refuse(rejected: RejectedMessage): void {
    if (isDamage(rejected.code)) throw new Damaged(rejected)
    this.#add({ ...rejected, sqlstate: null })
  }

  #reject({ partition, from }: FetchedSpan, error: Error): void {
    const sqlstate = sqlstateOf(error) ?? null
    this.#add({ partition, offset: from, code: 'message-rejected', sqlstate, reason: error.message })
  }

  #rejectTags(piece: FetchedSpan[], refused: (FailedMessage | Refused)[]): void {
    const rejected = piece.map(() => 0)
    for (const why of refused) {
      const { index, offset } = placeOf(why.tag, piece)
      const code = 'code' in why ? why.code : 'message-rejected'
      rejected[index] = (rejected[index] as number) + 1
      const { partition } = piece[index] as FetchedSpan
      this.#add({ partition, offset, code, sqlstate: why.sqlstate, reason: why.reason })
    }
    // they were counted with those that were walked
    for (const [index, messages] of rejected.entries())
      if (messages > 0)
        this.#count((piece[index] as FetchedSpan).partition, { messages: -messages, skipped: 0, bytes: 0 })
  }

  #add(reject: Reject): void {
    this.outcome.rejects.push(reject)
  }

  #count(partition: number, counts: BatchCounts): void {
    addCounts(this.outcome.counts, partition, counts)
  }
}
