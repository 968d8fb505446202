// One Produce request and its response, as bytes: record batches are sent as they were written.
// Versions 9 to 12 are spoken (flexible, topics by name: Kafka 2.8 and later).

import { Reader, Writer } from './library.ts'

export interface ProducedBatch {
  topic: string
  partition: number
  bytes: Buffer
}

export interface ProduceOutcome {
  topic: string
  partition: number
  /** 0 or a Kafka error code: https://kafka.apache.org/protocol#protocol_error_codes */
  errorCode: number
  message: string | null
  /** The leader wrote it, whatever came of that afterwards. */
  appended: boolean
}

export const produceApiKey = 0
const oldestVersion = 9
const newestVersion = 12
/** From 12 on a transaction takes partitions in by itself, and ends otherwise than is spoken here (KIP-890). */
export const newestTransactionalVersion = 11
const allInSyncReplicas = -1

/** The newest version of Produce that both sides speak, or null. */
export function chooseProduceVersion(minVersion: number, maxVersion: number): number | null {
  const version = Math.min(maxVersion, newestVersion)
  return version >= Math.max(minVersion, oldestVersion) ? version : null
}

/** @param timeout ms that the leader may wait for its followers  @param transactionalId null: in no transaction */
export function encodeProduce(
  batches: ProducedBatch[],
  timeout: number,
  transactionalId: string | null,
): Writer {
  const byTopic = [...Map.groupBy(batches, ({ topic }) => topic)]
  return Writer.create()
    .appendString(transactionalId)
    .appendInt16(allInSyncReplicas)
    .appendInt32(timeout)
    .appendArray(byTopic, (topics, [topic, parts]) => {
      topics.appendString(topic).appendArray(parts, (partitions, { partition, bytes }) => {
        partitions
          .appendInt32(partition)
          .appendUnsignedVarInt(bytes.length + 1)
          .append(bytes)
      })
    })
    .appendTaggedFields()
}

export function decodeProduce(body: Buffer): { outcomes: ProduceOutcome[]; throttle: number } {
  const reader = Reader.from(body)
  const outcomes: ProduceOutcome[] = []
  for (let topics = reader.readUnsignedVarInt() - 1; topics > 0; topics--) {
    const topic = reader.readString()
    for (let count = reader.readUnsignedVarInt() - 1; count > 0; count--) {
      outcomes.push(decodePartition(reader, topic))
    }
    skipTags(reader)
  }
  return { outcomes, throttle: reader.readInt32() }
}

function decodePartition(reader: Reader, topic: string): ProduceOutcome {
  const partition = reader.readInt32()
  const errorCode = reader.readInt16()
  const baseOffset = reader.readInt64()
  reader.skip(16) // time of appending, start of the log
  let message: string | null = null
  for (let left = reader.readUnsignedVarInt() - 1; left > 0; left--) {
    reader.readInt32()
    message ??= reader.readNullableString()
    skipTags(reader)
  }
  message = reader.readNullableString() ?? message
  skipTags(reader)
  return { topic, partition, errorCode, message, appended: baseOffset >= 0n }
}

function skipTags(reader: Reader): void {
  for (let left = reader.readUnsignedVarInt(); left > 0; left--) {
    reader.readUnsignedVarInt()
    reader.skip(reader.readUnsignedVarInt())
  }
}
