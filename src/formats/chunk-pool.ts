// Chunks are used again, so that a steady stream allocates nothing: a chunk returns to the pool when everybody who
// held a part of it has given that part back, and never before. The pool keeps a bounded number of idle chunks.

/** Bytes of an ordinary chunk: large enough for one write to a socket, small enough to be examined in a millisecond. */
export const chunkBytes = 256 * 1024

export class ChunkPool {
  readonly #idle: Buffer[] = []
  readonly #idleLimit: number
  /** How many parts of an ordinary chunk are out, by its memory. */
  readonly #held = new WeakMap<ArrayBufferLike, number>()

  /** @param idleLimit bytes that are kept for later */
  constructor(idleLimit = 16 * 1024 * 1024) {
    this.#idleLimit = Math.ceil(idleLimit / chunkBytes)
  }

  /** Bytes of idle chunks. */
  get idle(): number {
    return this.#idle.length * chunkBytes
  }

  /** A chunk of 256 KiB, or of its own size for what does not fit into one. Its content is undefined. */
  take(minBytes: number): Buffer {
    if (minBytes > chunkBytes) return Buffer.allocUnsafeSlow(minBytes)
    const chunk = this.#idle.pop() ?? Buffer.allocUnsafeSlow(chunkBytes)
    this.#held.set(chunk.buffer, 1)
    return chunk
  }

  /** Another part of a chunk that is out: it must be given back too. */
  share(part: Buffer): Buffer {
    const parts = this.#held.get(part.buffer)
    if (parts !== undefined) this.#held.set(part.buffer, parts + 1)
    return part
  }

  /** Takes a chunk, or a part of one, back. What the pool did not hand out, or has back already, is ignored. */
  give(part: Buffer): void {
    const memory = part.buffer
    const parts = this.#held.get(memory)
    if (parts === undefined) return
    if (parts > 1) {
      this.#held.set(memory, parts - 1)
      return
    }
    this.#held.delete(memory)
    if (this.#idle.length < this.#idleLimit) this.#idle.push(Buffer.from(memory, 0, chunkBytes))
  }
}
