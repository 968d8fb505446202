// A test waits for a condition with a deadline, never for a time.
import { setTimeout as delay } from 'node:timers/promises'

type Truthy<T> = Exclude<T, null | undefined | false | 0 | ''>

/**
 * Asks again and again until the answer is truthy and returns it. An error of `condition` counts as not yet
 * and becomes the cause of the error that the deadline brings.
 */
export async function eventually<T>(
  what: string,
  condition: () => T | Promise<T>,
  options: { /** ms */ deadline?: number } = {},
): Promise<Truthy<T>> {
  const limit = options.deadline ?? 20_000
  const deadline = performance.now() + limit
  let pause = 5
  let last: unknown
  for (;;) {
    try {
      const answer = await condition()
      if (answer) return answer as Truthy<T>
      last = undefined
    } catch (error) {
      last = error
    }
    if (performance.now() > deadline) {
      const because = last instanceof Error ? `: ${last.message}` : ''
      throw new Error(`${what}: not within ${limit} ms${because}`, { cause: last })
    }
    await delay(pause)
    pause = Math.min(pause * 1.5, 100)
  }
}
