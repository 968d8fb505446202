// The first SIGTERM or SIGINT asks the daemon to stop and is obeyed within the shutdown timeout; the second one
// is obeyed at once. Nothing here is needed for exactness: any way to die is as good to the data.

import { constants } from 'node:os'
import { MillraceError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { exitCodeOf, exitCodeOfSignal, exitCodes } from './exit-codes.ts'

export interface Running {
  stop(): Promise<void>
  /** Settles when the daemon has ended; rejects when nothing but an end was left. */
  done: Promise<void>
}

const stopSignals = ['SIGTERM', 'SIGINT'] as const
type StopSignal = (typeof stopSignals)[number]

/**
 * @param timeout milliseconds that a stop may take
 * @returns the exit code
 */
export async function serve(start: () => Promise<Running>, timeout: number, log: Logger): Promise<number> {
  dieOfDefects(log)
  const asked = stopRequest(log)
  try {
    const daemon = await Promise.race([start(), asked])
    if (typeof daemon === 'string') {
      log.info({ signal: daemon }, 'stopped before it had started')
      return exitCodes.ok
    }
    const signal = await Promise.race([daemon.done, asked])
    if (signal === undefined) return exitCodes.ok
    log.info({ signal }, 'stopping')
    await within(timeout, Promise.all([daemon.stop(), daemon.done]))
    log.info('stopped')
    return exitCodes.ok
  } catch (error) {
    log.fatal({ err: error }, 'the daemon cannot go on')
    return exitCodeOf(error)
  }
}

/** Milliseconds: one signal sent to a process and to its group (as timeout(1) does) arrives twice. */
const echo = 50

/** Resolves with the first signal. */
function stopRequest(log: Logger): Promise<StopSignal> {
  return new Promise((resolve) => {
    let askedAt: number | null = null
    for (const signal of stopSignals) {
      process.on(signal, () => {
        if (askedAt === null) {
          askedAt = performance.now()
          resolve(signal)
        } else if (performance.now() - askedAt > echo) {
          log.warn({ signal }, 'a second signal: exiting at once')
          process.exit(exitCodeOfSignal(constants.signals[signal]))
        }
      })
    }
  })
}

async function within(timeout: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new MillraceError('shutdown-timeout', { timeout })), timeout)
  })
  await Promise.race([work, late]).finally(() => clearTimeout(timer))
}

/** Node's own report of an uncaught error would print everything that hangs on it, rows and URLs included. */
function dieOfDefects(log: Logger): void {
  const die = (cause: unknown): void => {
    log.fatal({ err: new MillraceError('internal', { cause }) }, 'the daemon cannot go on')
    process.exit(exitCodes.failed)
  }
  process.on('uncaughtException', die)
  process.on('unhandledRejection', die)
}
