// What the relay tells of its work, for whoever watches it.

export interface RelayMeter {
  /** Whether this daemon is the one that sends. */
  leads(now: boolean): void
  of(cluster: string): ClusterMeter
}

export interface ClusterMeter {
  /** One record batch is written. @param bytes before compression */
  sent(messages: number, bytes: number): void
  /** Kafka does not take a message, or any of a topic. */
  refused(code: string): void
  /** So many messages became dead letters. */
  deadLettered(messages: number): void
  /** A try that failed and is made again. */
  retried(code: string): void
  /** What was wrong is over. */
  recovered(): void
}
