// Reads some partitions of one leader, for as long as they are there to read: sends a Fetch, hands over what came
// and sends the next before that is scanned. A loop ends with the reason; who started it decides what follows.

import { setTimeout } from 'node:timers/promises'
import { MillraceError } from '../errors.ts'
import { committedBatches } from '../kafka/committed.ts'
import type { FetchConnection } from '../kafka/connect.ts'
import { type FetchedPartition, fetch } from '../kafka/fetch.ts'
import { type RecordBatch, readRecordBatches } from '../kafka/record-batch.ts'
import type { ResponsePool } from '../kafka/response-pool.ts'
import type { Topic } from '../kafka/topic-client.ts'
import type { Handover } from './handover.ts'
import { type MemoryAccount, smallestReservation } from './memory-budget.ts'
import type { Meter } from './meter.ts'
import type { FetchedSpan } from './walk.ts'

/** Where reading stands in one partition; ahead of the stored position by what is in hand. */
export interface Reading {
  offset: bigint
  /** The leader epoch of the last batch read, or -1. */
  epoch: number
}

/** What one Fetch brought. */
export interface Fetched {
  spans: FetchedSpan[]
  /** Bytes reserved for it in the memory budget. */
  reserved: number
  /** What the spans' records are part of. */
  memory: Buffer[]
  /** Nothing more is there to read now, in any partition of this loop. */
  caughtUp: boolean
}

export interface Watermarks {
  partition: number
  low: bigint
  high: bigint
  lastStable: bigint
  /** When the broker said so, milliseconds of performance.now(). */
  seenAt: number
}

export interface FetchLoopOptions {
  fetchConnection: FetchConnection
  topic: Topic
  readings: Map<number, Reading>
  /** Milliseconds that the broker may wait for the first message, while messages come. */
  maxWait: number
  /** The same where nothing came for a while. */
  idleWait: number
  /** Bytes asked for at once, at the most. */
  maxBytes: number
  budget: MemoryAccount
  responses: ResponsePool
  handover: Handover<Fetched>
  meter: Meter
  onWatermarks: (marks: Watermarks) => void
  /** A response without any error came. */
  onHealthy: () => void
  /** The broker asks for so many milliseconds without a Fetch (KIP-219). */
  onThrottled: (milliseconds: number) => void
  signal: AbortSignal
}

/** Asks little while there is little to read, so that many idle consumers share a small budget. */
const smallestFetch = smallestReservation

/**
 * Bytes of a response that are around the records: what is asked for leaves room for them, because memory comes in powers
 * of two and a response that is slightly larger would take half as much again.
 */
function frameBytes(partitions: number): number {
  return Math.min(1024 + 128 * partitions, smallestFetch >> 1)
}

/** The leader moved, or the topic is gone: look at the metadata again. */
export class LeadershipMoved extends Error {}

const kafkaErrors = {
  offsetOutOfRange: 1,
  corruptMessage: 2,
  topicAuthorizationFailed: 29,
} as const

/**
 * Runs until the signal or an error.
 * @throws MillraceError offset-out-of-range, log-truncated, record-batch-corrupt, record-batch-unsupported,
 *   broker-authorization, message-too-large; LeadershipMoved; the client library's NetworkError and TimeoutError
 */
export async function fetchLoop(options: FetchLoopOptions): Promise<void> {
  const { fetchConnection, topic, readings, budget, handover, signal } = options
  // the broker fills a response in the order of the request: who was served goes to the end (KIP-41)
  let order = [...readings.keys()]
  const frame = frameBytes(readings.size)
  let size = smallestFetch
  // a record batch comes whole, whatever is asked for: where one was larger, the next one may be, too
  let expected = 0
  let isIdle = false
  while (!signal.aborted) {
    const granted = await budget.reserve(Math.max(size, Math.min(expected, budget.limit)), signal)
    size = Math.min(size, granted)
    let reserved = granted
    let memory: Buffer | null = null
    let throttle = 0
    try {
      const response = await fetch(fetchConnection.wire, fetchConnection.version, {
        topic: topic.name,
        topicId: topic.id,
        maxWait: isIdle ? options.idleWait : options.maxWait,
        minBytes: 1,
        maxBytes: size - frame,
        partitions: order.map((partition) => {
          const { offset, epoch } = readings.get(partition) as Reading
          const currentLeaderEpoch = topic.partitions[partition]?.leaderEpoch ?? -1
          return { partition, offset, currentLeaderEpoch, lastFetchedEpoch: epoch, maxBytes: size - frame }
        }),
      }).catch((error) => {
        throw atPosition(error, readings)
      })
      memory = response.memory
      options.meter.fetched(memory.length, response.throttle)
      throttle = response.throttle
      if (signal.aborted) return
      if (response.errorCode !== 0)
        throw new LeadershipMoved(`error ${response.errorCode} for the whole Fetch`)
      const { spans, bytes, caughtUp, problem } = take(response.partitions, options)
      budget.add(bytes - reserved)
      reserved = bytes
      if (spans.length > 0 && (await handover.push({ spans, reserved, memory: [memory], caughtUp }))) {
        reserved = 0
        memory = null
      }
      if (problem) throw problem
      options.onHealthy()
      const served = new Set(spans.map((span) => span.partition))
      order = [...order.filter((partition) => !served.has(partition)), ...served]
      expected = bytes > size ? bytes : 0
      isIdle = bytes === 0 && size === smallestFetch
      // what a quota holds back says nothing of how much there is
      if (throttle === 0)
        size = bytes * 2 >= size ? Math.min(size * 4, options.maxBytes) : Math.max(smallestFetch, size >> 1)
    } finally {
      budget.release(reserved)
      if (memory) options.responses.give(memory)
    }
    if (throttle > 0) await holdBack(throttle, options)
  }
}

/** Nothing is reserved and nothing held meanwhile. The broker reads nothing from the connection before, either. */
async function holdBack(milliseconds: number, options: FetchLoopOptions): Promise<void> {
  options.onThrottled(milliseconds)
  await setTimeout(milliseconds, undefined, { signal: options.signal }).catch(() => {})
}

interface Taken {
  spans: FetchedSpan[]
  /** Of their records. */
  bytes: number
  caughtUp: boolean
  /** What is wrong with one of the partitions; what came of the others is not lost by it. */
  problem: unknown
}

function take(partitions: FetchedPartition[], options: FetchLoopOptions): Taken {
  const taken: Taken = { spans: [], bytes: 0, caughtUp: true, problem: null }
  for (const fetched of partitions) {
    const reading = options.readings.get(fetched.partition)
    if (!reading) continue
    try {
      takePartition(fetched, reading, options, taken)
    } catch (error) {
      taken.problem ??= error
    }
  }
  return taken
}

function takePartition(
  fetched: FetchedPartition,
  reading: Reading,
  options: FetchLoopOptions,
  taken: Taken,
): void {
  checkPartition(fetched, reading, options.topic.name)
  options.onWatermarks({
    partition: fetched.partition,
    low: fetched.logStartOffset,
    high: fetched.highWatermark,
    lastStable: fetched.lastStableOffset,
    seenAt: performance.now(),
  })
  const span = spanOf(fetched, reading, options.topic.name)
  if (span) {
    taken.spans.push(span)
    taken.bytes += fetched.records.length
    reading.offset = span.to
    reading.epoch = span.leaderEpoch
  }
  if (reading.offset < fetched.lastStableOffset) taken.caughtUp = false
}

function spanOf(fetched: FetchedPartition, reading: Reading, topic: string): FetchedSpan | null {
  let batches: RecordBatch[]
  try {
    batches = readRecordBatches(fetched.records)
  } catch (error) {
    throw located(error, topic, fetched.partition)
  }
  // the broker sends whole batches: the first may begin before the offset that was asked for
  batches = batches.filter((batch) => batch.lastOffset >= reading.offset)
  const last = batches.at(-1)
  if (!last) return null
  return {
    partition: fetched.partition,
    from: reading.offset,
    to: last.lastOffset + 1n,
    leaderEpoch: last.leaderEpoch,
    batches: committedBatches(batches, fetched.aborted),
  }
}

function checkPartition(fetched: FetchedPartition, reading: Reading, topic: string): void {
  const facts = { topic, partition: fetched.partition, offset: reading.offset }
  if (fetched.diverging) {
    throw new MillraceError('log-truncated', { ...facts, offset: fetched.diverging.endOffset })
  }
  switch (fetched.errorCode) {
    case 0:
      return
    case kafkaErrors.offsetOutOfRange:
      throw new MillraceError('offset-out-of-range', facts)
    case kafkaErrors.corruptMessage:
      throw new MillraceError('record-batch-corrupt', facts)
    case kafkaErrors.topicAuthorizationFailed:
      throw new MillraceError('broker-authorization', facts)
    default:
      throw new LeadershipMoved(`error ${fetched.errorCode} for partition ${fetched.partition} of ${topic}`)
  }
}

/** A record batch may begin before the position; what cannot be read begins at the position. */
function atPosition(error: unknown, readings: Map<number, Reading>): unknown {
  if (!(error instanceof MillraceError)) return error
  const { partition } = error.facts as { partition?: number }
  const offset = readings.get(partition ?? -1)?.offset
  return offset === undefined ? error : error.with({ offset })
}

/** The same failure, with where it happened. */
function located(error: unknown, topic: string, partition: number): unknown {
  return error instanceof MillraceError ? error.with({ topic, partition }) : error
}
