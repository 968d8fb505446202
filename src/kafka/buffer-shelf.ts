// Memory of record batches, used again: it would otherwise be garbage as fast as messages are sent. It comes in a few sizes,
// so that a batch which stays small does not hold what a full one needs.

/** Bytes of the smallest pieces; others are four times the next smaller ones. */
const smallest = 4 * 1024

export class BufferShelf {
  /** Bytes of each size, ascending. */
  readonly #sizes: number[] = []
  /** Of each size, what nobody has now. */
  readonly #idle: Buffer[][]
  readonly #most: number
  #idleBytes = 0

  /** @param largest bytes of the largest pieces  @param most bytes that are kept for later */
  constructor(largest: number, most: number) {
    // one that is nearly as large as the largest would save nothing
    for (let size = smallest; 2 * size < largest; size *= 4) this.#sizes.push(size)
    this.#sizes.push(largest)
    this.#idle = this.#sizes.map(() => [])
    this.#most = most
  }

  /** @returns at least so many bytes, with anything in them; more than the largest piece has are its own */
  take(bytes: number): Buffer {
    const index = this.#sizes.findIndex((size) => size >= bytes)
    const buffer = this.#idle[index]?.pop()
    if (!buffer) return Buffer.allocUnsafeSlow(this.#sizes[index] ?? bytes)
    this.#idleBytes -= buffer.length
    return buffer
  }

  /** Nothing refers to it any more. */
  give(buffer: Buffer): void {
    const idle = this.#idle[this.#sizes.indexOf(buffer.length)]
    if (!idle || this.#idleBytes + buffer.length > this.#most) return
    this.#idleBytes += buffer.length
    idle.push(buffer)
  }
}
