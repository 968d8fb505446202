// One Fetch request and its response, as bytes: the records of a partition stay one buffer. Only what the
// pump needs is read; what else the response carries is skipped by its length.
//
// Versions 12 (topics by name) to 17 (topics by id, KIP-516) are spoken. The request carries the leader epoch
// of the last record read, so that a broker whose log was cut below it says so (KIP-320).

import { MillraceError } from '../errors.ts'
import type { AbortedTransaction } from './committed.ts'
import { Reader, Writer } from './library.ts'
import type { BatchPlace } from './record-batch.ts'
import { ResponseTooLarge } from './response-too-large.ts'
import type { Wire } from './wire.ts'

export interface FetchPartition {
  partition: number
  /** The next offset to read. */
  offset: bigint
  /** The leader's epoch as metadata gave it, or -1. */
  currentLeaderEpoch: number
  /** The epoch of the last record read before `offset`, or -1. */
  lastFetchedEpoch: number
  /** Bytes; the broker may send more when a single batch is larger (KIP-74). */
  maxBytes: number
}

export interface FetchRequest {
  topic: string
  /** 32 hexadecimal digits with dashes, as metadata gives it. */
  topicId: string
  partitions: FetchPartition[]
  /** Milliseconds that the broker may wait for `minBytes`. */
  maxWait: number
  minBytes: number
  maxBytes: number
}

export interface FetchedPartition {
  partition: number
  /** 0 or a Kafka error code: https://kafka.apache.org/protocol#protocol_error_codes */
  errorCode: number
  highWatermark: bigint
  lastStableOffset: bigint
  logStartOffset: bigint
  aborted: AbortedTransaction[]
  /** Record batches: a part of the response's memory. */
  records: Buffer
  /** Set when the leader's log differs from what was read: the epoch and its end offset there. */
  diverging: { epoch: number; endOffset: bigint } | null
}

export interface FetchResponse {
  /** A Kafka error code for the whole request. */
  errorCode: number
  /** Milliseconds for which the broker asks the client to hold back (KIP-219). */
  throttle: number
  partitions: FetchedPartition[]
  /** What the records are part of; back to its pool when nothing refers to them any more. */
  memory: Buffer
}

export const fetchApiKey = 1
const oldestFetchVersion = 12
export const newestFetchVersion = 17

const readCommitted = 1
const noBuffer = Buffer.alloc(0)

/** The newest version of Fetch that both sides speak, or null. */
export function chooseFetchVersion(minVersion: number, maxVersion: number): number | null {
  const version = Math.min(maxVersion, newestFetchVersion)
  return version >= Math.max(minVersion, oldestFetchVersion) ? version : null
}

/**
 * Sends a Fetch and waits for its response. Errors of single partitions are in the response.
 * @throws MillraceError message-too-large, with its place; what else Wire.request throws
 */
export async function fetch(wire: Wire, version: number, request: FetchRequest): Promise<FetchResponse> {
  try {
    return decodeFetch(version, await wire.request(fetchApiKey, version, encodeFetch(version, request)))
  } catch (error) {
    if (!(error instanceof ResponseTooLarge)) throw error
    const { limit, size } = error
    throw new MillraceError('message-too-large', { limit, size, ...firstRecords(version, error.head) })
  }
}

export function encodeFetch(version: number, request: FetchRequest): Writer {
  const writer = Writer.create()
  if (version < 15) writer.appendInt32(-1) // replica id: a consumer
  writer
    .appendInt32(request.maxWait)
    .appendInt32(request.minBytes)
    .appendInt32(request.maxBytes)
    .appendInt8(readCommitted)
    .appendInt32(0) // session id and epoch: 0 and -1 are a full fetch without a session (KIP-227)
    .appendInt32(-1)
  writer.appendArray([request], (w, topic) => {
    if (version < 13) w.appendString(topic.topic)
    else w.appendUUID(topic.topicId)
    w.appendArray(topic.partitions, (w, partition) => {
      w.appendInt32(partition.partition)
        .appendInt32(partition.currentLeaderEpoch)
        .appendInt64(partition.offset)
        .appendInt32(partition.lastFetchedEpoch)
        .appendInt64(-1n) // log start offset: only followers have one
        .appendInt32(partition.maxBytes)
    })
  })
  return writer
    .appendArray([], () => {})
    .appendString('')
    .appendTaggedFields()
}

export function decodeFetch(version: number, body: Buffer): FetchResponse {
  const reader = Reader.from(body)
  const partitions: FetchedPartition[] = []
  const { throttle, errorCode } = readPartitions(reader, version, () => {
    partitions.push(decodePartition(reader, body))
    return true
  })
  return { errorCode, throttle, partitions, memory: body }
}

/**
 * Where the first messages of a response stand: a broker sends more than it was asked for only for these (KIP-74).
 * @param head the beginning of a response  @returns null when they do not begin in it
 */
function firstRecords(version: number, head: Buffer): BatchPlace | null {
  const reader = Reader.from(head)
  let place: BatchPlace | null = null
  try {
    readPartitions(reader, version, () => {
      const { partition, size } = decodePartitionHead(reader)
      if (size <= 0) skipTags(reader)
      else place = { partition, offset: head.readBigInt64BE(reader.position) }
      return place === null
    })
  } catch (error) {
    if (!(error instanceof RangeError || (error as { code?: string }).code === outOfBounds)) throw error
  }
  return place
}

/** What the reader says when it comes to the end. */
const outOfBounds = 'PLT_KFK_OUT_OF_BOUNDS'

/** @param each reads a partition; false ends the reading */
function readPartitions(
  reader: Reader,
  version: number,
  each: () => boolean,
): { throttle: number; errorCode: number } {
  const throttle = reader.readInt32()
  const errorCode = reader.readInt16()
  reader.readInt32() // session id
  for (let topics = reader.readUnsignedVarInt() - 1; topics > 0; topics--) {
    if (version < 13) reader.readString()
    else reader.readUUID()
    for (let count = reader.readUnsignedVarInt() - 1; count > 0; count--) {
      if (!each()) return { throttle, errorCode }
    }
    skipTags(reader)
  }
  return { throttle, errorCode }
}

/** What comes before a partition's records, and how many bytes these have. */
function decodePartitionHead(
  reader: Reader,
): Omit<FetchedPartition, 'records' | 'diverging'> & { size: number } {
  const partition = reader.readInt32()
  const errorCode = reader.readInt16()
  const highWatermark = reader.readInt64()
  const lastStableOffset = reader.readInt64()
  const logStartOffset = reader.readInt64()
  const aborted: AbortedTransaction[] = []
  const abortedCount = reader.readUnsignedVarInt() - 1
  for (let i = 0; i < abortedCount; i++) {
    aborted.push({ producerId: reader.readInt64(), firstOffset: reader.readInt64() })
    skipTags(reader)
  }
  reader.readInt32() // preferred read replica: none is asked for
  const size = reader.readUnsignedVarInt() - 1
  return { partition, errorCode, highWatermark, lastStableOffset, logStartOffset, aborted, size }
}

function decodePartition(reader: Reader, body: Buffer): FetchedPartition {
  const { size, ...head } = decodePartitionHead(reader)
  let records: Buffer = noBuffer
  if (size > 0) {
    records = body.subarray(reader.position, reader.position + size)
    reader.skip(size)
  }
  let diverging: FetchedPartition['diverging'] = null
  readTags(reader, (tag) => {
    if (tag !== 0) return
    diverging = { epoch: reader.readInt32(), endOffset: reader.readInt64() }
  })
  return { ...head, records, diverging }
}

/** Tagged fields (KIP-482): count, then tag, size and bytes of each. Unknown ones are skipped by their size. */
function readTags(reader: Reader, take: (tag: number) => void): void {
  for (let left = reader.readUnsignedVarInt(); left > 0; left--) {
    const tag = reader.readUnsignedVarInt()
    const end = reader.readUnsignedVarInt() + reader.position
    take(tag)
    reader.skip(end - reader.position)
  }
}

function skipTags(reader: Reader): void {
  readTags(reader, () => {})
}
