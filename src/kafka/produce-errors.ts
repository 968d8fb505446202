// One table says what a broker's refusal of a batch means. What is not in it may pass: the same batch is sent again, to
// whoever leads the partition then.
//
// https://kafka.apache.org/protocol#protocol_error_codes

import { MillraceError } from '../errors.ts'

/**
 * `written`: it was there already; `message`: something about a message of the batch; `topic`: no message can be
 * written to the topic; `sender`: the broker does not know this sender's numbers any more; `retry`.
 */
export type ProduceVerdict = 'written' | 'message' | 'topic' | 'sender' | 'retry'

const verdicts: Record<number, ProduceVerdict> = {
  0: 'written',
  10: 'message', // MESSAGE_TOO_LARGE
  17: 'topic', // INVALID_TOPIC_EXCEPTION
  18: 'message', // RECORD_LIST_TOO_LARGE
  29: 'topic', // TOPIC_AUTHORIZATION_FAILED
  32: 'message', // INVALID_TIMESTAMP
  43: 'message', // UNSUPPORTED_FOR_MESSAGE_FORMAT
  44: 'message', // POLICY_VIOLATION
  45: 'sender', // OUT_OF_ORDER_SEQUENCE_NUMBER
  46: 'written', // DUPLICATE_SEQUENCE_NUMBER
  47: 'sender', // INVALID_PRODUCER_EPOCH
  48: 'sender', // INVALID_TXN_STATE
  49: 'sender', // INVALID_PRODUCER_ID_MAPPING
  59: 'sender', // UNKNOWN_PRODUCER_ID
  87: 'message', // INVALID_RECORD
  90: 'sender', // PRODUCER_FENCED
  120: 'sender', // TRANSACTION_ABORTABLE
}

export function produceVerdict(errorCode: number): ProduceVerdict {
  return verdicts[errorCode] ?? 'retry'
}

/**
 * Whether a batch for which the broker says that it may be sent again can have been written by the sending that it answers.
 * @param appended a leader that was replaced while it waited for its followers names the offset at which it wrote the batch
 */
export function mayBeWritten(errorCode: number, appended: boolean): boolean {
  return appended || !refusedBefore.has(errorCode)
}

/** What a broker says before it writes anything, or instead of saying that it did. */
const refusedBefore = new Set([
  3, // UNKNOWN_TOPIC_OR_PARTITION
  5, // LEADER_NOT_AVAILABLE
  6, // NOT_LEADER_OR_FOLLOWER
  9, // REPLICA_NOT_AVAILABLE
  19, // NOT_ENOUGH_REPLICAS
  74, // FENCED_LEADER_EPOCH
  75, // UNKNOWN_LEADER_EPOCH
  76, // UNSUPPORTED_COMPRESSION_TYPE
  100, // UNKNOWN_TOPIC_ID
])

const names: Record<number, string> = {
  5: 'the partition has no leader',
  6: 'the broker does not lead the partition any more',
  7: 'the replicas took too long',
  10: 'it is larger than the topic or the broker allows (max.message.bytes)',
  18: 'it is larger than a segment of the log',
  19: 'too few replicas are in sync (min.insync.replicas)',
  20: 'too few replicas are in sync (min.insync.replicas)',
  32: 'its timestamp is not within the bounds of the topic',
  44: 'a policy of the broker refuses it',
  53: 'this user may not use the transactional id',
  56: 'the broker cannot use its disk',
  87: 'the broker holds it for invalid, such as a message without a key in a compacted topic',
}

export function produceReason(errorCode: number, message: string | null): string {
  return names[errorCode] ?? message ?? `Kafka's error ${errorCode}`
}

/**
 * Whether what was refused may be part of the transaction although it must not be, or nothing more can be part of it.
 * @param uncertain whether an earlier sending may have been written
 */
export function breaksTransaction(verdict: ProduceVerdict, uncertain: boolean): boolean {
  return verdict === 'sender' || ((verdict === 'message' || verdict === 'topic') && uncertain)
}

/** @returns ms  @param failures in a row, over all partitions */
export function pauseAfter(failures: number, { min, max }: { min: number; max: number }): number {
  const pause = Math.min(max, min * 2 ** Math.min(20, Math.max(0, failures - 1)))
  return pause / 2 + (Math.random() * pause) / 2
}

export function notWritable(topic: string, cluster: string): MillraceError {
  return new MillraceError('topic-not-writable', { topic, cluster })
}

export function produceFailed(
  { topic, partition }: { topic: string; partition: number },
  cluster: string,
  errorCode: number,
  message: string | null,
): MillraceError {
  const reason = produceReason(errorCode, message)
  return new MillraceError('produce-failed', { topic, partition, cluster, reason })
}
