// A response that is larger than may be held. Its beginning says whose messages they are.

/** The connection that it came from is closed. */
export class ResponseTooLarge extends Error {
  /** Bytes that it has. */
  readonly size: number
  /** Bytes that it may have. */
  readonly limit: number
  /** Its beginning, without the header. */
  readonly head: Buffer

  constructor(size: number, limit: number, head: Buffer) {
    super(`a response of ${size} bytes`)
    this.size = size
    this.limit = limit
    this.head = head
  }
}
