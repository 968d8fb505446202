// Record batches as they lie in a broker's log, byte by byte: with gaps that compaction left, control batches and
// any base offset, none of which the client library's own writer makes.
import { type CompressionAlgorithmValue, compressionsAlgorithms, crc32c } from '../../src/kafka/library.ts'

export interface LoggedRecord {
  /** Counted from the batch's base offset. */
  delta: number
  key?: Buffer | null
  value: Buffer | null
  headers?: [Buffer, Buffer | null][]
  /** Milliseconds since 1970. */
  timestamp?: bigint
}

export interface LoggedBatch {
  baseOffset: bigint
  records: LoggedRecord[]
  /** Default: that of the last record. Compaction keeps it when that record is gone. */
  lastDelta?: number
  codec?: CompressionAlgorithmValue
  leaderEpoch?: number
  producerId?: bigint
  transactional?: boolean
  control?: boolean
  /** LogAppendTime, in milliseconds since 1970. */
  appended?: bigint
  /** What the header says, where that is not the truth. */
  announced?: number
  magic?: number
}

const codecs = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 } as const
export const firstTimestamp = 1_700_000_000_000n

export function batchBytes(batch: LoggedBatch): Buffer {
  const { records, codec = 'none' } = batch
  const plain = Buffer.concat(records.map(recordBytes))
  const payload = codec === 'none' ? plain : Buffer.from(compressionsAlgorithms[codec].compressSync(plain))
  const covered = Buffer.alloc(40)
  const attributes =
    codecs[codec] |
    (batch.transactional ? 1 << 4 : 0) |
    (batch.control ? 1 << 5 : 0) |
    (batch.appended === undefined ? 0 : 1 << 3)
  covered.writeInt16BE(attributes, 0)
  covered.writeInt32BE(batch.lastDelta ?? records.at(-1)?.delta ?? 0, 2)
  covered.writeBigInt64BE(firstTimestamp, 6)
  covered.writeBigInt64BE(batch.appended ?? maxTimestamp(records), 14)
  covered.writeBigInt64BE(batch.producerId ?? -1n, 22)
  covered.writeInt16BE(batch.producerId === undefined ? -1 : 0, 30)
  covered.writeInt32BE(-1, 32)
  covered.writeInt32BE(batch.announced ?? records.length, 36)
  const head = Buffer.alloc(21)
  head.writeBigInt64BE(batch.baseOffset, 0)
  head.writeInt32BE(9 + covered.length + payload.length, 8)
  head.writeInt32BE(batch.leaderEpoch ?? 0, 12)
  head.writeInt8(batch.magic ?? 2, 16)
  head.writeUInt32BE(crc32c(Buffer.concat([covered, payload])), 17)
  return Buffer.concat([head, covered, payload])
}

/** What ends a transaction: its only record says how. */
export function markerBytes(baseOffset: bigint, producerId: bigint, type: 'commit' | 'abort'): Buffer {
  const key = Buffer.from([0, 0, 0, type === 'commit' ? 1 : 0])
  const records = [{ delta: 0, key, value: Buffer.from([0, 0, 0, 0, 0, 0]) }]
  return batchBytes({ baseOffset, records, producerId, transactional: true, control: true })
}

function maxTimestamp(records: LoggedRecord[]): bigint {
  const timestamps = records.map(({ timestamp }) => timestamp ?? firstTimestamp)
  return timestamps.reduce((max, timestamp) => (timestamp > max ? timestamp : max), firstTimestamp)
}

/** By hand: the client library's writer takes a timestamp 25 days before the first one for another. */
function recordBytes({ delta, key, value, headers = [], timestamp = firstTimestamp }: LoggedRecord): Buffer {
  const body = Buffer.concat([
    Buffer.from([0]),
    varint(timestamp - firstTimestamp),
    varint(BigInt(delta)),
    part(key ?? null),
    part(value),
    varint(BigInt(headers.length)),
    ...headers.flatMap(([name, value]) => [part(name), part(value)]),
  ])
  return Buffer.concat([varint(BigInt(body.length)), body])
}

function part(bytes: Buffer | null): Buffer {
  return bytes === null ? varint(-1n) : Buffer.concat([varint(BigInt(bytes.length)), bytes])
}

function varint(value: bigint): Buffer {
  const bytes: number[] = []
  let left = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n))
  for (; left > 0x7fn; left >>= 7n) bytes.push(Number(left & 0x7fn) | 0x80)
  return Buffer.from([...bytes, Number(left)])
}
