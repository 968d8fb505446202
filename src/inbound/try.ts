// A try loads the last messages of a topic as a consumer would, in a transaction that is rolled back: no position moves
// and no row stays. What does not take part in transactions stays (numbers that sequences gave out, what a trigger did
// outside the database).

import { MillraceError } from '../errors.ts'
import type { ChunkPool } from '../formats/chunk-pool.ts'
import type { ClusterAccess } from '../kafka/access.ts'
import type { ResponsePool } from '../kafka/response-pool.ts'
import type { SharedSession } from '../postgres/shared-session.ts'
import { type ConsumerSpec, consumerColumns } from './consumer.ts'
import { Damaged } from './damaged.ts'
import { type ConsumerPlan, describePlan } from './load-plan.ts'
import type { MemoryAccount } from './memory-budget.ts'
import { mostReasons, type Reason } from './owned-request.ts'
import { type Patience, patiently } from './patience.ts'
import { reasonFor } from './replay.ts'
import { salvage } from './salvage.ts'
import { checkPlan, readySession } from './salvage-ready.ts'
import { endOf, Rejected } from './stream-end.ts'
import { readTail, type Tail } from './tail.ts'
import type { FetchedSpan } from './walk.ts'

export interface TryParts extends Patience {
  /** A whole row of millrace.consumer, and how many messages. */
  arguments: { messages: number }
  /** Null while the cluster has no broker. */
  accessOf: (cluster: string) => ClusterAccess | null
  groupId: string
  shared: SharedSession
  chunks: ChunkPool
  budget: MemoryAccount
  responses: ResponsePool
}

export interface TryResult {
  /** That were read. */
  messages: number
  loaded: number
  failed: number
  /** Tombstones and empty messages that were passed over. */
  skipped: number
  /** The first of the failures. */
  reasons: Reason[]
}

/** Milliseconds in which what passes by itself has to pass: somebody waits. */
const patience = 20_000

/** Messages that are loaded at once. */
const pieceSize = 1000

/** @throws MillraceError, RequestLost, the signal's AbortError */
export async function tryLoad(parts: TryParts): Promise<TryResult> {
  const until = performance.now() + patience
  let topic = ''
  try {
    const spec = await patiently(parts, () => readSpec(parts), until)
    topic = spec.topic
    const plan = await patiently(parts, () => describePlan(parts.shared, spec), until)
    const access = parts.accessOf(spec.cluster)
    if (!access) throw new MillraceError('no-broker', { reason: `cluster ${spec.cluster} has no broker` })
    const tail = await patiently(
      parts,
      () => readTail(topic, parts.arguments.messages, { ...parts, access }),
      until,
    )
    try {
      return await patiently(parts, () => loadAndForget(parts, spec, plan, tail), until)
    } finally {
      parts.budget.release(tail.bytes)
    }
  } catch (error) {
    if (parts.signal.aborted) throw error
    const end = endOf(error instanceof Damaged ? new Rejected(error.rejected) : error, topic, false)
    throw end.reason === 'failed' ? end.failure.error : error
  }
}

async function readSpec({ shared, arguments: asked }: TryParts): Promise<ConsumerSpec> {
  const [spec] = await shared.query<ConsumerSpec & Record<string, unknown>>(
    `SELECT ${consumerColumns} FROM pg_catalog.jsonb_populate_record(NULL::millrace.consumer, $1::jsonb) AS c`,
    [JSON.stringify(asked)],
  )
  return spec as ConsumerSpec
}

async function loadAndForget(
  { request, ...parts }: TryParts,
  spec: ConsumerSpec,
  plan: ConsumerPlan,
  tail: Tail,
): Promise<TryResult> {
  return request.withSession(async (session) => {
    const staging = await readySession(session, plan)
    const messages = tail.partitions.reduce((sum, { offsets }) => sum + offsets.length, 0)
    const result: TryResult = { messages, loaded: 0, failed: 0, skipped: 0, reasons: [] }
    let expectsMany = false
    try {
      await session.script('BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE')
      await checkPlan(session, plan)
      for (const piece of piecesOf(tail)) {
        parts.signal.throwIfAborted()
        const { rejects, counts, many } = await salvage([piece], {
          ...parts,
          session,
          spec,
          plan,
          staging,
          letters: null,
          expectsMany,
        })
        expectsMany = many && rejects.length > 0
        for (const { messages, skipped } of counts.values()) {
          result.loaded += messages
          result.skipped += skipped
        }
        result.failed += rejects.length
        result.reasons.push(...rejects.slice(0, mostReasons - result.reasons.length).map(reasonFor))
        await request.progress(messages, result.loaded + result.skipped, result.failed)
      }
      return result
    } finally {
      await session.rollback()
    }
  })
}

function* piecesOf(tail: Tail): Generator<FetchedSpan> {
  for (const { span, offsets } of tail.partitions) {
    for (let at = 0; at < offsets.length; at += pieceSize) {
      const [from, to] = [offsets[at] as bigint, offsets[at + pieceSize] ?? span.to]
      const batches = span.batches.filter((batch) => batch.lastOffset >= from && batch.baseOffset < to)
      yield { ...span, from, to, batches }
    }
  }
}
