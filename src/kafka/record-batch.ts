// A record batch is described by its 61-byte header and never by objects for its records: a batch is
// walked, checked and skipped by header alone. Offsets are bigint here, once a batch, so that they stay
// exact past 2^53; within a batch they are 32-bit deltas.
//
// Format: https://kafka.apache.org/documentation/#recordbatch

import { createRequire } from 'node:module'
import { MillraceError } from '../errors.ts'
import { crc32c as portableCrc32c } from './library.ts'

const headerSize = 61
/** Bytes before the field that batchLength counts from: baseOffset and batchLength itself. */
const lengthPrefix = 12
const crcCoversFrom = 21

const codecMask = 0b111
const appendTimeBit = 1 << 3
const transactionalBit = 1 << 4
const controlBit = 1 << 5

export interface RecordBatch {
  readonly baseOffset: bigint
  /** The last offset that the batch stands for, also where compaction has removed its record. */
  readonly lastOffset: bigint
  readonly leaderEpoch: number
  /** 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd */
  readonly codec: number
  readonly transactional: boolean
  readonly control: boolean
  readonly producerId: bigint
  /** Milliseconds since 1970, of the first record; -1: none. Records have their distance from it. */
  readonly baseTimestamp: number
  readonly maxTimestamp: number
  /** `append` (LogAppendTime): the broker wrote `maxTimestamp` when it took the batch, and that is every record's. */
  readonly timestampType: 'create' | 'append'
  readonly records: number
  /** What follows the header, compressed as `codec` says. */
  readonly payload: Buffer
}

/** Where a batch stands, for an error. */
export interface BatchPlace {
  partition: number
  offset: bigint
}

export const crc32c = fastCrc32c()

/** The native CRC is thirty times faster than the portable one; it is optional, as its package is. */
function fastCrc32c(): (bytes: Buffer) => number {
  try {
    return createRequire(import.meta.url)('@node-rs/crc32').crc32c
  } catch {
    return portableCrc32c
  }
}

/**
 * Lists the complete record batches in the records of a Fetch response. A broker may cut the last one
 * short: what is incomplete is left out and comes again with the next Fetch. So is a batch that cannot be
 * read, unless it is the first: what precedes it is good.
 * @throws MillraceError record-batch-corrupt, record-batch-unsupported
 */
export function readRecordBatches(records: Buffer): RecordBatch[] {
  const batches: RecordBatch[] = []
  let at = 0
  while (records.length - at >= headerSize) {
    const end = at + lengthPrefix + records.readInt32BE(at + 8)
    if (end > records.length) break
    try {
      batches.push(readRecordBatch(records, at, end))
    } catch (error) {
      if (batches.length === 0) throw error
      break
    }
    at = end
  }
  return batches
}

function readRecordBatch(bytes: Buffer, at: number, end: number): RecordBatch {
  const baseOffset = bytes.readBigInt64BE(at)
  const magic = bytes.readInt8(at + 16)
  if (magic !== 2) throw new MillraceError('record-batch-unsupported', { magic, offset: baseOffset })
  if (
    end - at < headerSize ||
    crc32c(bytes.subarray(at + crcCoversFrom, end)) !== bytes.readUInt32BE(at + 17)
  ) {
    throw new MillraceError('record-batch-corrupt', { offset: baseOffset })
  }
  const attributes = bytes.readInt16BE(at + 21)
  return {
    baseOffset,
    lastOffset: baseOffset + BigInt(bytes.readInt32BE(at + 23)),
    leaderEpoch: bytes.readInt32BE(at + 12),
    codec: attributes & codecMask,
    transactional: (attributes & transactionalBit) !== 0,
    control: (attributes & controlBit) !== 0,
    producerId: bytes.readBigInt64BE(at + 43),
    baseTimestamp: Number(bytes.readBigInt64BE(at + 27)),
    maxTimestamp: Number(bytes.readBigInt64BE(at + 35)),
    timestampType: (attributes & appendTimeBit) !== 0 ? 'append' : 'create',
    records: bytes.readInt32BE(at + 57),
    payload: bytes.subarray(at + headerSize, end),
  }
}
