// Counts what one consumer does in this daemon. It outlives the consumer's pipelines: a new version of a consumer goes
// on with the counts of the one before.

import type { Histogram } from '../console/histogram.ts'
import type { ConsumerCounts } from '../console/view.ts'
import { MillraceError } from '../errors.ts'
import type { LoadedCounts, Meter } from '../inbound/meter.ts'
import { sqlstateOf } from '../postgres/sqlstate.ts'

export interface BatchHistograms {
  messages: Histogram
  bytes: Histogram
  seconds: Histogram
}

/** What has neither a code nor an SQLSTATE: a connection that broke, a leader that moved. */
const otherTrouble = 'other'

export class ConsumerMeter implements Meter, ConsumerCounts {
  messages = 0
  skipped = 0
  deadLetters = 0
  transactionIds = 0
  bytes = 0
  batches = 0
  loadSeconds = 0
  lastLoad: number | null = null
  fetches = 0
  fetchedBytes = 0
  throttleSeconds = 0
  fetchConnections = 0
  readonly #histograms: BatchHistograms
  readonly #retries = new Map<string, { code: string; sqlstateClass: string; count: number }>()
  readonly #failures = new Map<string, { code: string; count: number }>()

  /** @param histograms of all consumers together */
  constructor(histograms: BatchHistograms) {
    this.#histograms = histograms
  }

  get retries(): Iterable<{ code: string; sqlstateClass: string; count: number }> {
    return this.#retries.values()
  }

  get failures(): Iterable<{ code: string; count: number }> {
    return this.#failures.values()
  }

  loaded(spans: Iterable<LoadedCounts>, seconds: number): void {
    let messages = 0
    let bytes = 0
    for (const span of spans) {
      messages += span.messages
      bytes += span.bytes
      this.skipped += span.skipped
    }
    this.messages += messages
    this.bytes += bytes
    this.batches++
    this.loadSeconds += seconds
    this.lastLoad = Date.now() / 1000
    this.#histograms.messages.observe(messages)
    this.#histograms.bytes.observe(bytes)
    this.#histograms.seconds.observe(seconds)
  }

  rejected(messages: number, kept: boolean, transactionIds: number): void {
    this.transactionIds += transactionIds
    if (kept) this.deadLetters += messages
    else this.skipped += messages
  }

  retried(error: unknown): void {
    const sqlstate = error instanceof MillraceError ? undefined : sqlstateOf(error)
    const sqlstateClass = sqlstate?.slice(0, 2) ?? ''
    const code = error instanceof MillraceError ? error.code : sqlstate ? '' : otherTrouble
    const key = `${code} ${sqlstateClass}`
    const found = this.#retries.get(key)
    if (found) found.count++
    else this.#retries.set(key, { code, sqlstateClass, count: 1 })
  }

  failed({ code }: MillraceError): void {
    const found = this.#failures.get(code)
    if (found) found.count++
    else this.#failures.set(code, { code, count: 1 })
  }

  fetched(bytes: number, throttle: number): void {
    this.fetches++
    this.fetchedBytes += bytes
    this.throttleSeconds += throttle / 1000
  }

  connected(): void {
    this.fetchConnections++
  }
}
