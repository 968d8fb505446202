// A message that was kept, as the record batch that it once was part of: what reads a topic reads it again.
//
// Record format: https://kafka.apache.org/documentation/#record (varints are zigzag)

import type { RecordBatch } from './record-batch.ts'

export interface StoredMessage {
  offset: bigint
  /** Milliseconds since 1970; negative: none. */
  timestamp: number
  key: Buffer | null
  value: Buffer | null
  /** Name, value, name, value, and so on. */
  headers: (Buffer | null)[]
}

/** A batch of that one record. */
export function recordBatchOf(message: StoredMessage): RecordBatch {
  return {
    baseOffset: message.offset,
    lastOffset: message.offset,
    leaderEpoch: -1,
    codec: 0,
    transactional: false,
    control: false,
    producerId: -1n,
    baseTimestamp: message.timestamp,
    maxTimestamp: message.timestamp,
    timestampType: 'create',
    records: 1,
    payload: encodeRecord(message),
  }
}

function encodeRecord({ key, value, headers }: StoredMessage): Buffer {
  const noAttributes = Buffer.from([0])
  const [timestampDelta, offsetDelta] = [varint(0), varint(0)]
  const parts = [
    noAttributes,
    timestampDelta,
    offsetDelta,
    ...field(key),
    ...field(value),
    varint(headers.length / 2),
  ]
  for (const part of headers) parts.push(...field(part))
  const body = Buffer.concat(parts)
  return Buffer.concat([varint(body.length), body])
}

function field(bytes: Buffer | null): Buffer[] {
  return bytes === null ? [varint(-1)] : [varint(bytes.length), bytes]
}

function varint(value: number): Buffer {
  let left = value < 0 ? -value * 2 - 1 : value * 2
  const bytes: number[] = []
  for (; left >= 0x80; left = Math.floor(left / 0x80)) bytes.push((left % 0x80) | 0x80)
  return Buffer.from([...bytes, left])
}
