// A record batch that cannot be read: no message of it is known, so none can be kept, and only a person can pass over it.

import { MillraceError } from '../errors.ts'
import type { RejectedMessage } from './batch.ts'
import type { FetchedSpan } from './walk.ts'

export class Damaged extends Error {
  readonly rejected: RejectedMessage

  constructor(rejected: RejectedMessage) {
    super(rejected.reason)
    this.rejected = rejected
  }
}

/** Codes of what is wrong with a record batch rather than with a message. */
const damages: readonly string[] = [
  'record-batch-corrupt',
  'record-batch-unsupported',
  'compression-unsupported',
  'message-too-large',
]

export function isDamage(code: string): boolean {
  return damages.includes(code)
}

/** @param work that reads record batches of the span  @throws Damaged, and what else the work throws */
export async function undamaged<T>(span: FetchedSpan, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof MillraceError) || !isDamage(error.code)) throw error
    const offset = (error.facts.offset as bigint | undefined) ?? span.from
    throw new Damaged({ partition: span.partition, offset, code: error.code, reason: error.message })
  }
}
