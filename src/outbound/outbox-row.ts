// A row of the outbox as COPY ... (FORMAT binary) writes it. It is read in place: key, value and headers are parts of the
// bytes that came, and whoever keeps them longer than the bytes are valid copies them.

import type { OutgoingRecord } from '../kafka/batch-writer.ts'
import { byteaItems, copyHeader, timestampOf } from '../postgres/binary.ts'

/** Bytes that no broker takes in one request: it would close the connection without a word (socket.request.max.bytes). */
const largestMessage = 95 * 1024 * 1024

/** Names and values. */
const mostHeaders = 20_000

const bytes = `coalesce(pg_catalog.octet_length(key), 0)::bigint + coalesce(pg_catalog.octet_length(value), 0)
  + CASE WHEN headers IS NULL THEN 0 WHEN pg_catalog.cardinality(headers) > ${mostHeaders} THEN ${largestMessage} + 1 ELSE
    (SELECT coalesce(sum(10 + coalesce(pg_catalog.octet_length(h), 0)), 0) FROM pg_catalog.unnest(headers) AS h) END`

/**
 * The rows of a table, in the order in which they are decoded. A message that could never be sent comes without its bytes.
 * The size is asked for once (OFFSET 0 keeps it from being put in each place where it is used): headers make it dear.
 */
export function rowsOf(table: string): string {
  return `SELECT xid, id, partition, topic,
    CASE WHEN pg_catalog.octet_length(key) <= ${largestMessage} THEN key END AS key,
    CASE WHEN fits THEN value END AS value, CASE WHEN fits THEN headers END AS headers,
    "timestamp", CASE WHEN NOT fits THEN true END AS too_large
  FROM ${table}, LATERAL (SELECT ${bytes} <= ${largestMessage} AS fits OFFSET 0) AS size`
}

export interface OutboxRow extends OutgoingRecord {
  topic: string
  /** null: the key decides. */
  partition: number | null
  bytes: Buffer
  /** Where in `bytes` the 64 bits of the transaction's id and of the row's id are. */
  xidAt: number
  idAt: number
  /** It has more bytes than any broker takes, and none of them here. */
  tooLarge: boolean
}

/** The header in which every message carries whose it is; the same when it is sent again. */
const idHeader = Buffer.from('millrace-id')

export class RowReader {
  readonly #prefix: string
  #bytes: Buffer = Buffer.alloc(0)
  #at = 0
  #lastTopic = ''
  #lastTopicBytes: Buffer = Buffer.alloc(0)

  /** @param installation the id of the installation whose outbox it is */
  constructor(installation: string) {
    this.#prefix = `${installation}:`
  }

  /** @returns null for the end */
  read(bytes: Buffer): OutboxRow | null {
    this.#bytes = bytes
    // a row begins with the number of its fields, whose first byte is 0
    this.#at = bytes[0] === copyHeader[0] ? copyHeader.length : 0
    const start = this.#at
    if (bytes.readInt16BE(start) < 0) return null
    // count of fields, then length and bytes of each
    const xidAt = start + 6
    const idAt = start + 18
    this.#at = start + 26
    const partition = this.#field()?.readInt32BE() ?? null
    const topic = this.#topic(this.#field() as Buffer)
    const key = this.#field()
    const value = this.#field()
    const headers = headersOf(this.#field())
    headers.push(idHeader, Buffer.from(this.#prefix + idText(bytes, idAt), 'latin1'))
    const timestamp = timestampOf(this.#field() as Buffer)
    const tooLarge = this.#field() !== null
    return { topic, partition, key, value, headers, timestamp, bytes, xidAt, idAt, tooLarge }
  }

  #field(): Buffer | null {
    const length = this.#bytes.readInt32BE(this.#at)
    this.#at += 4
    if (length < 0) return null
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }

  /** Neighbours mostly have the same one. */
  #topic(bytes: Buffer): string {
    if (!bytes.equals(this.#lastTopicBytes)) {
      this.#lastTopicBytes = Buffer.from(bytes)
      this.#lastTopic = bytes.toString()
    }
    return this.#lastTopic
  }
}

/** Of up to 53 bits a number prints faster. */
function idText(bytes: Buffer, at: number): string {
  const high = bytes.readUInt32BE(at)
  if (high > 0x1fffff) return String(bytes.readBigInt64BE(at))
  return String(high * 2 ** 32 + bytes.readUInt32BE(at + 4))
}

/** Of a header the value may be null, the name may not. */
function headersOf(bytes: Buffer | null): (Buffer | null)[] {
  if (!bytes) return []
  return byteaItems(bytes).map((item, i) => (item === null && i % 2 === 0 ? Buffer.alloc(0) : item))
}
