// Membership of the consumer group, one time after another: each from finding the topic to leaving. What the group assigns
// meanwhile is read, one assignment after another; when it is over nothing is under way and the partitions are let go.

import { setTimeout } from 'node:timers/promises'
import { MillraceError } from '../errors.ts'
import type { ClusterAccess } from '../kafka/access.ts'
import { type GroupTimes, type Topic, TopicClient } from '../kafka/topic-client.ts'
import type { Logger } from '../log.ts'
import { unlessAborted } from '../pipeline/interruption.ts'
import { Assignment, type AssignmentParts, type SharedParts } from './assignment.ts'
import type { ClaimedPartition } from './claim.ts'
import type { Condition } from './condition.ts'
import type { ConsumerSpec } from './consumer.ts'
import { gapOf, passGap } from './gap.ts'
import { Mailbox } from './mailbox.ts'
import type { Meter } from './meter.ts'
import type { Failure, StreamEnd } from './stream-end.ts'
import { Changed, checkTopic, findStart, findTopic } from './topic-search.ts'

/** Milliseconds, all of them. */
export interface MembershipSettings {
  group: GroupTimes
  retry: { min: number; max: number }
  metadataInterval: number
  takeoverGrace: number
}

/** What a consumer is read with. */
export interface ConsumerParts extends SharedParts {
  spec: ConsumerSpec
  access: ClusterAccess
  /** The consumer group. */
  groupId: string
  /** The running server and database that this daemon loads into: members of others share no partitions with it. */
  instance: string
  daemonId: string
  settings: MembershipSettings
  meter: Meter
  log: Logger
}

type Reported = Pick<AssignmentParts, 'onLoaded' | 'onRejected' | 'onWatermarks' | 'onRetry'>

export interface MembershipParts extends ConsumerParts, Reported {
  condition: Condition
  /** What was assigned is being read. */
  onReading: () => void
  /** The consumer is to stop; the membership ends when this is done. */
  onFailed: (failure: Failure) => Promise<void>
  signal: AbortSignal
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

export class Membership {
  readonly #parts: MembershipParts
  #assignment: Assignment | null = null
  #mirroring: Promise<void> | null = null

  constructor(parts: MembershipParts) {
    this.#parts = parts
  }

  /** Where each partition stands that is read here now. */
  get positions(): ReadonlyMap<number, ClaimedPartition> {
    return this.#assignment?.positions ?? noPositions
  }

  /** @throws Changed, what ends the membership too early, the signal's AbortError */
  async run(): Promise<void> {
    const { access, spec, groupId, instance, settings, condition, log, signal } = this.#parts
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
        onMissing: (missing: MillraceError) => condition.wait('waiting-for-topic', missing),
        onLocating: () => condition.enter('locating'),
        signal,
      }
      const topic = await findTopic(search)
      await findStart(search, topic)
      await unlessAborted(client.join(), signal)
      await this.#attend(client, topic, mailbox)
    } finally {
      clearInterval(checking)
      await this.#endAssignment()
      await client.close()
    }
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

  /** Deals with what happens while the membership lasts. @throws what ends it */
  async #attend(client: TopicClient, topic: Topic, mailbox: Mailbox<Letter>): Promise<void> {
    const { spec, groupId, log, signal, onFailed } = this.#parts
    let assigned: number[] = []
    let incomplete = false
    const read = async () => {
      await this.#endAssignment()
      incomplete = await this.#startAssignment(client, topic, assigned, mailbox)
    }
    for (;;) {
      const letter = await mailbox.take(signal)
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
          throw new MillraceError('group-lost', { group: groupId, cause: letter.error })
        case 'check-topic':
          await unlessAborted(checkTopic(client, topic), signal)
          break
        case 'stream-ended':
          if (letter.end.reason === 'topic-gone') throw new Changed()
          if (letter.end.reason === 'target-changed') {
            log.info({ consumer: spec.id }, 'the relation has changed: looking at it again')
            await read()
          }
          if (letter.end.reason === 'failed') {
            if (await this.#passGap(topic, letter.end.failure)) {
              await read()
              break
            }
            this.#assignment?.stop()
            await onFailed(letter.end.failure)
            return
          }
          if (letter.end.reason === 'lost') {
            const lost = new MillraceError('position-lost', { topic: spec.topic })
            log.warn({ err: lost, consumer: spec.id }, 'letting go')
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
    const { spec, settings, condition, log, signal, onReading } = this.#parts
    this.#assignment = await Assignment.start(
      {
        ...this.#parts,
        client,
        topic,
        partitions,
        ownership: this.#ownership(),
        retry: settings.retry,
        onRecovered: () => condition.recover(),
        onThrottled: (milliseconds) => condition.throttled(milliseconds),
        onStreamEnd: (end) => mailbox.put({ kind: 'stream-ended', end }),
      },
      signal,
    )
    onReading()
    condition.recover()
    condition.enter('running')
    log.info(
      { consumer: spec.id, topic: spec.topic, into: `${spec.schema}.${spec.name}`, partitions },
      'reading',
    )
    return this.#assignment.isPartial
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
}
