// What the console shows of the daemon, as the daemon hands it in: values that are in memory anyway. Reading any of
// them asks nobody, waits for nothing and changes nothing.

import type { Histogram } from './histogram.ts'

export interface DaemonView {
  /** What has to be so before the daemon does its work. */
  checks(): Check[]
  /** Every consumer that the database knows, whether it runs or not. */
  consumers(): ConsumerView[]
  /** Over all consumers: for each of them it would be too many series. */
  batches: { messages: Histogram; bytes: Histogram; seconds: Histogram }
  /** The connections that load. */
  sessions: { inUse: number; open: number; waiting: number; limit: number }
  connects: Iterable<{ use: string; opened: number; failed: number }>
  /** Bytes. */
  budget: { used: number; limit: number }
  /** What is sent to Kafka. */
  sending: SendingView
  /** Of tables; null: it is not known now. */
  snapshots: OpenSnapshots | null
  /** `at`: seconds since 1970; null before the first one. */
  reconciles: { count: number; at: number | null }
}

export interface Check {
  name: string
  ok: boolean
  /** Why not, as docs/errors.md has it, or an SQLSTATE. Never a message: this is shown to whoever asks. */
  code?: string
}

export interface ConsumerView {
  id: string
  cluster: string
  topic: string
  target: string
  state: string
  /** Of what stopped it or hinders it. */
  code: string | null
  counts: ConsumerCounts
  /** Those that this daemon reads now. */
  partitions(): Iterable<PartitionView>
}

export interface PartitionView {
  partition: number
  /** The next offset to load. */
  position: bigint
  /** Null until a broker has told it. */
  highWatermark: bigint | null
}

/** Since the daemon started. */
export interface ConsumerCounts {
  messages: number
  skipped: number
  deadLetters: number
  /** Taken by subtransactions, because of messages that could not be loaded. */
  transactionIds: number
  /** Of the values of loaded messages. */
  bytes: number
  batches: number
  loadSeconds: number
  /** Seconds since 1970. */
  lastLoad: number | null
  fetches: number
  fetchedBytes: number
  throttleSeconds: number
  fetchConnections: number
  retries: Iterable<{ code: string; sqlstateClass: string; count: number }>
  failures: Iterable<{ code: string; count: number }>
}

export interface SendingView {
  /** Whether this daemon is the one that sends the outbox. */
  leads: boolean
  clusters: ClusterSending[]
}

/** Whoever works on them; as they were counted last. */
export interface OpenSnapshots {
  states: [state: string, count: number][]
  blocksDone: number
  blocks: number
}

export interface ClusterSending {
  cluster: string
  state: 'sending' | 'retrying' | 'standby'
  /** Of what hinders it. */
  code: string | null
  counts: SendCounts
  /** As it was counted last; null while another daemon sends, or until it is counted. */
  backlog: {
    /** Committed and not sent. */
    messages: number
    /** Timestamp of the oldest one of them, seconds since 1970. */
    oldest: number | null
    /** Held up until somebody changes something. */
    waiting: number
    waitingKeys: number
    deadLetters: number
  } | null
}

/** Since the daemon started. */
export interface SendCounts {
  messages: number
  /** Before compression. */
  bytes: number
  /** Record batches. */
  batches: number
  /** Seconds since 1970. */
  lastSent: number | null
  retries: Iterable<[code: string, count: number]>
  refusals: Iterable<[code: string, count: number]>
  deadLetters: number
}
