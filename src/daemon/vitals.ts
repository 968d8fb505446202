// What the daemon knows of itself, for the console. Everything here is noted when it happens; a consumer that is not
// in the database any more is forgotten with its counts.

import { Histogram } from '../console/histogram.ts'
import type {
  Check,
  ConsumerView,
  DaemonView,
  OpenSnapshots,
  PartitionView,
  SendingView,
} from '../console/view.ts'
import { MillraceError } from '../errors.ts'
import type { ConsumerSpec } from '../inbound/consumer.ts'
import type { MemoryBudget } from '../inbound/memory-budget.ts'
import type { Pipeline } from '../inbound/pipeline.ts'
import type { SessionPool } from '../postgres/session-pool.ts'
import { sqlstateOf } from '../postgres/sqlstate.ts'
import { ConsumerMeter } from './consumer-meter.ts'
import type { DesiredState, RestingConsumer } from './desired.ts'

export interface VitalParts {
  sessions: SessionPool
  budget: MemoryBudget
  /** Milliseconds. */
  reconcileInterval: number
  /** What runs for a consumer now. */
  pipelineOf: (consumer: string) => Pipeline | undefined
  sending: () => SendingView
}

/** Milliseconds that reconciling may be late: a statement may wait for a lock for ten seconds. */
const mostLate = 15_000

interface Known {
  facts: Pick<ConsumerSpec, 'id' | 'cluster' | 'topic' | 'schema' | 'name'>
  meter: ConsumerMeter
  resting: RestingConsumer | null
}

export class Vitals implements DaemonView {
  readonly batches = {
    messages: new Histogram([1, 10, 100, 1000, 10_000, 100_000, 1_000_000]),
    bytes: new Histogram([1024, 16_384, 131_072, 1_048_576, 4_194_304, 16_777_216, 67_108_864]),
    seconds: new Histogram([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]),
  }
  readonly #parts: VitalParts
  readonly #known = new Map<string, Known>()
  readonly #connects = new Map<string, { use: string; opened: number; failed: number }>()
  #stopping = false
  #connected = false
  #matched = false
  #trouble: string | undefined
  /** Of performance.now(), so that a clock that is set does not count. */
  #reconciledAt: number | null = null
  #snapshots: OpenSnapshots | null = null
  #reconciles: { count: number; at: number | null } = { count: 0, at: null }

  constructor(parts: VitalParts) {
    this.#parts = parts
  }

  checks(): Check[] {
    const { reconcileInterval } = this.#parts
    const late =
      this.#reconciledAt === null || performance.now() - this.#reconciledAt > 2 * reconcileInterval + mostLate
    const code = this.#trouble === undefined ? {} : { code: this.#trouble }
    return [
      { name: 'postgresql', ok: this.#connected, ...code },
      { name: 'schema', ok: this.#matched, ...code },
      { name: 'reconciling', ok: !late && !this.#stopping, ...code },
    ]
  }

  consumers(): ConsumerView[] {
    return [...this.#known.values()].map(({ facts, meter, resting }) => {
      const pipeline = this.#parts.pipelineOf(facts.id)
      const told = pipeline?.report
      // of one that is over, the reconciler finds out what it means
      const report =
        told && told.state !== 'ended'
          ? told
          : { state: resting?.state ?? 'starting', code: resting?.code ?? null }
      return {
        id: facts.id,
        cluster: facts.cluster,
        topic: facts.topic,
        // without a name, each message names its relation
        target: `${facts.schema}.${facts.name || '*'}`,
        state: report.state,
        code: report.code,
        counts: meter,
        partitions: () => (pipeline ? partitionsOf(pipeline) : []),
      }
    })
  }

  get sessions(): DaemonView['sessions'] {
    return this.#parts.sessions.load
  }

  get connects(): DaemonView['connects'] {
    return this.#connects.values()
  }

  get budget(): DaemonView['budget'] {
    return this.#parts.budget
  }

  get sending(): SendingView {
    return this.#parts.sending()
  }

  get snapshots(): OpenSnapshots | null {
    return this.#snapshots
  }

  get reconciles(): DaemonView['reconciles'] {
    return this.#reconciles
  }

  meterOf(facts: Known['facts']): ConsumerMeter {
    return this.#know(facts).meter
  }

  /** @param opening a connection to PostgreSQL for this use */
  async noteOpening<T>(use: string, opening: Promise<T>): Promise<T> {
    const counts = this.#connects.get(use) ?? { use, opened: 0, failed: 0 }
    this.#connects.set(use, counts)
    try {
      const opened = await opening
      counts.opened++
      return opened
    } catch (error) {
      counts.failed++
      throw error
    }
  }

  noteConnected(): void {
    this.#connected = true
    this.#trouble = undefined
  }

  noteSchemaMatched(): void {
    this.#matched = true
  }

  noteDisconnected(): void {
    this.#connected = false
    this.#matched = false
    this.#reconciledAt = null
    this.#snapshots = null
  }

  noteSnapshots(found: OpenSnapshots | null): void {
    this.#snapshots = found
  }

  /** Why there is no connection, or why it is given up. */
  noteTrouble(error: unknown): void {
    this.#trouble =
      error instanceof MillraceError ? error.code : (sqlstateOf(error) ?? 'database-unreachable')
  }

  /** Nothing is reconciled where the daemon does not belong. */
  noteForeign(error: MillraceError): void {
    this.#trouble = error.code
    this.#reconciledAt = null
  }

  noteReconciled({ consumers, resting }: DesiredState): void {
    this.#trouble = undefined
    this.#reconciledAt = performance.now()
    this.#reconciles = { count: this.#reconciles.count + 1, at: Date.now() / 1000 }
    for (const spec of consumers) this.#know(spec).resting = null
    for (const consumer of resting) this.#know(consumer).resting = consumer
    const there = new Set([...consumers, ...resting].map(({ id }) => id))
    for (const id of this.#known.keys()) if (!there.has(id)) this.#known.delete(id)
  }

  noteStopping(): void {
    this.#stopping = true
  }

  #know({ id, cluster, topic, schema, name }: Known['facts']): Known {
    const facts = { id, cluster, topic, schema, name }
    const known = this.#known.get(id) ?? { facts, meter: new ConsumerMeter(this.batches), resting: null }
    known.facts = facts
    this.#known.set(id, known)
    return known
  }
}

function* partitionsOf(pipeline: Pipeline): Iterable<PartitionView> {
  for (const [partition, { position }] of pipeline.positions) {
    yield { partition, position, highWatermark: pipeline.watermarkOf(partition)?.high ?? null }
  }
}
