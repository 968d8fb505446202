// What a consumer is doing and what hinders it, as SQL and the log show it. A trouble is said once, when it begins,
// and once when it is over; that of a server, once for all consumers.

import { MillraceError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { type Outages, outageOf } from '../pipeline/outage.ts'
import { type State, transition } from '../pipeline/state.ts'
import type { ConsumerSpec } from './consumer.ts'

/** What a pipeline tells about itself. */
export interface PipelineReport {
  /** `watching`: a topic pattern, which runs nothing itself. */
  state: State | 'watching'
  code: string | null
  detail: string | null
}

/** Milliseconds for which a quota is still said to be in force: what it lets through now and then is no end of it. */
const throttledFor = 5000

export class Condition {
  readonly #spec: ConsumerSpec
  readonly #log: Logger
  readonly #outages: Outages
  #state: State = 'starting'
  #trouble: { code: string; detail: string } | null = null
  #throttledUntil = 0

  constructor(spec: ConsumerSpec, log: Logger, outages: Outages) {
    this.#spec = spec
    this.#log = log
    this.#outages = outages
  }

  get state(): State {
    return this.#state
  }

  get report(): PipelineReport {
    const { code = null, detail = null } = this.#trouble ?? this.#slowness ?? {}
    return { state: this.#state, code, detail }
  }

  enter(state: State): void {
    if (this.#state !== 'ended') this.#state = transition(this.#state, state)
    if (state === 'ended') this.#outages.end(this.#spec.id)
  }

  /** Something is to come that is not there yet. */
  wait(state: State, reason: MillraceError): void {
    if (this.#state !== state) this.#log.warn({ err: reason, consumer: this.#spec.id }, 'waiting')
    this.#trouble = { code: reason.code, detail: reason.message }
    this.enter(state)
  }

  /** What is tried again. */
  troubled(error: unknown): void {
    const code = codeOf(error)
    const detail = error instanceof Error ? error.message : String(error)
    if (this.#trouble?.code !== code) this.#announce(error, code)
    this.#trouble = { code, detail }
    this.enter('retrying')
  }

  recover(): void {
    if (!this.#trouble) return
    this.#trouble = null
    const over = this.#outages.end(this.#spec.id)
    if (over.length > 0) this.#log.info({ over }, 'recovered')
    else this.#log.debug(this.#who, 'recovered')
    if (this.#state === 'retrying') this.enter('running')
  }

  #announce(error: unknown, code: string): void {
    const { id, cluster, topic, schema, name } = this.#spec
    const outage = outageOf(error, code, cluster, `${topic} into ${schema}.${name}`)
    if (this.#outages.begin(outage, id))
      this.#log.warn({ err: error, ...(outage.personal && this.#who) }, outage.message)
    else this.#log.debug({ code, ...this.#who }, 'trying again')
  }

  /** The broker asks for a pause. */
  throttled(milliseconds: number): void {
    this.#log.debug({ ...this.#who, milliseconds }, 'the broker asks for a pause')
    this.#throttledUntil = performance.now() + milliseconds + throttledFor
  }

  get #who(): { consumer: string; topic: string } {
    return { consumer: this.#spec.id, topic: this.#spec.topic }
  }

  get #slowness(): { code: string; detail: string } | null {
    if (performance.now() > this.#throttledUntil) return null
    const { code, message } = new MillraceError('broker-throttled', { topic: this.#spec.topic })
    return { code, detail: message }
  }
}

/** What tells one trouble from another: this project's code, or PostgreSQL's SQLSTATE. */
function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' ? code : 'internal'
}
