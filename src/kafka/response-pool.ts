// Memory for large responses, used again and again: what a Fetch brings would otherwise be garbage of hundreds of
// megabytes a second, and collecting it holds the event loop for longer than all the scanning.

/** Bytes. Smaller responses are not worth keeping. */
const smallestKept = 32 * 1024
const largestKept = 16 * 1024 * 1024

export class ResponsePool {
  readonly #idle = new Map<number, Buffer[]>()
  readonly #limit: number
  /** Bytes; a response that is larger is refused. */
  readonly largest: number
  #idleBytes = 0

  /** @param limit bytes that are kept for later  @param largest bytes that a response may have */
  constructor(limit: number, largest: number) {
    this.#limit = limit
    this.largest = largest
  }

  /** A buffer of exactly `size` bytes, to be given back when nothing refers to it any more. */
  take(size: number): Buffer {
    if (size < smallestKept || size > largestKept) return Buffer.allocUnsafeSlow(size)
    const capacity = capacityFor(size)
    const kept = this.#idle.get(capacity)?.pop()
    if (kept) this.#idleBytes -= capacity
    return (kept ?? Buffer.allocUnsafeSlow(capacity)).subarray(0, size)
  }

  give(buffer: Buffer): void {
    const capacity = buffer.buffer.byteLength
    if (capacity < smallestKept || capacity > largestKept || capacity !== capacityFor(capacity)) return
    if (this.#idleBytes + capacity > this.#limit) return
    const kept = this.#idle.get(capacity)
    const whole = Buffer.from(buffer.buffer)
    if (kept) kept.push(whole)
    else this.#idle.set(capacity, [whole])
    this.#idleBytes += capacity
  }
}

/** Powers of two, and the steps half-way between them. */
function capacityFor(size: number): number {
  let capacity = smallestKept
  while (capacity < size) {
    if (capacity * 1.5 >= size) return capacity * 1.5
    capacity *= 2
  }
  return capacity
}
