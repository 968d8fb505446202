// One answer to /metrics. Each family is written whole before the next one, so every family goes over all consumers;
// their labels are put together once.

import { states } from '../pipeline/state.ts'
import { version } from '../version.ts'
import type { EventLoopDelay } from './event-loop.ts'
import { Exposition, labelText } from './exposition.ts'
import { type Metric, metrics } from './metrics.ts'
import type { ClusterSending, ConsumerCounts, ConsumerView, DaemonView, PartitionView } from './view.ts'

export interface ScrapeOptions {
  /** Whether there are series for each partition. */
  partitions: boolean
  delay: EventLoopDelay
  /** Milliseconds; for tests. */
  clock?: () => number
}

interface Labelled {
  view: ConsumerView
  labels: string
  /** As they stand when the scrape begins. */
  partitions: PartitionView[]
}

/** Those of a pipeline, but that of one that is over, and those of consumers that nothing runs for. */
const shownStates = [...states.filter((state) => state !== 'ended'), 'failed', 'stopped']

export async function scrape(daemon: DaemonView, options: ScrapeOptions): Promise<Buffer[]> {
  const page = new Exposition(options.clock)
  const consumers: Labelled[] = []
  for (const view of daemon.consumers()) {
    const { id: consumer, cluster, topic, target } = view
    const labels = labelText({ consumer, cluster, topic, target })
    consumers.push({ view, labels, partitions: [...view.partitions()] })
    await page.pace()
  }
  writeDaemon(page, daemon, consumers)
  writeSending(page, daemon)
  writeSnapshots(page, daemon)
  writeProcess(page, options.delay)
  await writeConsumers(page, consumers)
  if (options.partitions) await writePartitions(page, consumers)
  return page.finish()
}

function writeDaemon(page: Exposition, daemon: DaemonView, consumers: Labelled[]): void {
  const { sessions, budget, reconciles, batches } = daemon
  one(page, metrics.buildInfo, 1, labelText({ version, node: process.versions.node }))
  one(page, metrics.ready, daemon.checks().every(({ ok }) => ok) ? 1 : 0)
  const inState = Map.groupBy(consumers, ({ view }) => view.state)
  page.begin(metrics.consumers)
  for (const state of new Set([...shownStates, ...inState.keys()])) {
    page.sample(metrics.consumers.name, labelText({ state }), inState.get(state)?.length ?? 0)
  }
  one(page, metrics.reconciles, reconciles.count)
  one(page, metrics.lastReconcile, reconciles.at)
  one(page, metrics.sessionsInUse, sessions.inUse)
  one(page, metrics.sessionsOpen, sessions.open)
  one(page, metrics.sessionsWaiting, sessions.waiting)
  one(page, metrics.sessionsLimit, sessions.limit)
  const connects = [...daemon.connects]
  page.begin(metrics.connects)
  for (const { use, opened } of connects) page.sample(metrics.connects.name, labelText({ use }), opened)
  page.begin(metrics.connectFailures)
  for (const { use, failed } of connects)
    page.sample(metrics.connectFailures.name, labelText({ use }), failed)
  one(page, metrics.budgetUsed, budget.used)
  one(page, metrics.budgetLimit, budget.limit)
  for (const [metric, values] of [
    [metrics.batchMessages, batches.messages],
    [metrics.batchBytes, batches.bytes],
    [metrics.batchSeconds, batches.seconds],
  ] as const) {
    page.begin(metric)
    page.histogram(metric.name, values)
  }
}

/** One number for each cluster, where there is one. */
const ofClusters: [Metric, (one: ClusterSending) => number | null | undefined][] = [
  [metrics.backlog, ({ backlog }) => backlog?.messages],
  [metrics.oldestUnsent, ({ backlog }) => backlog && (backlog.oldest ?? 0)],
  [metrics.waiting, ({ backlog }) => backlog?.waiting],
  [metrics.waitingKeys, ({ backlog }) => backlog?.waitingKeys],
  [metrics.outboxDeadLetters, ({ backlog }) => backlog?.deadLetters],
  [metrics.sentMessages, ({ counts }) => counts.messages],
  [metrics.sentBytes, ({ counts }) => counts.bytes],
  [metrics.sentBatches, ({ counts }) => counts.batches],
  [metrics.lastSent, ({ counts }) => counts.lastSent],
  [metrics.sentToDeadLetters, ({ counts }) => counts.deadLetters],
]

function writeSending(page: Exposition, { sending }: DaemonView): void {
  one(page, metrics.leads, sending.leads ? 1 : 0)
  page.begin(metrics.sendingState)
  for (const { cluster, state, code } of sending.clusters)
    page.sample(metrics.sendingState.name, labelText({ cluster, state, code: code ?? '' }), 1)
  for (const [metric, read] of ofClusters) {
    page.begin(metric)
    for (const cluster of sending.clusters) {
      const value = read(cluster)
      if (value != null) page.sample(metric.name, labelText({ cluster: cluster.cluster }), value)
    }
  }
  for (const [metric, of] of [
    [metrics.sendRetries, 'retries'],
    [metrics.sendRefusals, 'refusals'],
  ] as const) {
    page.begin(metric)
    for (const { cluster, counts } of sending.clusters) {
      for (const [code, count] of counts[of]) page.sample(metric.name, labelText({ cluster, code }), count)
    }
  }
}

function writeSnapshots(page: Exposition, { snapshots }: DaemonView): void {
  page.begin(metrics.snapshots)
  for (const [state, count] of snapshots?.states ?? [])
    page.sample(metrics.snapshots.name, labelText({ state }), count)
  one(page, metrics.snapshotBlocksDone, snapshots?.blocksDone ?? null)
  one(page, metrics.snapshotBlocks, snapshots?.blocks ?? null)
}

function writeProcess(page: Exposition, delay: EventLoopDelay): void {
  const { median, high, most } = delay.read()
  one(page, metrics.loopDelayMedian, median)
  one(page, metrics.loopDelayHigh, high)
  one(page, metrics.loopDelayMost, most)
  one(page, metrics.loopActive, performance.eventLoopUtilization().active / 1000)
  one(page, metrics.resident, process.memoryUsage.rss())
  const { user, system } = process.cpuUsage()
  one(page, metrics.cpu, (user + system) / 1e6)
  one(page, metrics.started, performance.timeOrigin / 1000)
}

/** One number for each consumer; null: there is none yet. */
const counted: [Metric, (counts: ConsumerCounts) => number | null][] = [
  [metrics.messages, (counts) => counts.messages],
  [metrics.skipped, (counts) => counts.skipped],
  [metrics.deadLetters, (counts) => counts.deadLetters],
  [metrics.transactionIds, (counts) => counts.transactionIds],
  [metrics.bytes, (counts) => counts.bytes],
  [metrics.batches, (counts) => counts.batches],
  [metrics.loadSeconds, (counts) => counts.loadSeconds],
  [metrics.lastLoad, (counts) => counts.lastLoad],
  [metrics.fetches, (counts) => counts.fetches],
  [metrics.fetchedBytes, (counts) => counts.fetchedBytes],
  [metrics.throttle, (counts) => counts.throttleSeconds],
  [metrics.fetchConnections, (counts) => counts.fetchConnections],
]

async function writeConsumers(page: Exposition, consumers: Labelled[]): Promise<void> {
  const family = async (metric: Metric, write: (one: Labelled) => void) => {
    page.begin(metric)
    for (const consumer of consumers) {
      write(consumer)
      await page.pace()
    }
  }
  await family(metrics.state, ({ view, labels }) => {
    const more = labelText({ state: view.state, code: view.code ?? '' })
    page.sample(metrics.state.name, `${labels},${more}`, 1)
  })
  await family(metrics.partitions, ({ labels, partitions }) => {
    page.sample(metrics.partitions.name, labels, partitions.length)
  })
  await family(metrics.lag, ({ labels, partitions }) => {
    const lags = partitions.map(lagOf).filter((lag) => lag !== null)
    if (lags.length > 0) {
      const lag = lags.reduce((sum, lag) => sum + lag)
      page.sample(metrics.lag.name, labels, lag)
    }
  })
  for (const [metric, read] of counted) {
    await family(metric, ({ view, labels }) => {
      const value = read(view.counts)
      if (value !== null) page.sample(metric.name, labels, value)
    })
  }
  await family(metrics.retries, ({ view, labels }) => {
    for (const { code, sqlstateClass, count } of view.counts.retries) {
      const more = labelText({ code, sqlstate_class: sqlstateClass })
      page.sample(metrics.retries.name, `${labels},${more}`, count)
    }
  })
  await family(metrics.failures, ({ view, labels }) => {
    for (const { code, count } of view.counts.failures) {
      page.sample(metrics.failures.name, `${labels},${labelText({ code })}`, count)
    }
  })
}

async function writePartitions(page: Exposition, consumers: Labelled[]): Promise<void> {
  const family = async (metric: Metric, read: (partition: PartitionView) => bigint | null) => {
    page.begin(metric)
    for (const { labels, partitions } of consumers) {
      for (const one of partitions) {
        const value = read(one)
        if (value !== null) page.sample(metric.name, `${labels},partition="${one.partition}"`, value)
        await page.pace()
      }
    }
  }
  await family(metrics.partitionLag, lagOf)
  await family(metrics.partitionPosition, ({ position }) => position)
}

/** A position may be past a watermark that was told before it. */
function lagOf({ position, highWatermark }: PartitionView): bigint | null {
  if (highWatermark === null) return null
  return highWatermark > position ? highWatermark - position : 0n
}

function one(page: Exposition, metric: Metric, value: number | null, labels = ''): void {
  page.begin(metric)
  if (value !== null) page.sample(metric.name, labels, value)
}
