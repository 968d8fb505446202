// The pipelines that run: for each consumer one at the most, in one version. What is not wanted any more is told to end,
// and only when it has ended the next version begins.

import type { Config } from '../config/config.ts'
import type { SharedParts } from '../inbound/assignment.ts'
import type { ConsumerSpec } from '../inbound/consumer.ts'
import { Pipeline } from '../inbound/pipeline.ts'
import type { ClusterAccess } from '../kafka/access.ts'
import type { Logger } from '../log.ts'
import type { Outages } from '../pipeline/outage.ts'
import type { DesiredState } from './desired.ts'
import type { Reports } from './reports.ts'
import type { Vitals } from './vitals.ts'
import type { Whereabouts } from './whereabouts.ts'

export interface PipelinesParts {
  config: Config
  daemonId: string
  shared: SharedParts
  whereabouts: Whereabouts
  vitals: Vitals
  reports: Reports
  outages: Outages
  log: Logger
  /** A pipeline has ended: another version may be waiting for that. */
  onEnd: () => void
}

interface Running {
  pipeline: Pipeline
  /** Of the relation, when it began. */
  shape: string | undefined
  brokers: string
  ended: Promise<void>
}

export class Pipelines {
  readonly #parts: PipelinesParts
  readonly #running = new Map<string, Running>()

  constructor(parts: PipelinesParts) {
    this.#parts = parts
  }

  get all(): Pipeline[] {
    return [...this.#running.values()].map(({ pipeline }) => pipeline)
  }

  /** What runs for a consumer now. */
  of(consumer: string): Pipeline | undefined {
    return this.#running.get(consumer)?.pipeline
  }

  /** @param accessOf null while the cluster has no broker */
  keep(
    desired: DesiredState,
    installation: string,
    accessOf: (cluster: string) => ClusterAccess | null,
  ): void {
    const wanted = new Map(desired.consumers.map((spec) => [spec.id, spec]))
    for (const [id, running] of this.#running) {
      if (!this.#isWanted(running, wanted.get(id), desired)) running.pipeline.stop()
    }
    for (const spec of desired.consumers) {
      const access = accessOf(spec.cluster)
      if (access && !this.#running.has(spec.id))
        this.#start(spec, access, installation, desired.shapes.get(spec.id))
    }
  }

  /** Tells all of them to end after the batches in hand, and waits until they have. */
  async end(): Promise<void> {
    const running = [...this.#running.values()]
    for (const { pipeline } of running) pipeline.stop()
    await Promise.all(running.map(({ ended }) => ended))
  }

  #isWanted(running: Running, spec: ConsumerSpec | undefined, desired: DesiredState): boolean {
    if (!spec || spec.version !== running.pipeline.spec.version) return false
    if (desired.brokers.get(spec.cluster)?.join(' ') !== running.brokers) return false
    const shape = desired.shapes.get(spec.id) ?? running.shape
    if (shape === running.shape) return true
    this.#parts.log.info({ consumer: spec.id, topic: spec.topic }, 'the relation was altered: beginning anew')
    return false
  }

  #start(spec: ConsumerSpec, access: ClusterAccess, installation: string, shape: string | undefined): void {
    const { config, daemonId, shared, whereabouts, vitals, outages, log } = this.#parts
    const { group, retry, kafka, daemon } = config
    const pipeline = new Pipeline({
      ...shared,
      spec,
      access,
      groupId: spec.groupId ?? `millrace.${installation}.${spec.id}`,
      instance: whereabouts.instance,
      daemonId,
      settings: {
        group: { session: group.sessionTimeout, heartbeat: group.heartbeatInterval },
        retry,
        metadataInterval: kafka.metadataInterval,
        takeoverGrace: daemon.takeoverGrace,
      },
      meter: vitals.meterOf(spec),
      outages,
      log,
    })
    const ended = pipeline.run().then(() => this.#forget(pipeline))
    this.#running.set(spec.id, { pipeline, shape, brokers: access.brokers.join(' '), ended })
  }

  async #forget(pipeline: Pipeline): Promise<void> {
    this.#running.delete(pipeline.spec.id)
    await this.#parts.reports.forget(pipeline).catch(() => {})
    this.#parts.onEnd()
  }
}
