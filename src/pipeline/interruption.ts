// Who is told to stop waits no longer: neither for an answer that may never come, nor for the end of a pause.

import { setTimeout } from 'node:timers/promises'

/**
 * What the work gives. Once nobody waits for it, it goes on by itself, and what comes of it is nobody's.
 * @throws what the work throws, the signal's reason
 */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const end = () => reject(signal.reason)
    if (signal.aborted) end()
    else signal.addEventListener('abort', end, { once: true })
    void work.then(resolve, reject).finally(() => signal.removeEventListener('abort', end))
  })
}

/** Never throws. @param milliseconds that it takes, unless the signal ends it before */
export async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  await setTimeout(milliseconds, undefined, { signal }).catch(() => {})
}
