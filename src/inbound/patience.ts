// A request waits out what may pass by itself, and says what that is meanwhile.

import { setTimeout } from 'node:timers/promises'
import { MillraceError, reasonOf } from '../errors.ts'
import type { Logger } from '../log.ts'
import { Backoff } from '../pipeline/backoff.ts'
import { DefersCode } from '../postgres/owner-code.ts'
import { sqlstateOf } from '../postgres/sqlstate.ts'
import { Damaged } from './damaged.ts'
import { connectionCodes } from './delivery.ts'
import { TargetChanged } from './loader.ts'
import { type OwnedRequest, RequestLost } from './owned-request.ts'
import { verdictOn } from './verdict.ts'

export interface Patience {
  request: OwnedRequest
  /** Milliseconds. */
  retry: { min: number; max: number }
  log: Logger
  signal: AbortSignal
}

/** This project's errors that pass by themselves; the end of a log may be removed while it is looked at. */
const passing: readonly string[] = [...connectionCodes, 'kafka-unreachable', 'offset-out-of-range']

/** Only a person can help. */
export function isFinal(error: unknown): boolean {
  if (error instanceof TargetChanged) return false
  if (error instanceof DefersCode || error instanceof Damaged) return true
  if (error instanceof MillraceError) return !passing.includes(error.code)
  return verdictOn(error) !== 'retry'
}

/**
 * Does it until it is done.
 * @param until of performance.now(): from then on nothing is tried again
 * @throws what is final, what was the last failure, RequestLost, the signal's AbortError
 */
export async function patiently<T>(
  { retry, request, log, signal }: Patience,
  work: () => Promise<T>,
  until = Infinity,
): Promise<T> {
  const backoff = new Backoff(retry.min, retry.max)
  for (;;) {
    try {
      const result = await work()
      if (backoff.attempts > 0) await request.note(null).catch(() => {})
      return result
    } catch (error) {
      if (signal.aborted || error instanceof RequestLost) throw error
      if (isFinal(error) || performance.now() >= until) throw error
      if (backoff.attempts === 0) log.warn({ err: error, request: request.id }, 'trying again')
      await request.note({ code: codeOf(error), message: reasonOf(error) }).catch(() => {})
      await setTimeout(backoff.next(), undefined, { signal })
    }
  }
}

function codeOf(error: unknown): string {
  return error instanceof MillraceError ? error.code : (sqlstateOf(error) ?? 'internal')
}
