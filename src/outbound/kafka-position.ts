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
}

/** The one key of the topic. */
export const positionKey = Buffer.from('position')

/** One for each cluster of an installation: the last message is then the position. */
export function positionTopicName(installation: string, cluster: string): string {
  return `millrace.${installation}.${cluster}.position`
}

/** Whoever sends for this cluster of this installation is one sender to Kafka. */
export function transactionalIdOf(installation: string, cluster: string): string {
  return `millrace.${installation}.${cluster}`
}

export function encodePosition(position: KafkaPosition): Buffer {
  return Buffer.from(JSON.stringify(position))
}

/** @throws Error when it is none */
export function decodePosition(bytes: Buffer): KafkaPosition {
  const { number, token, id, retried } = JSON.parse(bytes.toString()) as KafkaPosition
  return {
    number: String(BigInt(number)),
    token: String(token),
    id: String(BigInt(id)),
    retried: retried.map((one) => String(BigInt(one))),
  }
}
