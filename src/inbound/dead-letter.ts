// A dead letter holds everything of a message that is needed to load it later: its bytes as they came, and
// why it failed. It is written by the daemon in the transaction that moves the position past it.

import type { ChunkPool } from '../formats/chunk-pool.ts'
import { ChunkWriter } from '../formats/chunk-writer.ts'
import type { WalkedRecord } from '../kafka/walked-record.ts'
import { byteaArray, copyHeader, copyTrailer, sized, timestamptz } from '../postgres/binary.ts'
import { identifier } from '../postgres/literal.ts'
import type { Session } from '../postgres/session.ts'
import type { ConsumerSpec } from './consumer.ts'
import { type FetchedSpan, Pace, tagStep, type WalkParts, walkAll } from './walk.ts'

/** A message that cannot be loaded, and why. */
export interface Reject {
  partition: number
  offset: bigint
  code: string
  /** Null where it is not PostgreSQL that refuses it. */
  sqlstate: string | null
  reason: string
}

const columns = [
  'consumer_id',
  'cluster',
  'topic',
  'partition',
  'offset',
  'timestamp',
  'key',
  'value',
  'headers',
  'code',
  'sqlstate',
  'message',
]

/** Lengths of nine fields, and partition, offset and timestamp. */
const fixedBytes = 9 * 4 + 4 + 8 + 8

/** Bytes that a unit of a string becomes at most. */
const longestUtf8 = 3

/** Those of one transaction. */
export class DeadLetters {
  readonly #parts: WalkParts & { pool: ChunkPool }
  readonly #pace = new Pace()
  readonly #out: ChunkWriter
  /** What all of them begin with. */
  readonly #start: Buffer
  readonly #words = new Map<string, Buffer>()
  #count = 0
  #viewed: Buffer | null = null
  #view: DataView = new DataView(new ArrayBuffer(0))
  #lastTimestamp = Number.NaN
  #lastMoment: bigint | null = null

  constructor({ id, cluster, topic }: ConsumerSpec, parts: WalkParts & { pool: ChunkPool }) {
    this.#parts = parts
    this.#out = new ChunkWriter(parts.pool)
    const consumer = Buffer.alloc(8)
    consumer.writeBigInt64BE(BigInt(id))
    const count = Buffer.alloc(2)
    count.writeInt16BE(columns.length)
    this.#start = Buffer.concat([count, ...[consumer, text(cluster), text(topic)].flatMap(sized)])
  }

  /** Walks the record batches of the rejects again for their bytes. @param spans that the rejects are in */
  async collect(rejects: Reject[], spans: FetchedSpan[]): Promise<void> {
    const ofPartition = Map.groupBy(rejects, ({ partition }) => partition)
    for (const [index, span] of spans.entries()) {
      const wanted = ofPartition.get(span.partition)
      if (wanted) await this.#collectFrom(span, index, wanted)
    }
  }

  /** Both the records and the rejects come in the order of their offsets. */
  async #collectFrom(span: FetchedSpan, index: number, ofPartition: Reject[]): Promise<void> {
    const wanted = ofPartition
      .filter(({ offset }) => offset >= span.from && offset < span.to)
      .sort((a, b) => (a.offset < b.offset ? -1 : 1))
    await this.#pace.keep()
    const tags = Float64Array.from(wanted, ({ offset }) => tagIn(span, index, offset))
    let next = 0
    const sink = {
      appendRecord: (record: WalkedRecord) => {
        while ((tags[next] as number) < record.tag) next++
        if (tags[next] === record.tag) this.#append(record, wanted[next++] as Reject)
      },
    }
    for (const batch of span.batches) {
      if (next >= tags.length) break
      if ((tags[next] as number) > tagIn(span, index, batch.lastOffset)) continue
      await walkAll(batch, span, index, this.#parts, this.#pace, sink)
    }
  }

  /** Writes what was collected with a COPY in the open transaction, as the daemon. */
  async write(session: Session): Promise<void> {
    if (this.#count === 0) return
    this.#room(copyTrailer.length)
    this.#bytes(copyTrailer)
    const chunks = this.#out.end()
    try {
      await session.copyIn(
        `COPY millrace.dead_letter (${columns.map(identifier).join(', ')}) FROM STDIN WITH (FORMAT binary)`,
        chunks,
      )
    } finally {
      this.#giveBack(chunks)
    }
  }

  /** Gives the memory back of what was collected and not written. */
  discard(): void {
    this.#giveBack(this.#out.end())
  }

  #giveBack(chunks: Buffer[]): void {
    for (const chunk of chunks.splice(0)) this.#parts.pool.give(chunk)
  }

  #append(record: WalkedRecord, { code, sqlstate, reason }: Reject): void {
    const headers = byteaArray(record.headers().flat())
    const [codeText, sqlstateText] = [this.#word(code), sqlstate === null ? null : this.#word(sqlstate)]
    const parts = record.keyEnd - record.keyStart + (record.valueEnd - record.valueStart) + headers.length
    const words = codeText.length + (sqlstateText?.length ?? 0) + longestUtf8 * reason.length
    this.#room(copyHeader.length + this.#start.length + fixedBytes + parts + words)
    if (this.#count++ === 0) this.#bytes(copyHeader)
    this.#bytes(this.#start)
    this.#int32(4)
    this.#int32(record.partition)
    this.#int64(record.offset)
    this.#moment(record.timestamp)
    this.#part(record.bytes, record.keyStart, record.keyEnd)
    this.#part(record.bytes, record.valueStart, record.valueEnd)
    this.#part(headers, 0, headers.length)
    this.#part(codeText, 0, codeText.length)
    if (sqlstateText) this.#part(sqlstateText, 0, sqlstateText.length)
    else this.#int32(-1)
    this.#text(reason)
  }

  /** There are few of them. */
  #word(value: string): Buffer {
    let bytes = this.#words.get(value)
    if (!bytes) this.#words.set(value, (bytes = text(value)))
    return bytes
  }

  #room(bytes: number): void {
    if (this.#out.limit - this.#out.position < bytes) this.#out.next(bytes)
  }

  #bytes(bytes: Buffer): void {
    this.#out.copy(bytes, 0, bytes.length)
  }

  #int32(value: number): void {
    this.#out.position = this.#out.chunk.writeInt32BE(value, this.#out.position)
  }

  /** Buffer's own method makes several numbers of one. */
  #int64(value: bigint): void {
    this.#int32(8)
    const { chunk, position } = this.#out
    if (chunk !== this.#viewed) {
      this.#viewed = chunk
      this.#view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    }
    this.#view.setBigInt64(position, value)
    this.#out.position += 8
  }

  /** Most records of a batch have the same one, or the next. */
  #moment(timestamp: number): void {
    if (timestamp !== this.#lastTimestamp) {
      this.#lastTimestamp = timestamp
      this.#lastMoment = timestamptz(timestamp)
    }
    if (this.#lastMoment === null) this.#int32(-1)
    else this.#int64(this.#lastMoment)
  }

  /** @param start negative: NULL */
  #part(bytes: Buffer, start: number, end: number): void {
    this.#int32(start < 0 ? -1 : end - start)
    if (start >= 0) this.#out.copy(bytes, start, end - start)
  }

  #text(value: string): void {
    const { chunk, position } = this.#out
    const length = chunk.write(withoutNul(value), position + 4)
    this.#int32(length)
    this.#out.position += length
  }
}

function tagIn(span: FetchedSpan, index: number, offset: bigint): number {
  return index * tagStep + Number(offset - span.from)
}

/** PostgreSQL's text has no place for it. */
function withoutNul(value: string): string {
  return value.includes('\0') ? value.replaceAll('\0', '�') : value
}

function text(value: string): Buffer {
  return Buffer.from(withoutNul(value))
}
