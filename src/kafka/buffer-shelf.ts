// Memory of full record batches, used again: it would otherwise be garbage as fast as messages are sent.

export class BufferShelf {
  /** Bytes of each. */
  readonly size: number
  readonly #most: number
  readonly #idle: Buffer[] = []

  /** @param most bytes that are kept for later */
  constructor(size: number, most: number) {
    this.size = size
    this.#most = Math.max(1, Math.floor(most / size))
  }

  take(): Buffer {
    return this.#idle.pop() ?? Buffer.allocUnsafeSlow(this.size)
  }

  /** Nothing refers to it any more. */
  give(buffer: Buffer): void {
    if (buffer.length === this.size && this.#idle.length < this.#most) this.#idle.push(buffer)
  }
}
