// What a producer is told and what it tells: each record that it was given is acknowledged, refused or withheld, once.

import type { MillraceError } from '../errors.ts'
import type { Compression, OutgoingRecord } from './batch-writer.ts'
import type { PartitionQueue } from './partition-queue.ts'

export interface ProducerSettings {
  compression: Compression
  /** ms that a batch which is not full waits for more. */
  linger: number
  /** Bytes, before compression; a record that is larger is a batch of its own. */
  batchSize: number
  /** Bytes of memory for what waits or is under way, over all partitions. */
  buffer: number
  /** Milliseconds. */
  retry: { min: number; max: number }
  /** ms after which topics are looked up again, for new partitions. */
  metadataInterval: number
  /** ms for which a partition may take nothing before its topic waits and the others go on. */
  partitionPatience: number
}

export interface ProducerEvents {
  /** Whether anything may be sent now. */
  maySend(): boolean
  /** One batch is written. @param bytes before compression */
  acknowledged(tickets: number[], bytes: number): void
  /** The broker does not take this record. */
  refused(queue: PartitionQueue, record: OutgoingRecord, ticket: number, error: MillraceError): void
  /** No record of the topic can be written now. */
  topicRefused(topic: string, error: MillraceError): void
  /** Asked after either: whether a record has to wait with what was refused. Those are not sent. */
  mustWait(queue: PartitionQueue, record: OutgoingRecord, ticket: number): boolean
  withheld(topic: string, tickets: number[]): void
  /** Whether the record asked for its partition itself. */
  choseItsPartition(ticket: number): boolean
  /** Something is wrong that may pass. null: it has passed. */
  trouble(error: MillraceError | null): void
  /** The transaction cannot be committed, and this producer can do nothing more. */
  broken(error: MillraceError): void
}
