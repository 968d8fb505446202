// Messages as an encoder meets them: slices of one buffer, with bytes between them that must never be looked at.
import { ChunkPool } from '../../src/formats/chunk-pool.ts'
import { createFormat } from '../../src/formats/create-format.ts'
import type { Column, ColumnType, Encoded, Format, FormatOptions } from '../../src/formats/format.ts'

export type Message = string | Uint8Array

/** Bytes that would change the meaning of a neighbour that is read too far. */
const between = Buffer.from('"\\.\n\r{[,')

export function column(name: string, type: ColumnType = 'other', hasDefault = false): Column {
  return { name, type, hasDefault }
}

/** Into public.t, which has the columns a and b unless `relation` says otherwise, on PostgreSQL 18. */
export function formatOf(options: Partial<FormatOptions> & { relation?: Column[] }): Format {
  const { relation = [column('a', 'text'), column('b', 'text')], ...rest } = options
  return createFormat({
    format: 'text',
    delimiter: null,
    quote: null,
    escape: null,
    encoding: null,
    serverVersion: 180000,
    target: { schema: 'public', name: 't', columns: relation },
    ...rest,
  })
}

const ownPool = new ChunkPool()

/** A message's tag is its index, plus `firstTag`. The chunks are the caller's, unless a pool is given. */
export function encode(format: Format, messages: Message[], pool?: ChunkPool, firstTag = 0): Encoded {
  const encoder = format.encoder(pool ?? ownPool)
  const parts = messages.flatMap((message) => [between, Buffer.from(message)])
  const bytes = Buffer.concat(parts)
  let p = 0
  for (const [i, part] of parts.entries()) {
    if (i % 2 === 1) encoder.append(bytes, p, p + part.length, firstTag + (i - 1) / 2)
    p += part.length
  }
  const encoded = encoder.finish()
  if (pool) return encoded
  const segments = encoded.segments.map(({ columns, chunks }) => ({ columns, chunks: chunks.map(takeOver) }))
  return { ...encoded, segments }
}

function takeOver(chunk: Buffer): Buffer {
  const copy = Buffer.from(chunk)
  ownPool.give(chunk)
  return copy
}

/** The bytes of all segments. */
export function bytesOf({ segments }: Encoded): Buffer {
  return Buffer.concat(segments.flatMap((segment) => segment.chunks))
}

/** What becomes of the messages: the bytes, or the code of the first bad one. */
export function outcome(format: Format, ...messages: Message[]): string {
  const encoded = encode(format, messages)
  return encoded.bad ? `${encoded.bad.code} in ${encoded.bad.tag}` : bytesOf(encoded).toString('latin1')
}
