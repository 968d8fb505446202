// A topic is looked up before anything is sent to it, and asked about until there is an answer, or nobody waits for one any
// more: a broker that is silent holds up no end.

import type { MillraceError } from '../errors.ts'
import type { Backoff } from '../pipeline/backoff.ts'
import { pause, unlessAborted } from '../pipeline/interruption.ts'

export class TopicInquiry {
  readonly #learn: (topic: string) => Promise<void>
  readonly #onError: (error: MillraceError) => void
  readonly #backoff: Backoff
  #underWay: Promise<void> | null = null
  readonly #stopped = new AbortController()

  constructor(
    learn: (topic: string) => Promise<void>,
    onError: (error: MillraceError) => void,
    backoff: Backoff,
  ) {
    this.#learn = learn
    this.#onError = onError
    this.#backoff = backoff
  }

  get isUnderWay(): boolean {
    return this.#underWay !== null
  }

  /** The question under way, or this one. Never throws. */
  ask(topic: string): Promise<void> {
    this.#underWay ??= this.#ask(topic).finally(() => {
      this.#underWay = null
    })
    return this.#underWay
  }

  /** When no question is under way. */
  async settled(): Promise<void> {
    await this.#underWay
  }

  /** Nobody waits for an answer from here on, nothing is asked again, and no pause is waited out: it may be long. */
  stop(): void {
    this.#stopped.abort()
  }

  async #ask(topic: string): Promise<void> {
    const { signal } = this.#stopped
    while (!signal.aborted) {
      try {
        await unlessAborted(this.#learn(topic), signal)
        return
      } catch (error) {
        if (signal.aborted) return
        this.#onError(error as MillraceError)
        await pause(this.#backoff.next(), signal)
      }
    }
  }
}
