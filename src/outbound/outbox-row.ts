// A row of the outbox as COPY ... (FORMAT binary) writes it. It is read in place: key, value and headers are parts of the
// bytes that came, and whoever keeps them longer than the bytes are valid copies them.
//
// Format: https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format"; arrays as array_send writes them

import type { OutgoingRecord } from '../kafka/batch-writer.ts'

/** In the order in which they are decoded. */
export const rowColumns = 'xid, id, partition, topic, key, value, headers, "timestamp"'

export interface OutboxRow extends OutgoingRecord {
  topic: string
  /** null: the key decides. */
  partition: number | null
  bytes: Buffer
  /** Where in `bytes` the 64 bits of the transaction's id and of the row's id are. */
  xidAt: number
  idAt: number
}

/** Signature, flags and an extension of no bytes come before the first row. */
const fileHeader = 19
/** The P of PGCOPY; a row begins with the number of its fields, whose first byte is 0. */
const signatureStart = 0x50

/** Milliseconds from 1970 to 2000, where PostgreSQL counts from. */
const epoch = 946_684_800_000

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
    this.#at = bytes[0] === signatureStart ? fileHeader : 0
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
    const headers = arrayOf(this.#field())
    headers.push(idHeader, Buffer.from(this.#prefix + idText(bytes, idAt), 'latin1'))
    const moment = this.#field() as Buffer
    const timestamp = Math.floor((moment.readInt32BE(0) * 2 ** 32 + moment.readUInt32BE(4)) / 1000) + epoch
    return { topic, partition, key, value, headers, timestamp, bytes, xidAt, idAt }
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

/** Dimensions, whether it has NULLs, the type; length and lower bound of the dimension; then the elements. */
function arrayOf(bytes: Buffer | null): (Buffer | null)[] {
  if (!bytes || bytes.readInt32BE(0) === 0) return []
  const elements: (Buffer | null)[] = []
  let at = 20
  for (let left = bytes.readInt32BE(12); left > 0; left--) {
    const length = bytes.readInt32BE(at)
    at += 4
    if (length < 0) elements.push(elements.length % 2 === 0 ? Buffer.alloc(0) : null)
    else elements.push(bytes.subarray(at, at + length))
    at += Math.max(0, length)
  }
  return elements
}
