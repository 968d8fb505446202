// A dead letter holds everything of a message that is needed to load it later: its bytes as they came, and
// why it failed. It is written by the daemon in the transaction that moves the position past it.
//
// COPY's binary format: https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-BINARY-FORMAT

import type { ChunkPool } from '../formats/chunk-pool.ts'
import { ChunkWriter } from '../formats/chunk-writer.ts'
import type { WalkedRecord } from '../kafka/walked-record.ts'
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

const copyHeader = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1')
const copyTrailer = Buffer.from([0xff, 0xff])

/** Of partition and offset, with their lengths. */
const fixedBytes = 4 + 4 + 4 + 8

/** The oid of type bytea. */
const byteaOid = 17

/** Milliseconds from 1970 to 2000, where PostgreSQL counts from; and to the year 275760, beyond which nobody counts. */
const epoch2000 = 946_684_800_000
const lastTimestamp = 8.64e15

/** Those of one transaction. */
export class DeadLetters {
  readonly #parts: WalkParts & { pool: ChunkPool }
  readonly #pace = new Pace()
  readonly #out: ChunkWriter
  /** What all of them begin with. */
  readonly #start: Buffer
  #count = 0

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
    const ordered = rejects.toSorted((a, b) => (a.offset < b.offset ? -1 : 1))
    for (const [index, span] of spans.entries()) {
      const own = ordered.filter(
        ({ partition, offset }) => partition === span.partition && offset >= span.from && offset < span.to,
      )
      let next = 0
      for (const batch of span.batches) {
        const wanted = new Map<number, Reject>()
        for (let reject = own[next]; reject && reject.offset <= batch.lastOffset; reject = own[++next])
          wanted.set(index * tagStep + Number(reject.offset - span.from), reject)
        if (wanted.size === 0) continue
        const sink = {
          appendRecord: (record: WalkedRecord) => {
            const reject = wanted.get(record.tag)
            if (reject) this.#append(record, reject)
          },
        }
        await walkAll(batch, span, index, this.#parts, this.#pace, sink)
      }
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
    const fields = [
      timestamp(record.timestamp),
      record.key(),
      record.value(),
      byteaArray(record.headers().flat()),
      text(code),
      sqlstate === null ? null : text(sqlstate),
      text(reason),
    ]
    const size = fields.reduce((sum, field) => sum + 4 + (field?.length ?? 0), fixedBytes)
    this.#room(copyHeader.length + this.#start.length + size)
    if (this.#count++ === 0) this.#bytes(copyHeader)
    this.#bytes(this.#start)
    this.#int32(4)
    this.#int32(record.partition)
    this.#int32(8)
    this.#out.position = this.#out.chunk.writeBigInt64BE(record.offset, this.#out.position)
    for (const field of fields) {
      this.#int32(field?.length ?? -1)
      if (field) this.#bytes(field)
    }
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
}

/** A field with its length before it. */
function sized(field: Buffer | null): Buffer[] {
  return field === null ? [int32(-1)] : [int32(field.length), field]
}

/** A NUL has no place in it. */
function text(value: string): Buffer {
  return Buffer.from(value.replaceAll('\0', '�'))
}

/** NULL where there is none. */
function timestamp(milliseconds: number): Buffer | null {
  if (milliseconds < 0 || milliseconds > lastTimestamp) return null
  return int64(BigInt(milliseconds - epoch2000) * 1000n)
}

/** Name, value, name, value; the value of a header may be NULL. */
function byteaArray(items: (Buffer | null)[]): Buffer {
  if (items.length === 0) return emptyArray
  // one dimension, whether any is NULL, their type, how many, and the number of the first
  const head = [1, items.includes(null) ? 1 : 0, byteaOid, items.length, 1].map(int32)
  return Buffer.concat([...head, ...items.flatMap(sized)])
}

const emptyArray = Buffer.concat([0, 0, byteaOid].map(int32))

function int32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeInt32BE(value)
  return bytes
}

function int64(value: bigint): Buffer {
  const bytes = Buffer.allocUnsafe(8)
  bytes.writeBigInt64BE(value)
  return bytes
}
