// A row of the outbox as COPY ... (FORMAT binary) writes it. It is read in place: key, value and headers are parts of the
// bytes that came, and whoever keeps them longer than the bytes are valid copies them.

import type { OutgoingRecord } from '../kafka/batch-writer.ts'
import { byteaItems, copyHeader, timestampOf } from '../postgres/binary.ts'
import { idHeader, MessageId } from './message-id.ts'

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

export class RowReader {
  readonly #id: MessageId
  /** Of a message that brings none. */
  readonly #headers: Buffer[]
  #bytes: Buffer = Buffer.alloc(0)
  #at = 0
  #lastTopic = ''
  #lastTopicBytes: Buffer = Buffer.alloc(0)

  /** @param installation the id of the installation whose outbox it is */
  constructor(installation: string) {
    this.#id = new MessageId(installation)
    this.#headers = [idHeader, idHeader]
  }

  /** @returns null for the end; what it refers to is valid until the next one is read */
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
    const partition = this.#partition()
    const topic = this.#topic()
    const key = this.#field()
    const value = this.#field()
    const headers = this.#headersWith(this.#id.of(bytes, idAt))
    const timestamp = this.#timestamp()
    const tooLarge = this.#length() >= 0
    return { topic, partition, key, value, headers, timestamp, bytes, xidAt, idAt, tooLarge }
  }

  /** Of the field; negative: NULL. */
  #length(): number {
    this.#at += 4
    return this.#bytes.readInt32BE(this.#at - 4)
  }

  #field(): Buffer | null {
    const length = this.#length()
    if (length < 0) return null
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }

  #partition(): number | null {
    if (this.#length() < 0) return null
    this.#at += 4
    return this.#bytes.readInt32BE(this.#at - 4)
  }

  #timestamp(): number {
    this.#at += 4 + 8
    return timestampOf(this.#bytes, this.#at - 8)
  }

  /** Neighbours mostly have the same one. */
  #topic(): string {
    const length = this.#length()
    const start = this.#at
    this.#at += length
    const last = this.#lastTopicBytes
    if (length !== last.length || last.compare(this.#bytes, start, this.#at) !== 0) {
      this.#lastTopicBytes = Buffer.from(this.#bytes.subarray(start, this.#at))
      this.#lastTopic = this.#lastTopicBytes.toString()
    }
    return this.#lastTopic
  }

  #headersWith(id: Buffer): (Buffer | null)[] {
    const bytes = this.#field()
    if (bytes) return [...headersOf(bytes), idHeader, id]
    this.#headers[1] = id
    return this.#headers
  }
}

/** Of a header the value may be null, the name may not. */
function headersOf(bytes: Buffer): (Buffer | null)[] {
  return byteaItems(bytes).map((item, i) => (item === null && i % 2 === 0 ? Buffer.alloc(0) : item))
}
