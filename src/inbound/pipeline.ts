// A pipeline is one consumer, in one version of its configuration, on this daemon: from "there is such a topic"
// by way of the consumer group to assignments that are loaded. It owns nothing that outlives it: a new version is a
// new pipeline.

import { setTimeout } from 'node:timers/promises'
import { MillraceError } from '../errors.ts'
import type { ClusterAccess } from '../kafka/access.ts'
import { type GroupTimes, type Topic, TopicClient } from '../kafka/topic-client.ts'
import type { Logger } from '../log.ts'
import { Backoff } from '../pipeline/backoff.ts'
import type { Outages } from '../pipeline/outage.ts'
import { Assignment, type SharedParts } from './assignment.ts'
import type { ClaimedPartition } from './claim.ts'
import { Condition, type PipelineReport } from './condition.ts'
import type { ConsumerSpec } from './consumer.ts'
import { recordFailure } from './failure.ts'
import type { Watermarks } from './fetch-loop.ts'
import { gapOf, passGap } from './gap.ts'
import { Mailbox } from './mailbox.ts'
import type { Meter } from './meter.ts'
import type { Failure, StreamEnd } from './stream-end.ts'
import { Changed, checkTopic, findStart, findTopic } from './topic-search.ts'

export interface PipelineSettings {
  /** Milliseconds, all of them. */
  group: GroupTimes
  retry: { min: number; max: number }
  metadataInterval: number
  takeoverGrace: number
}

export interface PipelineParts extends SharedParts {
  spec: ConsumerSpec
  access: ClusterAccess
  /** The consumer group. */
  groupId: string
  /** The running server and database that this daemon loads into: members of others share no partitions with it. */
  instance: string
  daemonId: string
  settings: PipelineSettings
  meter: Meter
  /** What all pipelines of the daemon know to be away. */
  outages: Outages
  log: Logger
}

type Letter =
  | { kind: 'assigned'; partitions: number[] }
  | { kind: 'alive' }
  | { kind: 'lost-membership'; error: MillraceError }
  | { kind: 'stream-ended'; end: StreamEnd }
  | { kind: 'check-topic' }

/** An ended backend that has not gone after so many milliseconds is given up on, for now. */
const takeoverPatience = 10_000

/** Milliseconds; offsets that only Kafka's own tools look at must not hold up a rebalance or a shutdown. */
const mirrorPatience = 2000

const noPositions: ReadonlyMap<number, ClaimedPartition> = new Map()

/** Milliseconds between two lines of the log about messages that could not be loaded. */
const quiet = 10_000

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
  #assignment: Assignment | null = null
  #loadedMessages = 0
  #mirroring: Promise<void> | null = null
  /** Since that was last said. */
  #rejected = { messages: 0, transactionIds: 0, quietUntil: 0 }

  constructor(parts: PipelineParts) {
    this.#parts = parts
    this.#condition = new Condition(parts.spec, parts.log, parts.outages)
    this.#backoff = new Backoff(parts.settings.retry.min, parts.settings.retry.max)
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
    return this.#assignment?.positions ?? noPositions
  }

  /** Ends it after the batches in hand; `run` resolves then. */
  stop(): void {
    this.#stop.abort()
  }

  /** Runs until stopped or failed; never throws. */
  async run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        await this.#beMember()
      } catch (error) {
        if (this.#stop.signal.aborted || error instanceof Changed) continue
        const final = error instanceof MillraceError && finalCodes.includes(error.code)
        if (final) await this.#fail({ error, partition: null, offset: null })
        else await this.#waitToRetry(error)
      }
    }
    this.#condition.enter('ended')
  }

  /** Kafka's own tools see the positions a moment later; a failure is made up for the next time. One at a time. */
  mirrorOffsets(): Promise<void> {
    this.#mirroring ??= this.#mirror().finally(() => {
      this.#mirroring = null
    })
    return this.#mirroring
  }

  async #mirror(): Promise<void> {
    await this.#assignment?.mirrorOffsets().catch((error) => {
      this.#parts.log.debug({ err: error }, 'the offsets were not committed to the consumer group')
    })
  }

  /** One membership of the consumer group, from finding the topic to leaving. */
  async #beMember(): Promise<void> {
    const { access, spec, groupId, instance, settings, log } = this.#parts
    const client = new TopicClient(access, spec.topic, groupId, settings.group, instance)
    const mailbox = new Mailbox<Letter>()
    client.on('assigned', (partitions) => mailbox.put({ kind: 'assigned', partitions }))
    client.on('alive', () => mailbox.put({ kind: 'alive' }))
    client.on('strangers', () => {
      log.warn(
        { err: new MillraceError('group-shared', { group: groupId, topic: spec.topic }) },
        'in company',
      )
    })
    client.on('lost', (error) => mailbox.put({ kind: 'lost-membership', error }))
    const checking = setInterval(() => mailbox.put({ kind: 'check-topic' }), settings.metadataInterval)
    try {
      const search = {
        ...this.#parts,
        client,
        ownership: this.#ownership(),
        interval: settings.metadataInterval,
        onMissing: (missing: MillraceError) => this.#condition.wait('waiting-for-topic', missing),
        onLocating: () => this.#condition.enter('locating'),
        signal: this.#stop.signal,
      }
      const topic = await findTopic(search)
      await findStart(search, topic)
      await client.join()
      await this.#attend(client, topic, mailbox)
    } finally {
      clearInterval(checking)
      await this.#endAssignment()
      await client.close()
    }
  }

  /** Deals with what happens while the membership lasts. @throws what ends it */
  async #attend(client: TopicClient, topic: Topic, mailbox: Mailbox<Letter>): Promise<void> {
    let assigned: number[] = []
    let incomplete = false
    const read = async () => {
      await this.#endAssignment()
      incomplete = await this.#startAssignment(client, topic, assigned, mailbox)
    }
    for (;;) {
      const letter = await mailbox.take(this.#stop.signal)
      switch (letter.kind) {
        case 'assigned':
          assigned = letter.partitions
          await read()
          break
        case 'alive':
          // the coordinator still counts this daemon in: what was lost meanwhile is taken up again
          if (incomplete) await read()
          break
        case 'lost-membership':
          throw new MillraceError('group-lost', { group: this.#parts.groupId, cause: letter.error })
        case 'check-topic':
          await checkTopic(client, topic)
          break
        case 'stream-ended':
          if (letter.end.reason === 'topic-gone') throw new Changed()
          if (letter.end.reason === 'target-changed') {
            this.#parts.log.info({ consumer: this.spec.id }, 'the relation has changed: looking at it again')
            await read()
          }
          if (letter.end.reason === 'failed') {
            if (await this.#passGap(topic, letter.end.failure)) {
              await read()
              break
            }
            await this.#fail(letter.end.failure)
            return
          }
          if (letter.end.reason === 'lost') {
            const lost = new MillraceError('position-lost', { topic: this.spec.topic })
            this.#parts.log.warn({ err: lost, consumer: this.spec.id }, 'letting go')
            incomplete = true
          }
      }
    }
  }

  /** @returns whether some of the partitions could not be claimed */
  async #startAssignment(
    client: TopicClient,
    topic: Topic,
    partitions: number[],
    mailbox: Mailbox<Letter>,
  ): Promise<boolean> {
    const { spec, settings, log } = this.#parts
    this.#assignment = await Assignment.start(
      {
        ...this.#parts,
        client,
        topic,
        partitions,
        ownership: this.#ownership(),
        retry: settings.retry,
        onLoaded: (spans) => {
          for (const span of spans) this.#loadedMessages += span.messages
        },
        onRejected: (messages, transactionIds) => this.#noteRejected(messages, transactionIds),
        onWatermarks: (marks) => this.#watermarks.set(marks.partition, marks),
        onRetry: (error) => this.#troubled(error),
        onRecovered: () => this.#condition.recover(),
        onThrottled: (milliseconds) => this.#condition.throttled(milliseconds),
        onStreamEnd: (end) => mailbox.put({ kind: 'stream-ended', end }),
      },
      this.#stop.signal,
    )
    this.#backoff.reset()
    this.#condition.recover()
    this.#condition.enter('running')
    log.info(
      { consumer: spec.id, topic: spec.topic, into: `${spec.schema}.${spec.name}`, partitions },
      'reading',
    )
    return this.#assignment.isPartial
  }

  /** Says how many messages could not be loaded, once in a while. */
  #noteRejected(messages: number, transactionIds: number): void {
    this.#parts.meter.rejected(messages, this.spec.onError === 'dead_letter')
    const rejected = this.#rejected
    rejected.messages += messages
    rejected.transactionIds += transactionIds
    if (rejected.messages === 0 || performance.now() < rejected.quietUntil) return
    const { spec, log } = this.#parts
    log.warn(
      {
        consumer: spec.id,
        topic: spec.topic,
        messages: rejected.messages,
        onError: spec.onError,
        transactionIds: rejected.transactionIds,
      },
      'messages could not be loaded',
    )
    this.#rejected = { messages: 0, transactionIds: 0, quietUntil: performance.now() + quiet }
  }

  async #endAssignment(): Promise<void> {
    const assignment = this.#assignment
    if (!assignment) return
    assignment.stop()
    try {
      await assignment.end()
    } catch (error) {
      this.#parts.log.debug({ err: error }, 'partitions were not released; a new owner waits a moment longer')
    }
    // what is under way may have begun before the last batch was loaded
    const mirrored = this.mirrorOffsets().then(() => this.mirrorOffsets())
    await Promise.race([mirrored, setTimeout(mirrorPatience, undefined, { ref: false })])
    this.#assignment = null
  }

  /** @returns true when the failure was a gap that the consumer is to go on after */
  async #passGap(topic: Topic, failure: Failure): Promise<boolean> {
    const { spec, shared, log } = this.#parts
    const gap = gapOf(spec, failure)
    if (!gap) return false
    // what the other streams have in hand is committed first: then nothing of it compares false
    await this.#endAssignment()
    const warning = await shared.use((session) => passGap(session, spec, topic, gap))
    if (warning) log.warn({ err: warning, consumer: spec.id }, 'passing over a gap')
    return true
  }

  #ownership(): { owner: string; grace: number; patience: number } {
    return {
      owner: this.#parts.daemonId,
      grace: this.#parts.settings.takeoverGrace,
      patience: takeoverPatience,
    }
  }

  /** Stops the consumer, everywhere and until somebody begins it again. */
  async #fail(failure: Failure): Promise<void> {
    const { spec, shared, log } = this.#parts
    const { error, partition, offset } = failure
    log.error(
      { err: error, consumer: spec.id, topic: spec.topic, partition, offset: offset?.toString() },
      'stopped',
    )
    this.#assignment?.stop()
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
