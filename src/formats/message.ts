// A record as an encoder meets it that wants more than the value: parts of one buffer and a few numbers. One object
// stands for all the records of a batch, one after the other: what is needed later has to be copied.

export interface Message {
  readonly bytes: Buffer
  /** The key is bytes[keyStart, keyEnd); a start of -1: there is none (null). */
  readonly keyStart: number
  readonly keyEnd: number
  /** The value is bytes[valueStart, valueEnd); a start of -1: it is null, the message a tombstone. */
  readonly valueStart: number
  readonly valueEnd: number
  readonly headerCount: number
  /** Milliseconds since 1970, as the topic's message.timestamp.type says: of the producer or of the broker; negative: none. */
  readonly timestamp: number
  readonly topic: string
  readonly partition: number
  /** The offset is `baseOffset + BigInt(delta)`: exact, and no bigint for each record. */
  readonly baseOffset: bigint
  readonly delta: number
  /** A number that the caller maps back to an offset. */
  readonly tag: number
  /** Decoded at the call. The buffers are parts of `bytes`. */
  headers(): Header[]
}

/** Kafka calls the name a string, and a producer may write any bytes; the value is bytes or null. */
export type Header = [name: Buffer, value: Buffer | null]
