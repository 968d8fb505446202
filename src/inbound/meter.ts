// What a consumer tells of its work while it does it. Whoever counts is called in the middle of the hot path, once
// for each batch or Fetch, and must neither wait nor throw.

import type { MillraceError } from '../errors.ts'

export interface LoadedCounts {
  messages: number
  skipped: number
  /** Of the values. */
  bytes: number
}

export interface Meter {
  /** A batch is committed. @param seconds from its connection to COMMIT */
  loaded(spans: Iterable<LoadedCounts>, seconds: number): void
  /**
   * Messages that could not be loaded were passed over.
   * @param kept as dead letters
   * @param transactionIds that subtransactions took because of them
   */
  rejected(messages: number, kept: boolean, transactionIds: number): void
  /** Something failed and is tried again. */
  retried(error: unknown): void
  /** The consumer is stopped. */
  failed(error: MillraceError): void
  /** A Fetch was answered. @param throttle milliseconds for which the broker asks to hold back */
  fetched(bytes: number, throttle: number): void
  /** A connection for fetching was opened. */
  connected(): void
}
