// A pipeline is one consumer, in one version of its configuration, on this daemon: one membership of the consumer group
// after another, until it is stopped or has failed. It owns nothing that outlives it: a new version is a new pipeline.

import { setTimeout } from 'node:timers/promises'
import { MillraceError } from '../errors.ts'
import { Backoff } from '../pipeline/backoff.ts'
import type { Outages } from '../pipeline/outage.ts'
import type { ClaimedPartition } from './claim.ts'
import { Condition, type PipelineReport } from './condition.ts'
import type { ConsumerSpec } from './consumer.ts'
import { recordFailure } from './failure.ts'
import type { Watermarks } from './fetch-loop.ts'
import { type ConsumerParts, Membership } from './membership.ts'
import { Rejections } from './rejections.ts'
import type { Failure } from './stream-end.ts'
import { Changed } from './topic-search.ts'

export interface PipelineParts extends ConsumerParts {
  /** What all pipelines of the daemon know to be away. */
  outages: Outages
}

/** Failures that stay until somebody acts. */
const finalCodes: readonly string[] = [
  'topic-recreated',
  'cluster-changed',
  'relation-missing',
  'target-refused',
]

export class Pipeline {
  readonly #parts: PipelineParts
  readonly #stop = new AbortController()
  readonly #backoff: Backoff
  readonly #watermarks = new Map<number, Watermarks>()
  readonly #condition: Condition
  readonly #membership: Membership
  #loadedMessages = 0

  constructor(parts: PipelineParts) {
    this.#parts = parts
    this.#condition = new Condition(parts.spec, parts.log, parts.outages)
    this.#backoff = new Backoff(parts.settings.retry.min, parts.settings.retry.max)
    const rejections = new Rejections(parts)
    this.#membership = new Membership({
      ...parts,
      condition: this.#condition,
      onLoaded: (spans) => {
        for (const span of spans) this.#loadedMessages += span.messages
      },
      onRejected: (messages, transactionIds) => rejections.add(messages, transactionIds),
      onWatermarks: (marks) => this.#watermarks.set(marks.partition, marks),
      onRetry: (error) => this.#troubled(error),
      onReading: () => this.#backoff.reset(),
      onFailed: (failure) => this.#fail(failure),
      signal: this.#stop.signal,
    })
  }

  get spec(): ConsumerSpec {
    return this.#parts.spec
  }

  get report(): PipelineReport {
    return this.#condition.report
  }

  /** Messages loaded since it started. */
  get loadedMessages(): number {
    return this.#loadedMessages
  }

  /** What Fetch last told of the partitions that are read here. */
  get watermarks(): Iterable<Watermarks> {
    return this.#watermarks.values()
  }

  watermarkOf(partition: number): Watermarks | undefined {
    return this.#watermarks.get(partition)
  }

  /** Where each partition stands that is read here now. */
  get positions(): ReadonlyMap<number, ClaimedPartition> {
    return this.#membership.positions
  }

  /** Ends it after the batches in hand; `run` resolves then. */
  stop(): void {
    this.#stop.abort()
  }

  /** Runs until stopped or failed; never throws. */
  async run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        await this.#membership.run()
      } catch (error) {
        if (this.#stop.signal.aborted || error instanceof Changed) continue
        const final = error instanceof MillraceError && finalCodes.includes(error.code)
        if (final) await this.#fail({ error, partition: null, offset: null })
        else await this.#waitToRetry(error)
      }
    }
    this.#condition.enter('ended')
  }

  /** Kafka's own tools see the positions a moment later; never throws. */
  mirrorOffsets(): Promise<void> {
    return this.#membership.mirrorOffsets()
  }

  /** Stops the consumer, everywhere and until somebody begins it again. */
  async #fail(failure: Failure): Promise<void> {
    const { spec, shared, log } = this.#parts
    const { error, partition, offset } = failure
    log.error(
      { err: error, consumer: spec.id, topic: spec.topic, partition, offset: offset?.toString() },
      'stopped',
    )
    this.#parts.meter.failed(error)
    while (!this.#stop.signal.aborted) {
      try {
        await shared.use((session) => recordFailure(session, spec, failure))
        this.stop()
      } catch (cause) {
        await this.#waitToRetry(cause)
      }
    }
  }

  async #waitToRetry(error: unknown): Promise<void> {
    this.#troubled(error)
    await setTimeout(this.#backoff.next(), undefined, { signal: this.#stop.signal }).catch(() => {})
  }

  #troubled(error: unknown): void {
    if (this.#stop.signal.aborted) return
    this.#parts.meter.retried(error)
    this.#condition.troubled(error)
  }
}
