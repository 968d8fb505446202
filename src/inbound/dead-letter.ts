// A message that cannot be loaded is kept with everything that is needed to load it later: its bytes as they came, and
// why it failed. It is written by the daemon in the transaction that moves the position past it.

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

/** Writes them with a COPY in the open transaction, as the daemon. @param rejects in any order */
export async function writeDeadLetters(
  session: Session,
  spec: ConsumerSpec,
  rejects: Reject[],
  spans: FetchedSpan[],
  parts: WalkParts & { pool: ChunkPool },
): Promise<void> {
  if (rejects.length === 0) return
  const letters = new Letters(parts.pool, spec)
  const chunks = await letters.collect(rejects, spans, parts)
  try {
    await session.copyIn(
      `COPY millrace.dead_letter (${columns.map(identifier).join(', ')}) FROM STDIN WITH (FORMAT text, ENCODING 'UTF8')`,
      chunks,
    )
  } finally {
    for (const chunk of chunks) parts.pool.give(chunk)
  }
}

class Letters {
  readonly #out: ChunkWriter
  readonly #start: string

  constructor(pool: ChunkPool, { id, cluster, topic }: ConsumerSpec) {
    this.#out = new ChunkWriter(pool)
    this.#start = `${id}\t${text(cluster)}\t${text(topic)}\t`
  }

  /** Walks the spans again for the records. */
  async collect(rejects: Reject[], spans: FetchedSpan[], parts: WalkParts): Promise<Buffer[]> {
    const pace = new Pace()
    for (const [index, span] of spans.entries()) {
      const wanted = new Map<number, Reject>()
      for (const reject of rejects) {
        if (reject.partition !== span.partition || reject.offset < span.from || reject.offset >= span.to)
          continue
        wanted.set(index * tagStep + Number(reject.offset - span.from), reject)
      }
      if (wanted.size === 0) continue
      const sink = {
        appendRecord: (record: WalkedRecord) => {
          const reject = wanted.get(record.tag)
          if (reject) this.#write(record, reject)
        },
      }
      for (const batch of span.batches) {
        if (batch.baseOffset >= span.to) break
        await walkAll(batch, span, index, parts, pace, sink)
      }
    }
    return this.#out.end()
  }

  #write(record: WalkedRecord, { code, sqlstate, reason }: Reject): void {
    const timestamp = record.timestamp < 0 ? '\\N' : new Date(record.timestamp).toISOString()
    const parts = [
      `${this.#start}${record.partition}\t${record.offset}\t${timestamp}\t`,
      bytea(record.key()),
      '\t',
      bytea(record.value()),
      '\t',
      headersArray(record),
      `\t${text(code)}\t${sqlstate ?? '\\N'}\t${text(reason)}\n`,
    ]
    const out = this.#out
    for (const part of parts) {
      const room = part.length * 3
      if (out.limit - out.position < room) out.next(room)
      out.position += out.chunk.write(part, out.position, 'utf8')
    }
  }
}

function bytea(bytes: Buffer | null): string {
  return bytes === null ? '\\N' : `\\\\x${bytes.toString('hex')}`
}

/** bytea[]: name, value, name, value; the value of a header may be NULL. */
function headersArray(record: WalkedRecord): string {
  const items = record
    .headers()
    .flat()
    .map((part) => (part === null ? 'NULL' : `"\\\\\\\\x${part.toString('hex')}"`))
  return `{${items.join(',')}}`
}

/** For COPY's text format; a NUL has no place in it. */
function text(value: string): string {
  return value.replaceAll('\0', '�').replaceAll(/[\\\t\n\r]/g, (c) => escapes[c] as string)
}

const escapes: Record<string, string> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' }
