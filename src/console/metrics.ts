// The one table of metrics: names, types, labels. A name is for ever: dashboards and alerts hang on it. Base units,
// counters end in `_total`; `process_...` are the names that every Prometheus client uses.
// https://prometheus.io/docs/practices/naming/

export interface Metric {
  name: string
  type: 'counter' | 'gauge' | 'histogram'
  /** Besides those of `per`. */
  labels?: readonly string[]
  /** Whose series they are: the daemon's, one for each cluster, each consumer, or each of its partitions. */
  per: 'daemon' | 'cluster' | 'consumer' | 'partition'
  help: string
}

export const metrics = {
  // The daemon
  buildInfo: {
    name: 'millrace_build_info',
    type: 'gauge',
    labels: ['version', 'node'],
    per: 'daemon',
    help: 'Always 1; the labels say which program runs.',
  },
  ready: {
    name: 'millrace_ready',
    type: 'gauge',
    per: 'daemon',
    help: '1 when /readyz answers 200, else 0.',
  },
  consumers: {
    name: 'millrace_consumers',
    type: 'gauge',
    labels: ['state'],
    per: 'daemon',
    help: 'Consumers in each state.',
  },
  reconciles: {
    name: 'millrace_reconciles_total',
    type: 'counter',
    per: 'daemon',
    help: 'How often what is wanted was compared with what runs.',
  },
  lastReconcile: {
    name: 'millrace_last_reconcile_timestamp_seconds',
    type: 'gauge',
    per: 'daemon',
    help: 'When that was done last; absent before the first time.',
  },
  sessionsInUse: {
    name: 'millrace_postgres_sessions_in_use',
    type: 'gauge',
    per: 'daemon',
    help: 'Loading connections to PostgreSQL that are loading now.',
  },
  sessionsOpen: {
    name: 'millrace_postgres_sessions_open',
    type: 'gauge',
    per: 'daemon',
    help: 'Loading connections that are open.',
  },
  sessionsWaiting: {
    name: 'millrace_postgres_sessions_waiting',
    type: 'gauge',
    per: 'daemon',
    help: 'Batches that wait for a loading connection.',
  },
  sessionsLimit: {
    name: 'millrace_postgres_sessions_limit',
    type: 'gauge',
    per: 'daemon',
    help: 'Most loading connections: database.maxConnections without the three that do not load.',
  },
  connects: {
    name: 'millrace_postgres_connects_total',
    type: 'counter',
    labels: ['use'],
    per: 'daemon',
    help: 'Connections to PostgreSQL that were opened: listener, control, relay or pump.',
  },
  connectFailures: {
    name: 'millrace_postgres_connect_failures_total',
    type: 'counter',
    labels: ['use'],
    per: 'daemon',
    help: 'Connections to PostgreSQL that could not be opened.',
  },
  budgetUsed: {
    name: 'millrace_memory_budget_used_bytes',
    type: 'gauge',
    per: 'daemon',
    help: 'Bytes fetched, decompressed and buffered now.',
  },
  budgetLimit: {
    name: 'millrace_memory_budget_limit_bytes',
    type: 'gauge',
    per: 'daemon',
    help: 'daemon.memoryBudget.',
  },
  batchMessages: {
    name: 'millrace_batch_messages',
    type: 'histogram',
    per: 'daemon',
    help: 'Messages in each committed batch.',
  },
  batchBytes: {
    name: 'millrace_batch_bytes',
    type: 'histogram',
    per: 'daemon',
    help: 'Bytes of the messages in each committed batch.',
  },
  batchSeconds: {
    name: 'millrace_batch_load_seconds',
    type: 'histogram',
    per: 'daemon',
    help: 'Seconds that each batch took in PostgreSQL, from its connection to COMMIT.',
  },
  loopDelayMedian: {
    name: 'millrace_event_loop_delay_p50_seconds',
    type: 'gauge',
    per: 'daemon',
    help: 'How late the event loop is: the median of the last one to two minutes.',
  },
  loopDelayHigh: {
    name: 'millrace_event_loop_delay_p99_seconds',
    type: 'gauge',
    per: 'daemon',
    help: 'The same, the 99th percentile.',
  },
  loopDelayMost: {
    name: 'millrace_event_loop_delay_max_seconds',
    type: 'gauge',
    per: 'daemon',
    help: 'The same, the longest.',
  },
  loopActive: {
    name: 'millrace_event_loop_active_seconds_total',
    type: 'counter',
    per: 'daemon',
    help: 'Seconds in which the event loop was busy; its rate is the part of one core that the loop takes.',
  },
  resident: {
    name: 'process_resident_memory_bytes',
    type: 'gauge',
    per: 'daemon',
    help: 'Memory that the process holds.',
  },
  cpu: {
    name: 'process_cpu_seconds_total',
    type: 'counter',
    per: 'daemon',
    help: 'Processor time of the process, all threads.',
  },
  started: {
    name: 'process_start_time_seconds',
    type: 'gauge',
    per: 'daemon',
    help: 'When the process started, seconds since 1970.',
  },

  // Sending
  leads: {
    name: 'millrace_outbox_leader',
    type: 'gauge',
    per: 'daemon',
    help: '1 for the daemon that sends the outbox, 0 for those that stand by.',
  },
  sendingState: {
    name: 'millrace_sending_state',
    type: 'gauge',
    labels: ['state', 'code'],
    per: 'cluster',
    help: 'Always 1: sending, retrying or standby, and the code of what hinders it.',
  },
  backlog: {
    name: 'millrace_outbox_backlog',
    type: 'gauge',
    per: 'cluster',
    help: 'Committed messages that are not sent, as counted last; only where this daemon sends, as the next four.',
  },
  oldestUnsent: {
    name: 'millrace_outbox_oldest_timestamp_seconds',
    type: 'gauge',
    per: 'cluster',
    help: 'Timestamp of the oldest of them; 0 when there is none.',
  },
  waiting: {
    name: 'millrace_outbox_waiting',
    type: 'gauge',
    per: 'cluster',
    help: 'Messages that are held up until somebody changes something.',
  },
  waitingKeys: {
    name: 'millrace_outbox_waiting_keys',
    type: 'gauge',
    per: 'cluster',
    help: 'Keys of these.',
  },
  outboxDeadLetters: {
    name: 'millrace_outbox_dead_letters',
    type: 'gauge',
    per: 'cluster',
    help: 'Messages that Kafka did not take and that are kept as dead letters (millrace.outbox_dead_letters).',
  },
  sentMessages: {
    name: 'millrace_messages_sent_total',
    type: 'counter',
    per: 'cluster',
    help: 'Messages that all in-sync replicas have written, repetitions included.',
  },
  sentBytes: {
    name: 'millrace_sent_bytes_total',
    type: 'counter',
    per: 'cluster',
    help: 'Bytes of their record batches, before compression.',
  },
  sentBatches: {
    name: 'millrace_sent_batches_total',
    type: 'counter',
    per: 'cluster',
    help: 'Record batches written.',
  },
  lastSent: {
    name: 'millrace_last_sent_timestamp_seconds',
    type: 'gauge',
    per: 'cluster',
    help: 'When the last of them was written; absent before the first one.',
  },
  sendRetries: {
    name: 'millrace_send_retries_total',
    type: 'counter',
    labels: ['code'],
    per: 'cluster',
    help: 'Tries to send that failed and are made again, by code.',
  },
  sendRefusals: {
    name: 'millrace_send_refusals_total',
    type: 'counter',
    labels: ['code'],
    per: 'cluster',
    help: 'How often Kafka did not take a message, or any of a topic, by code; each try counts.',
  },
  sentToDeadLetters: {
    name: 'millrace_send_dead_letters_total',
    type: 'counter',
    per: 'cluster',
    help: 'Messages that became dead letters of sending.',
  },

  // Snapshots of tables
  snapshots: {
    name: 'millrace_snapshots',
    type: 'gauge',
    labels: ['state'],
    per: 'daemon',
    help: 'Snapshots of tables that are not over, in each state, as counted last; every connected daemon tells all of them.',
  },
  snapshotBlocksDone: {
    name: 'millrace_snapshot_blocks_done',
    type: 'gauge',
    per: 'daemon',
    help: 'Blocks of their tables that are read, all of them together.',
  },
  snapshotBlocks: {
    name: 'millrace_snapshot_blocks',
    type: 'gauge',
    per: 'daemon',
    help: 'Blocks that are to be read, those that are read included.',
  },

  // Each consumer
  state: {
    name: 'millrace_consumer_state',
    type: 'gauge',
    labels: ['state', 'code'],
    per: 'consumer',
    help: 'Always 1: the one state that the consumer is in, and the code of what stopped it or hinders it.',
  },
  lag: {
    name: 'millrace_consumer_lag',
    type: 'gauge',
    per: 'consumer',
    help: 'Offsets between position and high watermark, over the partitions that this daemon reads.',
  },
  partitions: {
    name: 'millrace_consumer_partitions',
    type: 'gauge',
    per: 'consumer',
    help: 'Partitions that this daemon reads.',
  },
  messages: {
    name: 'millrace_messages_loaded_total',
    type: 'counter',
    per: 'consumer',
    help: 'Messages loaded and committed.',
  },
  skipped: {
    name: 'millrace_messages_skipped_total',
    type: 'counter',
    per: 'consumer',
    help: 'Messages passed over: tombstones, empty ones, and bad ones where on_error is skip.',
  },
  deadLetters: {
    name: 'millrace_dead_letters_total',
    type: 'counter',
    per: 'consumer',
    help: 'Messages put into millrace.dead_letter.',
  },
  transactionIds: {
    name: 'millrace_failing_transaction_ids_total',
    type: 'counter',
    per: 'consumer',
    help: 'Transaction ids that messages which could not be loaded have taken, at most: those of subtransactions.',
  },
  bytes: {
    name: 'millrace_loaded_bytes_total',
    type: 'counter',
    per: 'consumer',
    help: 'Bytes of the messages loaded.',
  },
  batches: {
    name: 'millrace_batches_total',
    type: 'counter',
    per: 'consumer',
    help: 'Batches committed.',
  },
  loadSeconds: {
    name: 'millrace_load_seconds_total',
    type: 'counter',
    per: 'consumer',
    help: 'Seconds that batches took in PostgreSQL, all of them together.',
  },
  lastLoad: {
    name: 'millrace_last_load_timestamp_seconds',
    type: 'gauge',
    per: 'consumer',
    help: 'When the last batch was committed; absent before the first one.',
  },
  retries: {
    name: 'millrace_retries_total',
    type: 'counter',
    labels: ['code', 'sqlstate_class'],
    per: 'consumer',
    help: "Tries that failed and are made again, by PostgreSQL's SQLSTATE class or by code.",
  },
  failures: {
    name: 'millrace_failures_total',
    type: 'counter',
    labels: ['code'],
    per: 'consumer',
    help: 'How often this daemon stopped the consumer, by code.',
  },
  fetches: {
    name: 'millrace_fetch_requests_total',
    type: 'counter',
    per: 'consumer',
    help: 'Fetch requests that a broker answered.',
  },
  fetchedBytes: {
    name: 'millrace_fetch_bytes_total',
    type: 'counter',
    per: 'consumer',
    help: 'Bytes of those answers, as sent: compressed, with keys and headers.',
  },
  throttle: {
    name: 'millrace_fetch_throttle_seconds_total',
    type: 'counter',
    per: 'consumer',
    help: 'Seconds for which brokers asked to hold back (quotas).',
  },
  fetchConnections: {
    name: 'millrace_fetch_connections_total',
    type: 'counter',
    per: 'consumer',
    help: 'Connections for fetching that were opened: growth is reconnecting.',
  },

  // Each partition
  partitionLag: {
    name: 'millrace_partition_lag',
    type: 'gauge',
    labels: ['partition'],
    per: 'partition',
    help: 'Offsets between position and high watermark; absent until a broker has told the latter.',
  },
  partitionPosition: {
    name: 'millrace_partition_position',
    type: 'gauge',
    labels: ['partition'],
    per: 'partition',
    help: 'The next offset to load.',
  },
} as const satisfies Record<string, Metric>
