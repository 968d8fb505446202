// Values and rows as COPY ... (FORMAT binary) reads and writes them, as far as the daemon moves any.
//
// Format: https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-BINARY-FORMAT; values as the types' send
// and receive functions have them

/** What comes before the first row: signature, flags, and an extension of no bytes. */
export const copyHeader = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1')

/** What comes after the last row. */
export const copyTrailer = Buffer.from([0xff, 0xff])

/** The oid of type bytea. */
const byteaOid = 17

/** Milliseconds from 1970 to 2000, where PostgreSQL counts from. */
const epoch = 946_684_800_000

/** Milliseconds to the year 275760, beyond which nobody counts. */
const lastTimestamp = 8.64e15

/** @param timestamp ms since 1970  @returns microseconds since 2000; NULL for what is no time */
export function timestamptz(timestamp: number): bigint | null {
  if (timestamp < 0 || timestamp > lastTimestamp) return null
  return BigInt(timestamp - epoch) * 1000n
}

/** @param at where in `bytes` a timestamptz is  @returns ms since 1970 */
export function timestampOf(bytes: Buffer, at = 0): number {
  return Math.floor((bytes.readInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4)) / 1000) + epoch
}

/** A bytea[] of one dimension. */
export function byteaArray(items: (Buffer | null)[]): Buffer {
  if (items.length === 0) return emptyArray
  // one dimension, whether any is NULL, their type, how many, and the number of the first
  const head = [1, items.includes(null) ? 1 : 0, byteaOid, items.length, 1].map(int32)
  return Buffer.concat([...head, ...items.flatMap(sized)])
}

const emptyArray = Buffer.concat([0, 0, byteaOid].map(int32))

/** The elements of a bytea[] of one dimension, as parts of `bytes`. */
export function byteaItems(bytes: Buffer): (Buffer | null)[] {
  if (bytes.readInt32BE(0) === 0) return []
  const items: (Buffer | null)[] = []
  let at = 20
  for (let left = bytes.readInt32BE(12); left > 0; left--) {
    const length = bytes.readInt32BE(at)
    at += 4
    items.push(length < 0 ? null : bytes.subarray(at, at + length))
    at += Math.max(0, length)
  }
  return items
}

/** A field with its length before it. */
export function sized(field: Buffer | null): Buffer[] {
  return field === null ? [int32(-1)] : [int32(field.length), field]
}

function int32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeInt32BE(value)
  return bytes
}
