// How a stream ends, and what is made of an error that ends one: by order, because the stored position is not its
// own any more, or with a failure for a person to see.

import { MillraceError } from '../errors.ts'
import { DefersCode } from '../postgres/owner-code.ts'
import { sqlstateOf } from '../postgres/sqlstate.ts'
import type { RejectedMessage } from './batch.ts'
import { PositionLost, TargetChanged } from './loader.ts'

/** Stands in the database, and stops the consumer until it is begun again. */
export interface Failure {
  error: MillraceError
  /** Where, if it is about one message. */
  partition: number | null
  offset: bigint | null
}

export type StreamEnd =
  | { reason: 'stopped' }
  | { reason: 'lost' }
  | { reason: 'topic-gone' }
  | { reason: 'target-changed' }
  | { reason: 'failed'; failure: Failure }

/** A message that cannot be loaded; everything before it is committed. */
export class Rejected extends Error {
  readonly rejected: RejectedMessage

  /** @param cause PostgreSQL's error, where it was PostgreSQL that refused it */
  constructor(message: RejectedMessage, cause?: unknown) {
    super(message.reason, { cause })
    this.rejected = message
  }
}

/** @param aborted whether the stream was told to stop */
export function endOf(error: unknown, topic: string, aborted: boolean): StreamEnd {
  if (aborted && (error as Error).name === 'AbortError') return { reason: 'stopped' }
  if (error instanceof PositionLost) return { reason: 'lost' }
  if (error instanceof TargetChanged) return { reason: 'target-changed' }
  return { reason: 'failed', failure: failureOf(error, topic) }
}

function failureOf(error: unknown, topic: string): Failure {
  if (error instanceof Rejected) {
    const { code, ...place } = error.rejected
    const facts = { topic, ...place, sqlstate: sqlstateOf(error.cause), cause: error.cause }
    return { error: new MillraceError(code, facts), partition: place.partition, offset: place.offset }
  }
  if (error instanceof MillraceError) {
    const { partition = null, offset = null } = error.facts as { partition?: number; offset?: bigint }
    return { error: error.with({ topic }), partition, offset }
  }
  return { error: refusal(error, topic), partition: null, offset: null }
}

/** What concerns no message but the relation, or this program. */
function refusal(error: unknown, topic: string): MillraceError {
  const reason = error instanceof Error ? error.message : String(error)
  if (error instanceof DefersCode) return new MillraceError('relation-defers-code', { topic, reason })
  const sqlstate = sqlstateOf(error)
  const code = sqlstate === undefinedTable ? 'relation-missing' : sqlstate ? 'target-refused' : 'internal'
  return new MillraceError(code, { topic, reason, sqlstate, cause: error })
}

const undefinedTable = '42P01'
