// A pipeline is one consumer, in one version of its configuration, on this daemon: from "there is such a topic"
// by way of the consumer group's assignment to streams that load. It owns nothing that outlives it: a new version
// is a new pipeline.

import { setTimeout } from 'node:timers/promises'
import { MillraceError } from '../errors.ts'
import type { ChunkPool } from '../formats/chunk-pool.ts'
import { createFormat } from '../formats/format.ts'
import type { ClusterAccess } from '../kafka/connect.ts'
import type { ResponsePool } from '../kafka/response-pool.ts'
import { type GroupTimes, type Topic, TopicClient } from '../kafka/topic-client.ts'
import type { Logger } from '../log.ts'
import { Backoff } from '../pipeline/backoff.ts'
import { type State, transition } from '../pipeline/state.ts'
import type { SessionPool } from '../postgres/session-pool.ts'
import type { SharedSession } from '../postgres/shared-session.ts'
import { type Claim, checkIdentity, claim, evictOwners, release } from './claim.ts'
import type { ConsumerSpec } from './consumer.ts'
import { recordFailure } from './failure.ts'
import type { Watermarks } from './fetch-loop.ts'
import { type Located, locate, readLocated } from './locate.ts'
import { Mailbox } from './mailbox.ts'
import type { MemoryBudget } from './memory-budget.ts'
import { Stream, type StreamEnd } from './stream.ts'
import { describeTarget } from './target.ts'

export interface PipelineSettings {
  /** Milliseconds, all of them. */
  group: GroupTimes
  retry: { min: number; max: number }
  metadataInterval: number
  takeoverGrace: number
  synchronousCommit: string
}

export interface PipelineParts {
  spec: ConsumerSpec
  access: ClusterAccess
  /** The consumer group. */
  groupId: string
  daemonId: string
  settings: PipelineSettings
  shared: SharedSession
  sessions: SessionPool
  chunks: ChunkPool
  budget: MemoryBudget
  responses: ResponsePool
  log: Logger
}

/** What a pipeline tells about itself. */
export interface PipelineReport {
  state: State
  code: string | null
  detail: string | null
}

type Letter =
  | { kind: 'assigned'; partitions: number[] }
  | { kind: 'alive' }
  | { kind: 'lost-membership'; error: MillraceError }
  | { kind: 'stream-ended'; end: StreamEnd }
  | { kind: 'check-topic' }

/** The topic is not what it was when the membership began: begin another one. */
class TopicChanged extends Error {}

/** An ended backend that has not gone after so many milliseconds is given up on, for now. */
const takeoverPatience = 10_000

export class Pipeline {
  readonly #parts: PipelineParts
  readonly #stop = new AbortController()
  readonly #backoff: Backoff
  #state: State = 'starting'
  #trouble: { code: string; detail: string } | null = null
  #client: TopicClient | null = null
  #claim: Claim | null = null
  #streams: Stream[] = []
  #running: Promise<void>[] = []
  #uncommitted = new Set<number>()
  readonly #watermarks = new Map<number, Watermarks>()
  #loadedMessages = 0

  constructor(parts: PipelineParts) {
    this.#parts = parts
    this.#backoff = new Backoff(parts.settings.retry.min, parts.settings.retry.max)
  }

  get spec(): ConsumerSpec {
    return this.#parts.spec
  }

  get report(): PipelineReport {
    return { state: this.#state, code: this.#trouble?.code ?? null, detail: this.#trouble?.detail ?? null }
  }

  /** Messages loaded since it started. */
  get loadedMessages(): number {
    return this.#loadedMessages
  }

  /** What Fetch last told of the partitions that are read here. */
  get watermarks(): Iterable<Watermarks> {
    return this.#watermarks.values()
  }

  /** Ends it after the batches in hand; `run` resolves then. */
  stop(): void {
    this.#stop.abort()
  }

  /** Runs until stopped or failed; never throws. */
  async run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        await this.#member()
      } catch (error) {
        if (this.#stop.signal.aborted || error instanceof TopicChanged) continue
        if (isFinal(error)) {
          await this.#fail(error, null, null)
          break
        }
        await this.#waitToRetry(error)
      }
    }
    this.#enter('ended')
  }

  /** Copies the stored positions to the consumer group, where Kafka's own tools look for them. */
  async mirrorOffsets(): Promise<void> {
    const claimed = this.#claim
    if (!claimed || !this.#client || this.#uncommitted.size === 0) return
    const partitions = [...this.#uncommitted]
    this.#uncommitted.clear()
    const offsets = partitions.flatMap((partition) => {
      const owned = claimed.partitions.get(partition)
      return owned ? [{ partition, offset: owned.position, leaderEpoch: owned.leaderEpoch }] : []
    })
    try {
      await this.#client.commit(offsets)
    } catch (error) {
      for (const partition of partitions) this.#uncommitted.add(partition)
      this.#parts.log.debug({ err: error }, 'the group offsets were not committed; tried again later')
    }
  }

  /** One membership of the consumer group, from finding the topic to leaving. */
  async #member(): Promise<void> {
    const { access, spec, groupId, settings } = this.#parts
    const client = new TopicClient(access, spec.topic, groupId, settings.group)
    const mailbox = new Mailbox<Letter>()
    client.on('assigned', (partitions) => mailbox.put({ kind: 'assigned', partitions }))
    client.on('alive', () => mailbox.put({ kind: 'alive' }))
    client.on('lost', (error) => mailbox.put({ kind: 'lost-membership', error }))
    const checking = setInterval(() => mailbox.put({ kind: 'check-topic' }), settings.metadataInterval)
    this.#client = client
    try {
      const topic = await this.#findTopic(client)
      await this.#locate(client, topic)
      await client.join()
      await this.#attend(client, topic, mailbox)
    } finally {
      clearInterval(checking)
      await this.#endStreams()
      await this.mirrorOffsets()
      this.#client = null
      await client.close()
    }
  }

  /** Waits until the topic exists; until then there is nothing to find out about where to start. */
  async #findTopic(client: TopicClient): Promise<Topic> {
    const { spec, shared, settings, log } = this.#parts
    for (;;) {
      const topic = await client.describe()
      this.#stop.signal.throwIfAborted()
      if (topic) return topic
      await shared.use((session) => locate(session, spec, null))
      const missing = new MillraceError('topic-missing', { topic: spec.topic, cluster: spec.cluster })
      if (this.#state !== 'waiting-for-topic') log.warn({ err: missing, consumer: spec.id }, 'waiting')
      this.#trouble = { code: missing.code, detail: missing.message }
      this.#enter('waiting-for-topic')
      await setTimeout(settings.metadataInterval, undefined, { signal: this.#stop.signal })
    }
  }

  async #locate(client: TopicClient, topic: Topic): Promise<void> {
    const { spec, shared, settings } = this.#parts
    const located: Located | null = await shared.use((session) => readLocated(session, spec))
    if (!located) {
      // another version of the consumer is on its way, or its end: the reconciler brings it
      await setTimeout(settings.metadataInterval, undefined, { signal: this.#stop.signal })
      throw new TopicChanged()
    }
    if (!located.pending) {
      for (const stored of located.positions)
        checkIdentity(stored, { clusterId: topic.clusterId, topicId: topic.id })
      return
    }
    this.#enter('locating')
    const [start, end] = [await client.offsets('start'), await client.offsets('end')]
    await evictOwners(shared, { ...this.#ownership(), consumerId: spec.id }, null, this.#stop.signal)
    await shared.use((session) =>
      locate(session, spec, { clusterId: topic.clusterId, topicId: topic.id, start, end }),
    )
  }

  /** Deals with what happens while the membership lasts. @throws what ends it */
  async #attend(client: TopicClient, topic: Topic, mailbox: Mailbox<Letter>): Promise<void> {
    let assigned: number[] = []
    let reclaim = false
    for (;;) {
      const letter = await mailbox.take(this.#stop.signal)
      switch (letter.kind) {
        case 'assigned':
          assigned = letter.partitions
          reclaim = !(await this.#startStreams(client, topic, assigned, mailbox))
          break
        case 'alive':
          // the coordinator still counts this daemon in: what was lost meanwhile is taken up again
          if (reclaim) reclaim = !(await this.#startStreams(client, topic, assigned, mailbox))
          break
        case 'lost-membership':
          throw new MillraceError('group-lost', { group: this.#parts.groupId, cause: letter.error })
        case 'check-topic': {
          const now = await client.describe()
          if (!now || now.id !== topic.id || now.partitions.length !== topic.partitions.length)
            throw new TopicChanged()
          break
        }
        case 'stream-ended':
          if (letter.end.reason === 'topic-gone') throw new TopicChanged()
          if (letter.end.reason === 'failed') {
            await this.#fail(letter.end.error, letter.end.partition, letter.end.offset)
            return
          }
          if (letter.end.reason === 'lost') {
            const lost = new MillraceError('position-lost', { topic: this.spec.topic })
            this.#parts.log.warn({ err: lost, consumer: this.spec.id }, 'letting go')
            reclaim = true
          }
      }
    }
  }

  /** @returns whether every partition could be claimed */
  async #startStreams(
    client: TopicClient,
    topic: Topic,
    partitions: number[],
    mailbox: Mailbox<Letter>,
  ): Promise<boolean> {
    await this.#endStreams()
    const { spec, shared, sessions, settings, log } = this.#parts
    const starts = partitions.length > 0 ? await client.offsets('start') : []
    const wanted = new Map(partitions.map((partition) => [partition, starts[partition] ?? 0n]))
    const request = {
      consumerId: spec.id,
      version: spec.version,
      clusterId: topic.clusterId,
      topicId: topic.id,
      wanted,
      ...this.#ownership(),
    }
    const claimed = await claim(shared, request, this.#stop.signal)
    const { target, serverVersion } = await shared.use(async (session) => ({
      target: await describeTarget(session, spec, settings.synchronousCommit),
      serverVersion: session.serverVersion,
    }))
    const format = createFormat({ ...spec, encoding: target.encoding, target, serverVersion })
    this.#claim = claimed
    this.#watermarks.clear()
    for (const partition of claimed.partitions.keys()) this.#uncommitted.add(partition)
    for (const share of shares(claimed, spec.parallelism)) {
      const stream = new Stream({
        spec,
        claim: share,
        source: { access: this.#parts.access, describe: () => client.describe() },
        target,
        format,
        sessions,
        chunks: this.#parts.chunks,
        budget: this.#parts.budget,
        responses: this.#parts.responses,
        retry: settings.retry,
      })
      this.#follow(stream)
      this.#streams.push(stream)
      this.#running.push(stream.run().then((end) => mailbox.put({ kind: 'stream-ended', end })))
    }
    this.#backoff.reset()
    this.#recover()
    this.#enter('running')
    log.info({ consumer: spec.id, topic: spec.topic, into: target.relation, partitions }, 'reading')
    return claimed.partitions.size === partitions.length
  }

  #follow(stream: Stream): void {
    stream.on('loaded', (spans) => {
      for (const span of spans) {
        this.#loadedMessages += span.messages
        this.#uncommitted.add(span.partition)
      }
    })
    stream.on('watermarks', (marks) => this.#watermarks.set(marks.partition, marks))
    stream.on('retrying', (error) => this.#troubled(error))
    stream.on('recovered', () => this.#recover())
  }

  /** Stops the streams after the batch in hand and lets go of their partitions. */
  async #endStreams(): Promise<void> {
    for (const stream of this.#streams) stream.stop()
    await Promise.all(this.#running)
    for (const stream of this.#streams) stream.removeAllListeners()
    this.#streams = []
    this.#running = []
    const claimed = this.#claim
    if (!claimed || claimed.partitions.size === 0) return
    await this.mirrorOffsets()
    this.#claim = null
    await release(this.#parts.shared, claimed).catch((error) => {
      this.#parts.log.debug({ err: error }, 'partitions were not released; a new owner waits a moment longer')
    })
  }

  #ownership(): { owner: string; grace: number; patience: number } {
    return {
      owner: this.#parts.daemonId,
      grace: this.#parts.settings.takeoverGrace,
      patience: takeoverPatience,
    }
  }

  /** Stops the consumer, everywhere and until somebody begins it again. */
  async #fail(error: MillraceError, partition: number | null, offset: bigint | null): Promise<void> {
    const { spec, shared, log } = this.#parts
    log.error(
      { err: error, consumer: spec.id, topic: spec.topic, partition, offset: offset?.toString() },
      'stopped',
    )
    for (const stream of this.#streams) stream.stop()
    while (!this.#stop.signal.aborted) {
      try {
        await shared.use((session) => recordFailure(session, spec, error, partition, offset))
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

  /** Says what is wrong, once for each trouble. */
  #troubled(error: unknown): void {
    if (this.#stop.signal.aborted) return
    const code = codeOf(error)
    const detail = error instanceof Error ? error.message : String(error)
    if (this.#trouble?.code !== code) {
      this.#parts.log.warn({ err: error, consumer: this.spec.id, topic: this.spec.topic }, 'trying again')
    }
    this.#trouble = { code, detail }
    this.#enter('retrying')
  }

  #recover(): void {
    if (!this.#trouble) return
    this.#trouble = null
    this.#parts.log.info({ consumer: this.spec.id, topic: this.spec.topic }, 'recovered')
    if (this.#state === 'retrying') this.#enter('running')
  }

  #enter(state: State): void {
    if (this.#state !== 'ended') this.#state = transition(this.#state, state)
  }
}

/** The claim's partitions spread evenly over at most `parallelism` streams. */
function shares(claimed: Claim, parallelism: number): Claim[] {
  const parts = [...claimed.partitions]
  const count = Math.min(parallelism, parts.length)
  return Array.from({ length: count }, (_, index) => ({
    ...claimed,
    partitions: new Map(parts.filter((_, position) => position % count === index)),
  }))
}

/** Failures that stay until somebody acts. */
const finalCodes: readonly string[] = [
  'topic-recreated',
  'cluster-changed',
  'relation-missing',
  'target-refused',
]

function isFinal(error: unknown): error is MillraceError {
  return error instanceof MillraceError && finalCodes.includes(error.code)
}

/** What tells one trouble from another: this project's code, or PostgreSQL's SQLSTATE. */
function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' ? code : 'internal'
}
