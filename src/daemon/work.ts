// Everything that runs because SQL wants it. One look at the database brings it in line with what is wanted now; it
// waits for nothing that takes long, so that the next look is not held up.

import type { Config } from '../config/config.ts'
import type { SendingView } from '../console/view.ts'
import type { Pipeline } from '../inbound/pipeline.ts'
import type { ClusterAccess } from '../kafka/access.ts'
import { Relay } from '../outbound/relay.ts'
import { Snapshots } from '../outbound/snapshots.ts'
import type { Session } from '../postgres/session.ts'
import { clusterAccess } from './cluster-access.ts'
import { readDesiredState } from './desired.ts'
import { Housekeeping } from './housekeeping.ts'
import { Pipelines, type PipelinesParts } from './pipelines.ts'
import type { Reporter } from './reports.ts'
import { Requests } from './requests.ts'
import { SendingVitals } from './sending-vitals.ts'
import { SnapshotCount } from './snapshot-count.ts'
import { TopicPatterns } from './topic-patterns.ts'
import type { Vitals } from './vitals.ts'
import { Watcher } from './watcher.ts'

export interface WorkParts extends PipelinesParts {
  openRelay: () => Promise<Session>
}

export class Work {
  readonly #config: Config
  readonly #vitals: Vitals
  readonly #pipelines: Pipelines
  readonly #patterns: TopicPatterns
  readonly #housekeeping: Housekeeping
  readonly #requests: Requests
  readonly #watcher: Watcher
  readonly #relay: Relay
  readonly #snapshots: Snapshots
  readonly #sending: SendingVitals
  readonly #snapshotCount: SnapshotCount
  #brokers = new Map<string, string[]>()
  #burying = new Set<string>()

  constructor(parts: WorkParts) {
    const { config, daemonId, shared, vitals, reports, outages, log, onEnd } = parts
    const accessOf = (cluster: string) => this.#accessOf(cluster)
    this.#config = config
    this.#vitals = vitals
    this.#pipelines = new Pipelines(parts)
    this.#housekeeping = new Housekeeping(shared.sessions, log)
    this.#patterns = new TopicPatterns({
      runner: shared.shared,
      log,
      interval: config.kafka.metadataInterval,
      accessOf,
      forget: (report) => reports.forget(report),
    })
    this.#requests = new Requests({ ...shared, daemonId, retry: config.retry, log, accessOf, onEnd })
    const watched = config.http.listen !== null
    this.#sending = new SendingVitals({ sessions: shared.sessions, watched, log })
    this.#snapshotCount = new SnapshotCount({ watched, log })
    this.#relay = new Relay({
      daemonId,
      openSession: parts.openRelay,
      shared: shared.shared,
      sessions: shared.sessions,
      accessOf,
      settings: {
        ...config.outbound,
        buffer: Math.floor(config.daemon.memoryBudget / 4),
        retry: config.retry,
        metadataInterval: config.kafka.metadataInterval,
      },
      leaseTimeout: config.outbound.leaseTimeout,
      outages,
      buries: (cluster) => this.#burying.has(cluster),
      meter: this.#sending,
      log,
    })
    this.#snapshots = new Snapshots({
      shared: shared.shared,
      sessions: shared.sessions,
      mostBytes: config.outbound.snapshotBacklog,
      retry: config.retry,
      log,
    })
    this.#watcher = new Watcher({ accessOf, write: (marks) => reports.writeMarks(marks), log })
  }

  get pipelines(): Pipeline[] {
    return this.#pipelines.all
  }

  /** Who has something to tell the database. */
  get reporters(): Reporter[] {
    return [...this.#pipelines.all, ...this.#patterns.reports]
  }

  get sending(): SendingView {
    return this.#sending.view
  }

  pipelineOf(consumer: string): Pipeline | undefined {
    return this.#pipelines.of(consumer)
  }

  /** Starts what is missing, and tells what is not wanted any more to end. */
  async reconcile(session: Session, installation: string): Promise<void> {
    const desired = await readDesiredState(session)
    this.#vitals.noteReconciled(desired)
    this.#brokers = desired.brokers
    this.#burying = desired.burying
    this.#pipelines.keep(desired, installation, (cluster) => this.#accessOf(cluster))
    const watchers = `millrace.${installation}.watch`
    for (const { cluster, topic } of desired.watched) this.#watcher.ask(cluster, topic, watchers)
    await this.#patterns.keep(desired.patterns)
    this.#housekeeping.keep()
    this.#relay.keep(installation, desired.deliveries)
    this.#snapshots.keep(desired.snapshotOwners)
    this.#sending.keep([...desired.brokers.keys()])
    await this.#snapshotCount.keep(session, (found) => this.#vitals.noteSnapshots(found))
    await this.#requests.keep(session, watchers)
  }

  /** Ends all of it after what is in hand; the next look begins anew. */
  async end(): Promise<void> {
    this.#watcher.stop()
    await Promise.all([
      this.#pipelines.end(),
      this.#patterns.end(),
      this.#housekeeping.end(),
      this.#requests.end(),
      this.#snapshots.end(),
      this.#relay.end(),
      this.#sending.end(),
    ])
  }

  /** Null while the cluster has no broker. */
  #accessOf(cluster: string): ClusterAccess | null {
    const brokers = this.#brokers.get(cluster)
    return brokers ? clusterAccess(this.#config, cluster, brokers) : null
  }
}
