// Every failure that a user can meet has one stable code, and every code stands in this table: where it is
// raised, what it says, what to do. docs/errors.md and the SQL files are compared with it by a test.

/** Who raises a code: the program (daemon and command line), the schema's functions, or either. */
export type ErrorOrigin = 'daemon' | 'sql' | 'both'

export interface ErrorEntry {
  origin: ErrorOrigin
  /** `{fact}` stands for a fact; a part in brackets is left out when one of its facts is missing. */
  message: string
  hint: string
}

const daemonCodes = {
  // Starting
  usage: {
    origin: 'daemon',
    message: '{reason}',
    hint: 'Run `millrace help` or `millrace COMMAND --help`.',
  },
  'config-invalid': {
    origin: 'daemon',
    message: 'the configuration cannot be used[:\n{problems}]',
    hint: 'Every setting, its type and its default are in docs/configuration.md.',
  },
  'http-listen-failed': {
    origin: 'daemon',
    message: 'the address of http.listen cannot be served[: {address}][: {reason}]',
    hint: 'Give MILLRACE_HTTP_LISTEN another port, or an address of this machine; or end what uses it.',
  },
  'database-unreachable': {
    origin: 'daemon',
    message: 'PostgreSQL cannot be reached[ at {database}][: {reason}]',
    hint: 'Check that the server runs and that DATABASE_URL names the right host, port, database and user.',
  },
  'database-refused': {
    origin: 'daemon',
    message: 'PostgreSQL refused a statement of millrace itself[: {reason}][ ({sqlstate})]',
    hint: 'The role may lack a right, or the schema may be of another version: try millrace install.',
  },
  'schema-missing': {
    origin: 'both',
    message: 'the schema millrace is not installed in this database',
    hint: 'Install it with: millrace install --database URL',
  },
  'schema-older': {
    origin: 'both',
    message: 'the schema millrace is at version {installed}, this program needs version {needed}',
    hint: 'Upgrade it with: millrace install --database URL',
  },
  'schema-newer': {
    origin: 'daemon',
    message: 'the schema millrace is at version {installed}, this program knows versions up to {needed}',
    hint: 'Upgrade this program to the version that installed the schema, or a later one.',
  },
  'schema-taken': {
    origin: 'daemon',
    message:
      'there is a schema millrace in this database that millrace did not make[: it belongs to {owner}]',
    hint: 'Rename or drop it, or use another database.',
  },
  'uninstall-blocked': {
    origin: 'daemon',
    message: 'something of yours needs what would be removed[: {reason}]',
    hint: 'Drop or change it first. Nothing was removed.',
  },
  'dialect-missing': {
    origin: 'daemon',
    message: 'the dialect[ {dialect}] is not in this database, or an older one is',
    hint: 'millrace install --dialect NAME installs it; millrace pg2kafka does so with PERFORM_MIGRATIONS=true.',
  },
  'extension-files-unwritable': {
    origin: 'daemon',
    message: 'the extension files cannot be written[ to {folder}][: {reason}]',
    hint: 'Run it as a user who may write there; the directory is that of `pg_config --sharedir`, with /extension.',
  },
  'not-daemon-role': {
    origin: 'daemon',
    message: 'role[ {role}] may not run the daemon[: the schema millrace belongs to {owner}]',
    hint: 'Connect as the role that owns the schema millrace, or as a member of it.',
  },
  'identity-changed': {
    origin: 'daemon',
    message: 'this database is not the one that was recorded[: {reason}]',
    hint: 'Say which it is: millrace adopt --moved (the original, after a restore, a rename or an upgrade) or millrace adopt --clone (a copy beside the original).',
  },
  'server-changed': {
    origin: 'daemon',
    message: 'another PostgreSQL server answered than the one that the daemon listens on',
    hint: 'Nothing has to be done: it was restarted or failed over, and the daemon begins anew on the server that answers.',
  },
  'server-standby': {
    origin: 'daemon',
    message: 'the PostgreSQL server is a standby in recovery, where nothing can be loaded',
    hint: 'The daemon goes on when it is promoted or the address leads to the primary; check DATABASE_URL if that is not to come.',
  },
  'pooler-transaction-mode': {
    origin: 'daemon',
    message:
      'a pooler in transaction or statement mode stands between millrace and PostgreSQL[ at {database}]',
    hint: 'LISTEN, temporary tables, session settings and advisory locks need a session: give the direct address of the server, or a pool in session mode.',
  },
  'takeover-failed': {
    origin: 'daemon',
    message: 'the former owner could not be ended[ of topic {topic}][ partition {partition}][: {reason}]',
    hint: 'The daemon needs the right to end its own sessions (pg_terminate_backend). It tries again by itself.',
  },

  // Kafka
  'kafka-unreachable': {
    origin: 'daemon',
    message: 'Kafka cannot be reached[: cluster {cluster}][ at {brokers}][: {reason}]',
    hint: 'Check the brokers of the cluster and the network. The daemon tries again by itself.',
  },
  'broker-error': {
    origin: 'daemon',
    message: 'the broker answers with an error[: cluster {cluster}][: {reason}]',
    hint: 'The number is one of https://kafka.apache.org/protocol#protocol_error_codes. The daemon tries again by itself.',
  },
  'broker-authentication': {
    origin: 'daemon',
    message: 'the broker refused the credentials[ of cluster {cluster}][: {reason}]',
    hint: 'Check the tls and sasl settings of the cluster (docs/configuration.md), then restart the daemon.',
  },
  'broker-authorization': {
    origin: 'daemon',
    message:
      'the broker does not let this user read[ topic {topic}][ with group {group}][ of cluster {cluster}][: {reason}]',
    hint: 'Grant READ and DESCRIBE on the topic and READ on the consumer group (kafka-acls).',
  },
  'topic-missing': {
    origin: 'daemon',
    message: 'the topic[ {topic}] does not exist[ in cluster {cluster}]',
    hint: 'Create the topic. A consumer then reads it from its beginning; messages for it wait and are sent then.',
  },
  // Sending
  'topic-not-writable': {
    origin: 'daemon',
    message: 'the broker does not let this user write to the topic[ {topic}][ of cluster {cluster}]',
    hint: 'Grant WRITE and DESCRIBE on the topic (kafka-acls). Its messages wait and are sent then.',
  },
  'target-partition-missing': {
    origin: 'daemon',
    message: 'the topic[ {topic}] has no partition[ {partition}]: it has {count}',
    hint: 'Add partitions to the topic; its messages wait and are sent then.',
  },
  'message-refused': {
    origin: 'daemon',
    message: 'the broker does not take the message[ for {topic}][, partition {partition}][: {reason}]',
    hint: 'Change the topic (max.message.bytes, cleanup.policy) so that it does; the message and those of its key wait.',
  },
  'snapshot-failed': {
    origin: 'daemon',
    message: 'rows of a table could not be sent[: {reason}][ ({sqlstate})]',
    hint: 'millrace.snapshots shows it until it is over: it is tried again, at least every 30 s.',
  },
  'sending-denied': {
    origin: 'daemon',
    message: 'the broker lets this user write to no topic[ of cluster {cluster}]',
    hint: 'Grant WRITE and DESCRIBE on the topics (kafka-acls); the daemon asks again by itself.',
  },
  'produce-failed': {
    origin: 'daemon',
    message: 'messages could not be written[ to {topic}][, partition {partition}][: {reason}]',
    hint: 'Usually a leader is changing or replicas are missing; the daemon tries again by itself.',
  },
  'partition-unavailable': {
    origin: 'daemon',
    message:
      'partition {partition} of topic {topic} in cluster {cluster} has taken nothing for long[: {reason}]',
    hint: 'The messages of the topic wait, other topics go on. Look at the brokers; it is tried again by itself.',
  },
  'lease-expired': {
    origin: 'daemon',
    message: 'this daemon may not send: it has not renewed its lease in time',
    hint: 'PostgreSQL did not answer, or the process was stopped. Whoever holds the lease goes on by itself.',
  },
  'transaction-lost': {
    origin: 'daemon',
    message: 'a Kafka transaction could not be committed[: cluster {cluster}][: {reason}]',
    hint: 'None of its messages counts. The daemon begins anew from what Kafka has committed, by itself.',
  },
  'transaction-held': {
    origin: 'daemon',
    message:
      'Kafka cannot end a transaction[: transactional id {id}][, cluster {cluster}][: still to be told are {places}]',
    hint: 'A partition of it takes nothing, not even that it is over: look at its leader and replicas. After a while the daemon goes on without that topic.',
  },
  'transaction-refused': {
    origin: 'daemon',
    message:
      'the broker does not let this user send in transactions[: transactional id {id}][, cluster {cluster}]',
    hint: 'Grant WRITE and DESCRIBE on the transactional id (kafka-acls), or choose at_least_once for the cluster.',
  },
  'position-topic-denied': {
    origin: 'daemon',
    message:
      'the broker does not let this user {operation} the topic that keeps the position[: {topic}][, cluster {cluster}]',
    hint: 'Grant CREATE, READ, WRITE and DESCRIBE on the topic (kafka-acls), or choose at_least_once for the cluster.',
  },
  'outbox-position-ahead': {
    origin: 'daemon',
    message: 'Kafka has more of the outbox than this database knows of[: cluster {cluster}][: {reason}]',
    hint: 'The database was set back, or another one sends under its name. Say what to do: SELECT millrace.resume_outbox(cluster, unsent) with send or skip.',
  },
  'outbox-position-missing': {
    origin: 'daemon',
    message: 'Kafka does not know how far the outbox is sent[: cluster {cluster}][: {reason}]',
    hint: "The topic of the outbox's position was deleted or set back, or these are other brokers. Say what to do: SELECT millrace.resume_outbox(cluster, unsent) with send or skip.",
  },
  'topic-recreated': {
    origin: 'daemon',
    message:
      'the topic[ {topic}] was deleted and created again: its offsets are not the ones that were saved',
    hint: 'Begin the consumer again with an explicit start_offset.',
  },
  'leader-missing': {
    origin: 'daemon',
    message: 'no broker leads partition {partition}[ of topic {topic}] now',
    hint: 'Its replicas are away, or not in sync. The other partitions are read on; this one when a leader is there.',
  },
  'topic-id-missing': {
    origin: 'daemon',
    message: 'the brokers give no id for the topic[ {topic}]',
    hint: 'Topics have ids from Kafka 2.8 on, with inter.broker.protocol.version 2.8 or later. The daemon tries again by itself.',
  },
  'cluster-changed': {
    origin: 'daemon',
    message:
      'the brokers of cluster {cluster} belong to another Kafka cluster than the saved positions[ of topic {topic}]',
    hint: 'Correct the brokers, or begin the consumer again with an explicit start_offset.',
  },
  'offset-out-of-range': {
    origin: 'daemon',
    message:
      'offset {offset}[ of topic {topic}][ partition {partition}] is not there any more[: it holds {low} to {high}]',
    hint: 'Retention removed messages before they were read. Begin again with an explicit start_offset (-2: the oldest), or set on_offset_gap to earliest.',
  },
  'offset-beyond-end': {
    origin: 'daemon',
    message:
      'offset {offset}[ of topic {topic}][ partition {partition}] lies above the end of the log[, which is at {high}]',
    hint: 'Messages that were loaded are gone from Kafka. Compare the table, then begin again with an explicit start_offset.',
  },
  'offset-gap': {
    origin: 'daemon',
    message:
      'offsets {from} to {to}[ of topic {topic}][ partition {partition}] were removed before they were read; reading goes on after them',
    hint: 'A warning: on_offset_gap is earliest. The gap stands in millrace.batches. Give the topic a longer retention.',
  },
  'log-truncated': {
    origin: 'daemon',
    message:
      'messages that were read already are gone[: topic {topic}][ partition {partition}][ now ends at {offset}]',
    hint: 'An unclean leader election dropped them. Compare the table, then begin again with an explicit start_offset.',
  },
  'record-batch-corrupt': {
    origin: 'daemon',
    message:
      'a record batch is damaged[ at offset {offset}][ of topic {topic}][ partition {partition}][: {reason}]',
    hint: 'Check the broker and its disk. A start_offset past the batch passes over it.',
  },
  'record-batch-unsupported': {
    origin: 'daemon',
    message:
      'a record batch is of format {magic}, not 2[: offset {offset}][ of topic {topic}][ partition {partition}]',
    hint: 'Messages from before Kafka 0.11 have to be rewritten. A start_offset past them passes over them.',
  },
  'compression-unsupported': {
    origin: 'daemon',
    message:
      'a record batch is compressed in a way that is unknown here[ ({codec})][ at offset {offset}][ of topic {topic}][ partition {partition}]',
    hint: 'gzip, snappy, lz4 and zstd are read. Let the producer use one of them.',
  },
  'group-lost': {
    origin: 'daemon',
    message: 'the consumer group[ {group}] gave the partitions away[: {reason}]',
    hint: 'The daemon was silent for too long or another one joined. It joins again by itself.',
  },
  'group-refused': {
    origin: 'daemon',
    message: 'the consumer group[ {group}] does not take this daemon in[: {reason}]',
    hint: 'Another program uses the group in another way. Give the consumer a group_id of its own, or none.',
  },
  'broker-throttled': {
    origin: 'daemon',
    message: 'the broker slows reading down[: topic {topic}]; a quota asks for it',
    hint: 'Raise consumer_byte_rate or request_percentage of the user or client id (kafka-configs), or let it be slow.',
  },

  'group-shared': {
    origin: 'daemon',
    message: 'the consumer group[ {group}] has members that load into another database[: topic {topic}]',
    hint: 'A warning: a copy of this database, or another program. For a moment after a restart of PostgreSQL it means nothing (docs/operations.md).',
  },

  // Messages
  'message-rejected': {
    origin: 'daemon',
    message:
      'PostgreSQL refused the message[ at offset {offset}][ of topic {topic}][ partition {partition}][: {reason}]',
    hint: 'Correct the table and begin the consumer again. A start_offset past the message passes over it, and counts for every partition of the topic (docs/operations.md).',
  },
  'message-too-large': {
    origin: 'daemon',
    message:
      'the message[ at offset {offset}][ of topic {topic}][ partition {partition}] is larger[, with {size} bytes,] than the memory budget[ of {limit} bytes]',
    hint: 'Raise daemon.memoryBudget (MILLRACE_DAEMON_MEMORY_BUDGET), or pass over the message with a start_offset past it.',
  },
  'trailing-backslash': {
    origin: 'daemon',
    message:
      'the message[ at offset {offset}][ of topic {topic}][ partition {partition}] has a line that ends in a lone backslash',
    hint: 'It would swallow the next message. Correct the producer, or begin again with a start_offset past the message.',
  },
  'copy-end-marker': {
    origin: 'daemon',
    message:
      'the message[ at offset {offset}][ of topic {topic}][ partition {partition}] has a line that COPY takes for the end of the data',
    hint: 'It would end the load early. Correct the producer, or begin again with a start_offset past the message.',
  },
  'unbalanced-quote': {
    origin: 'daemon',
    message:
      'the message[ at offset {offset}][ of topic {topic}][ partition {partition}] opens a quote that it does not close',
    hint: 'It would swallow the next message. Correct the producer, or begin again with a start_offset past the message.',
  },
  'carriage-return': {
    origin: 'daemon',
    message:
      'the message[ at offset {offset}][ of topic {topic}][ partition {partition}] has a carriage return that ends no line',
    hint: 'COPY would take it for a line end. Let the producer write it as \\r (text) or inside quotes (csv), or begin again with a start_offset past the message.',
  },
  'json-no-columns': {
    origin: 'daemon',
    message:
      'the message[ at offset {offset}][ of topic {topic}][ partition {partition}] has no key of any column[: {reason}]',
    hint: 'Before PostgreSQL 16, COPY cannot load a row that is all defaults. Give the message a key, or pass over it with a start_offset past it.',
  },
  'json-invalid': {
    origin: 'daemon',
    message:
      'the message[ at offset {offset}][ of topic {topic}][ partition {partition}] is not valid JSON[: {reason}]',
    hint: 'Correct the producer, or begin again with a start_offset past the message.',
  },
  'json-not-object': {
    origin: 'daemon',
    message:
      'the message[ at offset {offset}][ of topic {topic}][ partition {partition}] is JSON but no object',
    hint: 'The keys of an object go to columns. Load others into a relation whose only column is json, jsonb or text.',
  },
  'json-path-invalid': {
    origin: 'both',
    message: 'json_path cannot be read[: {path}][ (character {position})]',
    hint: "Write member names: $.a.b, a.b or $['a b'], and [*] at most at the end.",
  },
  'json-no-match': {
    origin: 'daemon',
    message:
      'the message[ at offset {offset}][ of topic {topic}][ partition {partition}] has nothing where json_path leads',
    hint: 'Compare json_path with the message: names are case-sensitive, and [*] takes an array only.',
  },
  'json-unknown-key': {
    origin: 'daemon',
    message:
      'the message[ at offset {offset}][ of topic {topic}][ partition {partition}] has a key that is no column',
    hint: 'Add the column, or begin the consumer with unknown_keys ignore, or with a rest_column.',
  },
  'json-missing-key': {
    origin: 'daemon',
    message:
      'the message[ at offset {offset}][ of topic {topic}][ partition {partition}] has no key for a column',
    hint: 'Leave the column out of columns, or begin the consumer with missing_keys default.',
  },
  'change-invalid': {
    origin: 'daemon',
    message: 'the message[ at offset {offset}][ of topic {topic}][ partition {partition}] is no change event',
    hint: 'Mode changes takes Debezium events in JSON with op c, r, u, d or t, and no other messages.',
  },
  'change-no-key': {
    origin: 'daemon',
    message:
      'the delete event[ at offset {offset}][ of topic {topic}][ partition {partition}] does not say which row',
    hint: 'Its key, or before, must have the columns that identify a row: see key_columns.',
  },
  'change-value-unavailable': {
    origin: 'daemon',
    message:
      'the change event[ at offset {offset}][ of topic {topic}][ partition {partition}] lacks a value that was not changed',
    hint: 'Set REPLICA IDENTITY FULL on the table that Debezium reads.',
  },
  'tombstone-no-key': {
    origin: 'daemon',
    message:
      'the tombstone[ at offset {offset}][ of topic {topic}][ partition {partition}] does not say which row',
    hint: 'Its key must have the columns that identify a row: see key_columns.',
  },

  // Relations and roles
  'relation-missing': {
    origin: 'both',
    message: 'the relation[ {relation}] does not exist[: {reason}]',
    hint: 'Create it and begin the consumer again.',
  },
  'route-missing': {
    origin: 'daemon',
    message:
      'the message[ at offset {offset}][ of topic {topic}][ partition {partition}] belongs to no relation[: {reason}]',
    hint: 'Its key has to be the name of a relation that the owner of the consumer may load. Create it, or let on_error say what else is to happen.',
  },
  'dead-letters-full': {
    origin: 'daemon',
    message: 'there is no room for {needed} more dead letters[ of topic {topic}]',
    hint: 'Replay or delete some (millrace.replay, millrace.dead_letters), or raise dead_letter_limit with millrace.alter_consumer; then resume the consumer.',
  },
  'target-refused': {
    origin: 'daemon',
    message: 'the relation[ {relation}] cannot be loaded into[: {reason}]',
    hint: 'Load into another relation, or change this one as the reason says, and begin the consumer again.',
  },

  // Running
  'shutdown-timeout': {
    origin: 'daemon',
    message: 'the daemon did not stop within {timeout} ms',
    hint: 'Its open transactions are rolled back by PostgreSQL; nothing is lost or repeated.',
  },
  'position-lost': {
    origin: 'daemon',
    message: 'another owner moved the position[ of topic {topic}][ partition {partition}]',
    hint: 'Nothing was written twice. The daemon reads the saved position and goes on if the partition is still its own.',
  },
  'start-offset-clamped': {
    origin: 'daemon',
    message:
      'start_offset {wanted} is outside what is there[ in partition {partition}][, reading starts at {offset}][: {reason}]',
    hint: 'A warning: there is no such offset, so the nearest one was taken.',
  },
  'start-partition-missing': {
    origin: 'daemon',
    message: 'the topic[ {topic}] has no partition {partition}, so nothing was moved there',
    hint: 'A warning: the partition was named in start_partitions. When it is added, it is read from its beginning.',
  },
  internal: {
    origin: 'daemon',
    message: 'a defect in millrace[: {reason}]',
    hint: 'Please report it with the log around it.',
  },
} as const satisfies Record<string, ErrorEntry>

// Raised by functions of the schema, which say what is wrong and what to do themselves (millrace.refuse). The
// daemon meets some of them when a relation was changed after its consumer began.
const sqlCodes = [
  'dialect-name-taken',
  'topic-invalid',
  'topic-not-granted',
  'action-invalid',
  'partition-invalid',
  'headers-invalid',
  'timestamp-invalid',
  'trigger-misused',
  'admin-required',
  'role-missing',
  'cluster-missing',
  'broker-invalid',
  'broker-exists',
  'broker-missing',
  'no-broker',
  'no-daemon',
  'insert-denied',
  'lock-denied',
  'role-not-served',
  'relation-kind',
  'relation-catalog',
  'relation-temporary',
  'relation-unlogged',
  'relation-row-security',
  'relation-runs-code',
  'relation-schema',
  'view-without-trigger',
  'format-unknown',
  'delimiter-invalid',
  'quote-invalid',
  'escape-invalid',
  'encoding-unknown',
  'batchsize-invalid',
  'maxbytes-invalid',
  'parallelism-invalid',
  'timeout-invalid',
  'start-offset-invalid',
  'group-invalid',
  'group-denied',
  'group-taken',
  'cluster-ambiguous',
  'cluster-invalid',
  'cluster-exists',
  'cluster-used',
  'delivery-invalid',
  'unsent-invalid',
  'outbox-not-stopped',
  'cluster-unsent',
  'on-refused-invalid',
  'choice-missing',
  'pattern-invalid',
  'schema-absent',
  'relation-defers-code',
  'owner-needs-temp',
  'key-missing',
  'write-denied',
  'column-missing',
  'on-error-invalid',
  'offset-gap-invalid',
  'dead-letter-limit-invalid',
  'mode-invalid',
  'tombstone-invalid',
  'unknown-keys-invalid',
  'missing-keys-invalid',
  'metadata-invalid',
  'columns-invalid',
  'rest-column-invalid',
  'transform-invalid',
  'option-conflict',
  'consumer-of-pattern',
  'consumer-running',
  'consumer-failed',
  'option-unknown',
  'seek-invalid',
  'partition-missing',
  'messages-invalid',
  'wait-invalid',
  'relation-not-yours',
  'table-owner-changed',
  'topic-taken',
  'setup-isolation',
  'relation-not-published',
  'relation-inherited',
  'topic-template-invalid',
  'filter-invalid',
  'envelope-invalid',
  'capture-invalid',
  'truncate-invalid',
  'already-published',
  'publish-key-missing',
  'publish-key-deferrable',
  'capture-needs-rows',
  'publication-missing',
  'snapshot-unreadable',
  'snapshot-row-security',
  'snapshot-denied',
  'already-set-up',
  'wait-timeout',
  'wait-isolation',
  'where-invalid',
  'request-invalid',
  'request-failed',
  'request-waiting',
  'consumer-missing',
  'consumer-ambiguous',
  'consumer-not-running',
  'consumer-not-yours',
  'already-running',
  'foreign-at-least-once',
  'topic-unreported',
  'report-old',
] as const

export type ErrorCode = keyof typeof daemonCodes | (typeof sqlCodes)[number]

const sqlEntry: ErrorEntry = { origin: 'sql', message: '{reason}', hint: 'docs/errors.md says what to do.' }

export const errorCodes: Readonly<Record<ErrorCode, ErrorEntry>> = {
  ...daemonCodes,
  ...(Object.fromEntries(sqlCodes.map((code) => [code, sqlEntry])) as Record<
    (typeof sqlCodes)[number],
    ErrorEntry
  >),
}

export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(errorCodes, text)
}
