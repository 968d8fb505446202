// Where the sending stands, as Kafka has it: a message that is part of each transaction and so is committed with what it is
// the position of. The last one that is committed counts.

export interface KafkaPosition {
  /** Number of the batch; each later one has a higher number. */
  number: string
  /** No other batch of any database has it. */
  token: string
  /** Up to this id the batch is sent, or waits. */
  id: string
  /** Messages that waited and are part of this transaction. */
  retried: string[]
  /** Of the transactional id. */
  line: number
}

/** The one key of the topic. */
export const positionKey = Buffer.from('position')

/** One for each cluster of an installation: the last message is then the position. */
export function positionTopicName(installation: string, cluster: string): string {
  return `millrace.${installation}.${cluster}.position`
}

/**
 * Whoever sends for this cluster of this installation is one sender to Kafka.
 * @param line from 1; the next one where a transaction of the former one cannot end. No cluster has a colon in its name
 */
export function transactionalIdOf(installation: string, cluster: string, line: number): string {
  const id = `millrace.${installation}.${cluster}`
  return line === 1 ? id : `${id}:${line}`
}

export function encodePosition(position: KafkaPosition): Buffer {
  return Buffer.from(JSON.stringify(position))
}

/** @throws Error when it is none */
export function decodePosition(bytes: Buffer): KafkaPosition {
  const { number, token, id, retried, line } = JSON.parse(bytes.toString()) as KafkaPosition
  if (!Number.isSafeInteger(line)) throw new Error('no line')
  return {
    number: String(BigInt(number)),
    token: String(token),
    id: String(BigInt(id)),
    retried: retried.map((one) => String(BigInt(one))),
    line,
  }
}
