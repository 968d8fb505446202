// A daemon's values without a daemon, as many as one likes: for the form of the pages. What the values are is tested
// with real daemons.
import { Histogram } from '../../src/console/histogram.ts'
import type { Check, ConsumerView, DaemonView } from '../../src/console/view.ts'

export function daemonView(consumers = 0, partitions = 0, checks: Check[] = []): DaemonView {
  return {
    checks: () => checks,
    consumers: () => Array.from({ length: consumers }, (_, id) => consumerView(id, partitions)),
    batches: { messages: new Histogram([1]), bytes: new Histogram([1]), seconds: new Histogram([1]) },
    sessions: { inUse: 0, open: 0, waiting: 0, limit: 6 },
    connects: [{ use: 'pump', opened: 1, failed: 0 }],
    budget: { used: 0, limit: 1 },
    reconciles: { count: 1, at: 1 },
    snapshots: null,
    sending: { leads: false, clusters: [] },
  }
}

function consumerView(id: number, partitions: number): ConsumerView {
  return {
    id: String(id),
    cluster: 'default',
    topic: `some.topic.of.many.${id}`,
    target: `public.some_table_${id}`,
    state: id % 10 === 0 ? 'failed' : 'running',
    code: id % 10 === 0 ? 'message-rejected' : null,
    counts: {
      messages: 1e9 + id,
      skipped: 0,
      deadLetters: 0,
      transactionIds: 0,
      bytes: 1e12,
      batches: 1000,
      loadSeconds: 1.5,
      lastLoad: 1.7e9,
      fetches: 1,
      fetchedBytes: 1,
      throttleSeconds: 0,
      fetchConnections: 1,
      retries: [],
      failures: [],
    },
    partitions: () =>
      Array.from({ length: partitions }, (_, partition) => ({
        partition,
        position: BigInt(id) * 1_000_000n,
        highWatermark: BigInt(id) * 1_000_001n,
      })),
  }
}
