// What the daemon tells the database about itself: only what changed since it was last told, a few times a second
// at the most, so that a thousand idle consumers write nothing.

import { hostname } from 'node:os'
import type { PipelineReport } from '../inbound/condition.ts'
import type { Watermarks } from '../inbound/fetch-loop.ts'
import type { SharedSession } from '../postgres/shared-session.ts'
import { version } from '../version.ts'

/** Who has something to tell: a pipeline, or a topic pattern. */
export interface Reporter {
  readonly spec: { id: string; cluster: string; topic: string }
  readonly report: PipelineReport
  /** Since it started. */
  readonly loadedMessages: number
  readonly watermarks: Iterable<Watermarks>
}

interface Told {
  report: PipelineReport
  rate: number
  messages: number
}

interface ToldMarks {
  marks: Watermarks
  at: number
}

/** Milliseconds after which unchanged watermarks are told again, so that their age shows that somebody looks. */
const repeatMarksAfter = 10_000

export class Reports {
  readonly #daemonId: string
  readonly #shared: SharedSession
  readonly #told = new Map<Reporter, Told>()
  readonly #marks = new Map<string, ToldMarks>()
  #backendPid = 0
  #lastSeen = 0
  #lastRates = performance.now()

  constructor(daemonId: string, shared: SharedSession) {
    this.#daemonId = daemonId
    this.#shared = shared
  }

  /** @param backendPid of the connection that holds the daemon's lock */
  async register(backendPid: number): Promise<void> {
    this.#backendPid = backendPid
    await this.#saySeen()
    await this.#shared.query(forgetDaemons)
    await this.#shared.query(forgetQuestions)
  }

  /** An upsert: another daemon may have taken this one for dead and forgotten it. */
  async #saySeen(): Promise<void> {
    const facts = [this.#daemonId, hostname(), process.pid, version, this.#backendPid]
    await this.#shared.query(registerDaemon, facts)
    this.#lastSeen = Date.now()
  }

  async unregister(): Promise<void> {
    await this.#shared.query('DELETE FROM millrace.daemon WHERE id = $1', [this.#daemonId])
  }

  /** @param seenInterval milliseconds after which the daemon says again that it lives */
  async write(pipelines: Iterable<Reporter>, seenInterval: number): Promise<void> {
    const running = [...pipelines]
    if (Date.now() - this.#lastSeen >= seenInterval) await this.#saySeen()
    await this.#writeStates(running)
    await this.#writeWatermarks(running)
    for (const pipeline of this.#told.keys()) if (!running.includes(pipeline)) this.#told.delete(pipeline)
  }

  /** The last words of a pipeline that has ended: what it saw stays, what it did goes. */
  async forget(pipeline: Reporter): Promise<void> {
    this.#told.delete(pipeline)
    await this.#writeWatermarks([pipeline])
    await this.#shared.query('DELETE FROM millrace.report WHERE consumer_id = $1 AND daemon = $2', [
      pipeline.spec.id,
      this.#daemonId,
    ])
  }

  async #writeStates(pipelines: Reporter[]): Promise<void> {
    const now = performance.now()
    const seconds = (now - this.#lastRates) / 1000
    this.#lastRates = now
    const telling = pipelines.map((pipeline): [Reporter, Told] => {
      const before = this.#told.get(pipeline)
      const messages = pipeline.loadedMessages
      const rate = before ? (messages - before.messages) / seconds : 0
      return [pipeline, { report: pipeline.report, rate, messages }]
    })
    const changed = telling.filter(([pipeline, told]) => !sameTold(this.#told.get(pipeline), told))
    if (changed.length > 0) {
      await this.#shared.query(writeReports, [
        this.#daemonId,
        changed.map(([pipeline]) => pipeline.spec.id),
        changed.map(([, { report }]) => report.state),
        changed.map(([, { report }]) => report.code),
        changed.map(([, { report }]) => report.detail),
        changed.map(([, { rate }]) => rate),
      ])
    }
    // only what has arrived counts as told
    for (const [pipeline, told] of telling) this.#told.set(pipeline, told)
  }

  async #writeWatermarks(pipelines: Reporter[]): Promise<void> {
    const rows: unknown[][] = []
    const telling = new Map<string, ToldMarks>()
    const at = performance.now()
    for (const { spec, watermarks } of pipelines) {
      for (const marks of watermarks) {
        const { partition, low, high, lastStable } = marks
        const key = JSON.stringify([spec.cluster, spec.topic, partition])
        if (!isNews(this.#marks.get(key), marks, at)) continue
        telling.set(key, { marks, at })
        rows.push([spec.cluster, spec.topic, partition, String(low), String(high), String(lastStable)])
      }
    }
    await this.writeMarks(rows)
    for (const [key, told] of telling) this.#marks.set(key, told)
  }

  /** @param rows cluster, topic, partition, low, high, last stable offset */
  async writeMarks(rows: unknown[][]): Promise<void> {
    if (rows.length === 0) return
    const columns = [0, 1, 2, 3, 4, 5].map((index) => rows.map((row) => row[index]))
    await this.#shared.query(writeWatermarks, columns)
  }
}

/** What a later Fetch has seen, if it is different or has not been told for a while. */
function isNews(
  told: ToldMarks | undefined,
  { low, high, lastStable, ...rest }: Watermarks,
  at: number,
): boolean {
  if (!told) return true
  const before = told.marks
  const same = before.low === low && before.high === high && before.lastStable === lastStable
  return !same || (rest.seenAt !== before.seenAt && at - told.at > repeatMarksAfter)
}

function sameTold(before: Told | undefined, { report, rate }: Told): boolean {
  if (!before || before.rate !== rate) return false
  const told = before.report
  return told.state === report.state && told.code === report.code && told.detail === report.detail
}

const registerDaemon = `
  INSERT INTO millrace.daemon (id, host, pid, version, backend_pid, started_at, seen_at)
  VALUES ($1, $2, $3, $4, $5, pg_catalog.clock_timestamp(), pg_catalog.clock_timestamp())
  ON CONFLICT (id) DO UPDATE SET backend_pid = excluded.backend_pid, seen_at = excluded.seen_at`

/** Those that died without a word; what they reported goes with them. */
const forgetDaemons = `
  DELETE FROM millrace.daemon WHERE seen_at < pg_catalog.clock_timestamp() - interval '1 hour'`

/** Nobody has asked again for long. */
const forgetQuestions = `
  DELETE FROM millrace.watched_topic WHERE asked_at < pg_catalog.clock_timestamp() - interval '1 hour'`

const writeReports = `
  INSERT INTO millrace.report (consumer_id, daemon, state, code, detail, rows_per_second, reported_at)
  SELECT n.consumer_id, $1, n.state, n.code, n.detail, n.rate, pg_catalog.clock_timestamp()
    FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::float8[])
      AS n (consumer_id, state, code, detail, rate)
   WHERE EXISTS (SELECT FROM millrace.consumer AS c WHERE c.id = n.consumer_id)
  ON CONFLICT (consumer_id, daemon) DO UPDATE
     SET state = excluded.state, code = excluded.code, detail = excluded.detail,
         rows_per_second = excluded.rows_per_second, reported_at = excluded.reported_at`

const writeWatermarks = `
  INSERT INTO millrace.watermark (cluster, topic, partition, low, high, last_stable, reported_at)
  SELECT DISTINCT ON (n.cluster, n.topic, n.partition) n.*, pg_catalog.clock_timestamp()
    FROM unnest($1::text[], $2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::bigint[])
      AS n (cluster, topic, partition, low, high, last_stable)
  ON CONFLICT (cluster, topic, partition) DO UPDATE
     SET low = excluded.low, high = excluded.high, last_stable = excluded.last_stable,
         reported_at = excluded.reported_at`
