// Whole records as an encoder meets them: parts of one buffer, in one object that becomes each of them in turn.

import { ChunkPool } from '../../src/formats/chunk-pool.ts'
import type { Encoded, Format, Header, Message } from '../../src/formats/format.ts'

export interface Given {
  key?: string | Uint8Array | null
  value: string | Uint8Array | null
  headers?: [name: string | Uint8Array, value: string | Uint8Array | null][]
  timestamp?: number
  topic?: string
  partition?: number
  offset?: bigint
}

export function encodeRecords(format: Format, records: Given[], pool = new ChunkPool()): Encoded {
  const encoder = format.encoder(pool)
  appendRecords(encoder, records)
  return encoder.finish()
}

/** A record's tag is its index. */
export function appendRecords<Result>(
  encoder: { appendRecord(message: Message): Result },
  records: Given[],
): Result[] {
  const message: { -readonly [Name in keyof Message]: Message[Name] } = {} as Message
  return records.map((record, tag) => {
    const {
      key = null,
      value,
      headers = [],
      timestamp = -1,
      topic = 't',
      partition = 0,
      offset = 0n,
    } = record
    const parts = [between, key, between, value, between].map((part) =>
      part === null ? null : Buffer.from(part),
    )
    const bounds: [number, number][] = []
    let p = 0
    for (const part of parts) {
      bounds.push(part === null ? [-1, -1] : [p, p + part.length])
      p += part?.length ?? 0
    }
    Object.assign(message, {
      bytes: Buffer.concat(parts.filter((part) => part !== null)),
      keyStart: bounds[1]![0],
      keyEnd: bounds[1]![1],
      valueStart: bounds[3]![0],
      valueEnd: bounds[3]![1],
      headerCount: headers.length,
      timestamp,
      topic,
      partition,
      baseOffset: offset - 5n,
      delta: 5,
      tag,
      headers: () =>
        headers.map(
          ([name, value]): Header => [Buffer.from(name), value === null ? null : Buffer.from(value)],
        ),
    })
    return encoder.appendRecord(message)
  })
}

/** Bytes that would change the meaning of a neighbour that is read too far. */
const between = '"\\.\n\r{[,'
