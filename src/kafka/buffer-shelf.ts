// Memory of record batches, used again: it would otherwise be garbage as fast as messages are sent. It comes in a few sizes,
// so that a batch which stays small does not hold what a full one needs. What is kept for later and what is in use have
// one bound together: where more is in use, nothing is kept.

/** Bytes of the smallest pieces; others are four times the next smaller ones. */
const smallest = 4 * 1024

export class BufferShelf {
  /** Bytes of each size, ascending. */
  readonly #sizes: number[] = []
  /** Of each size, what nobody has now. */
  readonly #idle: Buffer[][]
  readonly #most: number
  /** Bytes of what is kept here and of what others have. */
  #bytes = 0

  /** @param largest bytes of the largest pieces  @param most bytes up to which something is kept */
  constructor(largest: number, most: number) {
    // one that is nearly as large as the largest would save nothing
    for (let size = smallest; 2 * size < largest; size *= 4) this.#sizes.push(size)
    this.#sizes.push(largest)
    this.#idle = this.#sizes.map(() => [])
    this.#most = most
  }

  /** @returns at least so many bytes, with anything in them; it is to be given back */
  take(bytes: number): Buffer {
    const index = this.#sizes.findIndex((size) => size >= bytes)
    const kept = this.#idle[index]?.pop()
    if (kept) return kept
    const size = this.#sizes[index] ?? bytes
    this.#bytes += size
    this.#makeRoom()
    return Buffer.allocUnsafeSlow(size)
  }

  /** Nothing refers to it any more. */
  give(buffer: Buffer): void {
    const idle = this.#idle[this.#sizes.indexOf(buffer.length)]
    if (idle && this.#bytes <= this.#most) idle.push(buffer)
    else this.#bytes -= buffer.length
  }

  /** It does not come back: something may still refer to it. */
  forget(buffer: Buffer): void {
    this.#bytes -= buffer.length
  }

  /** Others are needed more than what is kept. */
  #makeRoom(): void {
    for (const [index, idle] of this.#idle.entries()) {
      while (this.#bytes > this.#most && idle.pop()) this.#bytes -= this.#sizes[index] as number
    }
  }
}
