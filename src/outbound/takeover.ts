// A cluster is taken over from whoever sent before. Exactly once, and where the former one sent so, Kafka knows how far it
// came: that is asked until there is an answer, and nothing is sent before.

import { setTimeout } from 'node:timers/promises'
import { MillraceError } from '../errors.ts'
import type { Producer } from '../kafka/producer.ts'
import type { Backoff } from '../pipeline/backoff.ts'
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
  readonly #stopped = Promise.withResolvers<void>()
  #stopping = false

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** @returns false: it was stopped  @throws LeaseLost, PostgreSQL's error */
  async done(): Promise<boolean> {
    const { backoff, onTrouble } = this.#parts
    while (!this.#stopping) {
      try {
        const attempt = this.#try()
        attempt.catch(() => {})
        await Promise.race([attempt, this.#stopped.promise])
        if (this.#stopping) break
        onTrouble(null)
        return true
      } catch (error) {
        if (this.#stopping) break
        if (!isOfKafka(error)) throw error
        onTrouble(error)
        await Promise.race([setTimeout(backoff.next()), this.#stopped.promise])
      }
    }
    return false
  }

  stop(): void {
    this.#stopping = true
    this.#stopped.resolve()
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
