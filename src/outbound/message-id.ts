// What every message says of itself in a header: whose outbox it is from, and its id there; the same when it is sent again.
// It is written into the same memory for each message: as strings, ids would be remembered by the engine for a while, which
// is more than anything else that a message leaves behind.

export const idHeader = Buffer.from('millrace-id')

/** Decimal digits of 64 bits, at the most. */
const mostDigits = 20

/** Digits that fit into 31 bits. */
const digitsTogether = 9
const together = 10 ** digitsTogether

export class MessageId {
  readonly #bytes: Buffer
  readonly #prefix: number
  #text: Buffer

  /** @param installation the id of the installation whose outbox it is */
  constructor(installation: string) {
    const prefix = Buffer.from(`${installation}:`, 'latin1')
    this.#bytes = Buffer.concat([prefix, Buffer.alloc(mostDigits)])
    this.#prefix = prefix.length
    this.#text = this.#bytes
  }

  /** @param at where in `bytes` the 64 bits of the id are  @returns the header's value, valid until the next call */
  of(bytes: Buffer, at: number): Buffer {
    const high = bytes.readUInt32BE(at)
    const end =
      high > 0x1fffff
        ? this.#writeLong(bytes.readBigInt64BE(at))
        : this.#write(high * 2 ** 32 + bytes.readUInt32BE(at + 4))
    if (this.#text.length !== end) this.#text = this.#bytes.subarray(0, end)
    return this.#text
  }

  /** @param id of up to 53 bits  @returns where it ends */
  #write(id: number): number {
    const count = digitsOf(id)
    let end = this.#prefix + count
    let left = id
    // all but the first part have their leading zeros
    for (; left >= together; end -= digitsTogether) {
      const rest = Math.floor(left / together)
      this.#digits(left - rest * together, end, digitsTogether)
      left = rest
    }
    this.#digits(left, end, end - this.#prefix)
    return this.#prefix + count
  }

  #writeLong(id: bigint): number {
    return this.#prefix + this.#bytes.write(String(id), this.#prefix, 'latin1')
  }

  #digits(value: number, end: number, count: number): void {
    let left = value | 0
    for (let at = end - 1; at >= end - count; at--) {
      const rest = (left / 10) | 0
      this.#bytes[at] = 0x30 + left - rest * 10
      left = rest
    }
  }
}

function digitsOf(id: number): number {
  let count = 1
  for (let limit = 10; id >= limit; limit *= 10) count++
  return count
}
