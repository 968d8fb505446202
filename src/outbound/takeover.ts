// A cluster is taken over from whoever sent before. Exactly once, and where the former one sent so, Kafka knows how far it
// came: that is asked until there is an answer, and nothing is sent before.

import { MillraceError } from '../errors.ts'
import type { Producer } from '../kafka/producer.ts'
import type { Backoff } from '../pipeline/backoff.ts'
import { pause, unlessAborted } from '../pipeline/interruption.ts'
import type { ExactlyOnce } from './exactly-once.ts'
import type { Progress } from './progress.ts'

interface Parts {
  progress: Progress
  /** Of this cluster, whether it goes on with it or not. */
  exactly: ExactlyOnce
  /** Null: at least once follows. */
  producer: Producer | null
  backoff: Backoff
  onTrouble: (error: MillraceError | null) => void
}

export class Takeover {
  readonly #parts: Parts
  readonly #stopped = new AbortController()

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** @returns false: it was stopped  @throws LeaseLost, PostgreSQL's error */
  async done(): Promise<boolean> {
    const { backoff, onTrouble } = this.#parts
    const { signal } = this.#stopped
    while (!signal.aborted) {
      try {
        await unlessAborted(this.#try(), signal)
        onTrouble(null)
        return true
      } catch (error) {
        if (signal.aborted) break
        if (!isOfKafka(error)) throw error
        onTrouble(error)
        await pause(backoff.next(), signal)
      }
    }
    return false
  }

  stop(): void {
    this.#stopped.abort()
  }

  /** What was begun is given up. */
  close(): void {
    this.stop()
    this.#parts.exactly.close()
  }

  async #try(): Promise<void> {
    const { progress, exactly, producer } = this.#parts
    if (!producer) {
      if (!(await progress.isTransactional())) return
      await exactly.begin(false)
      exactly.close()
      return
    }
    await exactly.begin(true)
    await exactly.learnTopic(producer)
  }
}

/** Everything but PostgreSQL's errors, and those of the lease. */
function isOfKafka(error: unknown): error is MillraceError {
  return error instanceof MillraceError && !/^(database|server|identity|schema|pooler)-/.test(error.code)
}
