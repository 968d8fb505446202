// One chunk of a snapshot, one transaction: what the writer wrote into the outbox and how far the snapshot is are committed
// together. So one that dies anywhere leaves the rows of a chunk and the progress past it, or neither.

import { MillraceError } from '../errors.ts'
import { failpoint } from '../failpoint.ts'
import { literal } from '../postgres/literal.ts'
import { DefersCode } from '../postgres/owner-code.ts'
import type { Session } from '../postgres/session.ts'
import type { SharedSession } from '../postgres/shared-session.ts'
import { sqlstateOf } from '../postgres/sqlstate.ts'
import {
  type Asked,
  callWriter,
  checkWriter,
  inspect,
  type Owner,
  prepareWriter,
  WriterAnswer,
} from './snapshot-writer.ts'

/** What was taken to be written: a part of a range of blocks of one table. */
export interface Chunk extends Asked {
  snapshot: string
  /** The range is known by its first block. */
  range: string
}

export type Outcome =
  | { state: 'written' }
  /** Nothing to do now; milliseconds until there may be, null: nothing is open. */
  | { state: 'idle'; pause: number | null }
  /** It is tried again; `error` where somebody may have to see to it. */
  | { state: 'failed'; chunk: Chunk; error: MillraceError | null }

/** The table was rewritten since the chunk was taken. */
const rewritten = 'ML003'

/**
 * @param mostBytes of the outbox: above that nothing is written
 * @throws what has nothing to do with the chunk, such as a lost connection; nothing was written then
 */
export async function writeChunk(
  session: Session,
  shared: SharedSession,
  owner: Owner,
  mostBytes: number,
): Promise<Outcome> {
  await session.cleanFor(owner.name === session.user ? null : owner.name)
  const unprepared = await prepareWriter(session, owner).then(
    () => null,
    (error: unknown) => error,
  )
  let chunk: Chunk | null = null
  try {
    const taken = await take(session, owner, mostBytes)
    if ('pause' in taken) return { state: 'idle', pause: taken.pause }
    chunk = taken.chunk
    if (unprepared) throw unprepared
    checkWriter(session, owner, taken.found)
    failpoint('snapshot.before-write')
    const { written, skipped, took } = await callWriter(session, owner, chunk)
    failpoint('snapshot.after-write')
    await session.script(
      `SELECT millrace.record_chunk(${chunk.snapshot}, ${chunk.relation}::oid, ${chunk.range}, ${chunk.endBlock},
         pg_catalog.cardinality(${literal(chunk.again)}::tid[]), ${written}, ${literal(skipped)}::tid[], ${took});
       COMMIT`,
    )
    failpoint('snapshot.after-commit')
    return { state: 'written' }
  } catch (error) {
    await session.rollback()
    if (!chunk || !ofChunk(error)) throw error
    return fail(shared, chunk, error)
  }
}

/**
 * A lock of a table is waited for less long than PostgreSQL waits before it looks for a deadlock: whoever ends a snapshot with
 * the table locked waits for this, and is not to be what is ended.
 */
const limits = "SET LOCAL lock_timeout = '400ms'; SET LOCAL statement_timeout = '60s'"

interface Taken {
  chunk: Chunk
  found: { version: string | null } | undefined
}

async function take(
  session: Session,
  owner: Owner,
  mostBytes: number,
): Promise<Taken | { pause: number | null }> {
  const results = await session.scripts(
    `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; ${limits};
     ${inspect(owner)};
     SELECT snapshot_id AS snapshot, relation::oid::text AS relation, range_block AS range, writer, first_block, end_block,
            again::text AS again, pg_catalog.ceil(extract(epoch FROM pause) * 1000)::integer AS pause
       FROM millrace.take_chunk(${owner.oid}::oid, ${mostBytes})`,
  )
  const [found] = results.at(-2) as { version: string | null }[]
  const [row] = results.at(-1) as TakenRow[]
  if (row && row.snapshot !== null) {
    const { snapshot, relation, range, writer, first_block, end_block, again } = row
    const chunk = { snapshot, relation, range, writer, firstBlock: first_block, endBlock: end_block, again }
    return { chunk, found }
  }
  await session.script(`COMMIT; SELECT millrace.settle_snapshots(${owner.oid}::oid)`)
  return { pause: row?.pause ?? null }
}

interface TakenRow {
  snapshot: string
  relation: string
  range: string
  writer: string
  first_block: string
  end_block: string
  again: string
  pause: number | null
}

/** Whether it says something about this chunk alone, and the server is there. */
function ofChunk(error: unknown): boolean {
  if (error instanceof DefersCode || error instanceof WriterAnswer) return true
  const state = sqlstateOf(error)
  return state !== undefined && !/^(57P|08)/.test(state)
}

async function fail(shared: SharedSession, chunk: Chunk, error: unknown): Promise<Outcome> {
  const state = sqlstateOf(error)
  const tooLong = state === '57014'
  const waitsFor = state === '55P03' ? 'a lock on the table' : null
  const passes = waitsFor !== null || state === rewritten || state?.startsWith('40')
  const problem = passes ? null : problemOf(error)
  await shared.query('SELECT millrace.fail_chunk($1, $2::oid, $3, $4, $5, $6, $7)', [
    chunk.snapshot,
    chunk.relation,
    chunk.range,
    waitsFor,
    problem?.code ?? null,
    problem?.message ?? null,
    tooLong,
  ])
  return { state: 'failed', chunk, error: problem }
}

function problemOf(error: unknown): MillraceError {
  if (error instanceof DefersCode) return new MillraceError('relation-defers-code', { reason: error.message })
  return new MillraceError('snapshot-failed', {
    reason: (error as Error).message,
    sqlstate: sqlstateOf(error),
    cause: error,
  })
}
