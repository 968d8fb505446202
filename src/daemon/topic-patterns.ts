// A consumer with a topic_pattern runs nothing itself: each topic that matches has a consumer of its own, a child. Here
// the topics are listed now and then and given to the database, which knows the pattern, adds what is missing and lets
// the children follow their parent.

import type { PipelineReport } from '../inbound/condition.ts'
import type { Watermarks } from '../inbound/fetch-loop.ts'
import type { QueryRunner } from '../inbound/target.ts'
import type { ClusterAccess } from '../kafka/access.ts'
import { listTopics } from '../kafka/topic-list.ts'
import type { Logger } from '../log.ts'
import { unlessAborted } from '../pipeline/interruption.ts'

/** A parent that is to run, in one version. */
export interface TopicPattern {
  id: string
  cluster: string
  version: string
}

/** What a parent reports: that it is watched, or why it cannot be. */
export interface PatternReport {
  readonly spec: { id: string; cluster: string; topic: string }
  readonly watermarks: Iterable<Watermarks>
  readonly loadedMessages: number
  report: PipelineReport
}

interface Watch {
  pattern: TopicPattern
  /** performance.now() of the last look. */
  lookedAt: number
  report: PatternReport
}

export interface TopicPatternsParts {
  runner: QueryRunner
  log: Logger
  /** Milliseconds between two looks at a cluster. */
  interval: number
  /** Null while the cluster has no broker. */
  accessOf: (cluster: string) => ClusterAccess | null
  forget: (report: PatternReport) => Promise<void>
}

const watching: PipelineReport = { state: 'watching', code: null, detail: null }

export class TopicPatterns {
  readonly #parts: TopicPatternsParts
  readonly #watches = new Map<string, Watch>()
  readonly #looking = new Map<string, Promise<void>>()
  #stop = new AbortController()

  constructor(parts: TopicPatternsParts) {
    this.#parts = parts
  }

  get reports(): PatternReport[] {
    return [...this.#watches.values()].map(({ report }) => report)
  }

  /** These are wanted now. What is new is looked at now, the rest when it is time. */
  async keep(patterns: TopicPattern[]): Promise<void> {
    const wanted = new Map(patterns.map((pattern) => [pattern.id, pattern]))
    for (const [id, { report }] of this.#watches) {
      if (wanted.has(id)) continue
      this.#watches.delete(id)
      await this.#parts.forget(report)
    }
    for (const pattern of patterns) {
      const watch = this.#watches.get(pattern.id)
      if (!watch) this.#watches.set(pattern.id, newWatch(pattern))
      else if (watch.pattern.version !== pattern.version)
        Object.assign(watch, { pattern, lookedAt: -Infinity })
    }
    const due = [...this.#watches.values()].filter(
      ({ lookedAt }) => performance.now() - lookedAt >= this.#parts.interval,
    )
    for (const cluster of new Set(due.map(({ pattern }) => pattern.cluster))) this.#start(cluster)
  }

  /** What the database is being told is finished; no broker is waited for. The next look may begin anew. */
  async end(): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#looking.values())
    this.#stop = new AbortController()
  }

  /** One look at a time at each cluster. */
  #start(cluster: string): void {
    if (this.#looking.has(cluster)) return
    const looking = this.#look(cluster).finally(() => this.#looking.delete(cluster))
    this.#looking.set(cluster, looking)
  }

  async #look(cluster: string): Promise<void> {
    const watches = [...this.#watches.values()].filter(({ pattern }) => pattern.cluster === cluster)
    const access = this.#parts.accessOf(cluster)
    if (!access) return
    for (const watch of watches) watch.lookedAt = performance.now()
    const { signal } = this.#stop
    try {
      const topics = await unlessAborted(listTopics(access), signal)
      for (const watch of watches) await this.#addChildren(watch, topics)
    } catch (error) {
      if (signal.aborted) return
      for (const watch of watches) this.#fail(watch, error)
    }
  }

  async #addChildren(watch: Watch, topics: string[]): Promise<void> {
    const { runner, log } = this.#parts
    const { id } = watch.pattern
    try {
      const [row] = await runner.query<{ added: string }>('SELECT millrace.add_children($1, $2) AS added', [
        id,
        topics,
      ])
      if (Number(row?.added) > 0) log.info({ consumer: id, added: Number(row?.added) }, 'new topics match')
      watch.report.report = watching
    } catch (error) {
      this.#fail(watch, error)
    }
  }

  #fail({ pattern, report }: Watch, error: unknown): void {
    const { code = 'internal', message = String(error) } = error as { code?: string; message?: string }
    if (report.report.code !== code) {
      this.#parts.log.warn({ err: error, consumer: pattern.id }, 'topics could not be matched; trying again')
    }
    report.report = { state: 'retrying', code, detail: message }
  }
}

function newWatch(pattern: TopicPattern): Watch {
  const { id, cluster } = pattern
  const spec = { id, cluster, topic: '' }
  return {
    pattern,
    lookedAt: -Infinity,
    report: { spec, watermarks: [], loadedMessages: 0, report: watching },
  }
}
