// The one table of settings. A setting's path is its place in the configuration file and in `Config`; nothing
// is read from anywhere that is not in this table, and docs/configuration.md is compared with it by a test.

import { logFormats, logLevels } from '../log.ts'
import { databaseUrl } from './database-url.ts'
import { listenAddress } from './listen-address.ts'
import { boolean, byteCount, choice, duration, integer, path, secret, text, type ValueType } from './value.ts'

export interface Setting {
  /** `group.name`; in the table of cluster settings, the part after the cluster's name. */
  path: string
  /** Environment variables that set it, the stronger one first; of a cluster setting, the last words of its name. */
  env: string[]
  type: ValueType
  /** As it would be written; null: there is none. */
  default: string | null
  about: string
}

export const settings: readonly Setting[] = [
  {
    path: 'database.url',
    env: ['MILLRACE_DATABASE_URL', 'DATABASE_URL'],
    type: databaseUrl,
    default: null,
    about: 'The database to serve. Required.',
  },
  {
    path: 'database.maxConnections',
    env: ['MILLRACE_DATABASE_MAX_CONNECTIONS'],
    type: integer(4, 1000),
    default: '8',
    about: 'Most connections to PostgreSQL that this daemon opens.',
  },
  {
    path: 'database.connectTimeout',
    env: ['MILLRACE_DATABASE_CONNECT_TIMEOUT'],
    type: duration('100ms', '10min'),
    default: '10s',
    about: 'How long opening a connection may take.',
  },
  {
    path: 'database.synchronousCommit',
    env: ['MILLRACE_DATABASE_SYNCHRONOUS_COMMIT'],
    type: choice(['off', 'local', 'on']),
    default: 'off',
    about:
      'synchronous_commit of the loading transactions. With off a crash of PostgreSQL loses rows and position together: nothing is lost or repeated.',
  },
  {
    path: 'daemon.memoryBudget',
    env: ['MILLRACE_DAEMON_MEMORY_BUDGET'],
    type: byteCount('8MB', '64GB'),
    default: '64MB',
    about: 'Most bytes fetched, decompressed and buffered at one time, over all consumers.',
  },
  {
    path: 'daemon.shutdownTimeout',
    env: ['MILLRACE_DAEMON_SHUTDOWN_TIMEOUT'],
    type: duration('0s', '1h'),
    default: '30s',
    about: 'How long a stop waits for the batches in hand.',
  },
  {
    path: 'daemon.reconcileInterval',
    env: ['MILLRACE_DAEMON_RECONCILE_INTERVAL'],
    type: duration('100ms', '10min'),
    default: '5s',
    about: 'How often what is wanted is compared with what runs, besides at every notification.',
  },
  {
    path: 'daemon.reportInterval',
    env: ['MILLRACE_DAEMON_REPORT_INTERVAL'],
    type: duration('100ms', '10min'),
    default: '1s',
    about: 'How often states, rates and watermarks are written to the database.',
  },
  {
    path: 'daemon.takeoverGrace',
    env: ['MILLRACE_DAEMON_TAKEOVER_GRACE'],
    type: duration('0s', '10min'),
    default: '3s',
    about: "How long a partition's former owner may take to let go before its session is ended.",
  },
  {
    path: 'kafka.clientId',
    env: ['MILLRACE_KAFKA_CLIENT_ID'],
    type: text,
    default: 'millrace',
    about: 'The client id that brokers see in their logs and quotas.',
  },
  {
    path: 'kafka.connectTimeout',
    env: ['MILLRACE_KAFKA_CONNECT_TIMEOUT'],
    type: duration('100ms', '10min'),
    default: '5s',
    about: 'How long opening a connection to a broker may take.',
  },
  {
    path: 'kafka.requestTimeout',
    env: ['MILLRACE_KAFKA_REQUEST_TIMEOUT'],
    type: duration('1s', '10min'),
    default: '30s',
    about: 'How long a broker may take to answer.',
  },
  {
    path: 'kafka.metadataInterval',
    env: ['MILLRACE_KAFKA_METADATA_INTERVAL'],
    type: duration('100ms', '1h'),
    default: '5s',
    about: 'How often topics are looked up for new partitions, new leaders, or being there at last.',
  },
  {
    path: 'outbound.compression',
    env: ['MILLRACE_OUTBOUND_COMPRESSION'],
    type: choice(['none', 'gzip', 'snappy', 'lz4', 'zstd']),
    default: 'none',
    about: 'How record batches are compressed that are sent to Kafka.',
  },
  {
    path: 'outbound.linger',
    env: ['MILLRACE_OUTBOUND_LINGER'],
    type: duration('0s', '1min'),
    default: '0s',
    about: 'How long a record batch that is not full waits for more messages.',
  },
  {
    path: 'outbound.batchSize',
    env: ['MILLRACE_OUTBOUND_BATCH_SIZE'],
    type: byteCount('1kB', '16MB'),
    default: '256kB',
    about:
      'Bytes of a full record batch, before compression. A message that is larger is a batch of its own.',
  },
  {
    path: 'outbound.leaseTimeout',
    env: ['MILLRACE_OUTBOUND_LEASE_TIMEOUT'],
    type: duration('1s', '10min'),
    default: '10s',
    about: 'How long the daemon that sends may be silent before another one ends its session and takes over.',
  },
  {
    path: 'outbound.partitionPatience',
    env: ['MILLRACE_OUTBOUND_PARTITION_PATIENCE'],
    type: duration('100ms', '1h'),
    default: '30s',
    about:
      'How long a partition may take no message before the messages of its topic wait and the other topics go on.',
  },
  {
    path: 'outbound.snapshotBacklog',
    env: ['MILLRACE_OUTBOUND_SNAPSHOT_BACKLOG'],
    type: byteCount('1MB', '1000GB'),
    default: '512MB',
    about:
      'While what is not sent takes more than this on disk, snapshots of tables wait; less than 64MB may let them wait for what applications write, which itself never waits.',
  },
  {
    path: 'group.sessionTimeout',
    env: ['MILLRACE_GROUP_SESSION_TIMEOUT'],
    type: duration('1s', '30min'),
    default: '10s',
    about:
      'How long a silent daemon keeps its partitions. The broker has bounds of its own (6 s to 30 min by default).',
  },
  {
    path: 'group.heartbeatInterval',
    env: ['MILLRACE_GROUP_HEARTBEAT_INTERVAL'],
    type: duration('100ms', '10min'),
    default: '3s',
    about: 'How often a daemon tells the group that it is there; less than half the session timeout.',
  },
  {
    path: 'http.listen',
    env: ['MILLRACE_HTTP_LISTEN'],
    type: listenAddress,
    default: 'off',
    about:
      'Where /metrics, /healthz and /readyz are served (docs/monitoring.md). A port alone is one of 127.0.0.1; port 0 is any free one, which the log names.',
  },
  {
    path: 'http.partitions',
    env: ['MILLRACE_HTTP_PARTITIONS'],
    type: boolean,
    default: 'true',
    about: 'Whether /metrics has series for each partition, or only for each consumer.',
  },
  {
    path: 'retry.min',
    env: ['MILLRACE_RETRY_MIN'],
    type: duration('1ms', '1h'),
    default: '100ms',
    about: 'The first pause after a failure that may pass; each further one is twice as long, with jitter.',
  },
  {
    path: 'retry.max',
    env: ['MILLRACE_RETRY_MAX'],
    type: duration('1ms', '1h'),
    default: '30s',
    about: 'The longest pause between two tries.',
  },
  {
    path: 'log.level',
    env: ['MILLRACE_LOG_LEVEL'],
    type: choice(logLevels),
    default: 'info',
    about: 'The least level that is written.',
  },
  {
    path: 'log.format',
    env: ['MILLRACE_LOG_FORMAT'],
    type: choice(logFormats),
    default: 'auto',
    about: 'auto: for people when standard output is a terminal, JSON lines otherwise.',
  },
]

/** Settings of one cluster: `clusters.NAME.…` in the file. */
export const clusterSettings: readonly Setting[] = [
  {
    path: 'tls',
    env: ['TLS'],
    type: boolean,
    default: 'false',
    about: 'Whether connections use TLS. True as soon as another tls setting is given.',
  },
  { path: 'tls.ca', env: ['TLS_CA'], type: path, default: null, about: 'Certificates to trust, PEM.' },
  {
    path: 'tls.cert',
    env: ['TLS_CERT'],
    type: path,
    default: null,
    about: "The client's own certificate, PEM.",
  },
  {
    path: 'tls.key',
    env: ['TLS_KEY'],
    type: path,
    default: null,
    about: 'The key of that certificate, PEM.',
  },
  {
    path: 'tls.serverName',
    env: ['TLS_SERVER_NAME'],
    type: text,
    default: null,
    about: "The name to expect in the broker's certificate instead of its host.",
  },
  {
    path: 'tls.rejectUnauthorized',
    env: ['TLS_REJECT_UNAUTHORIZED'],
    type: boolean,
    default: 'true',
    about: 'false accepts every certificate: for trying things out.',
  },
  {
    path: 'sasl.mechanism',
    env: ['SASL_MECHANISM'],
    type: choice(['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512']),
    default: null,
    about: 'How to log in; username and password must be given too.',
  },
  { path: 'sasl.username', env: ['SASL_USERNAME'], type: text, default: null, about: 'The user.' },
  {
    path: 'sasl.password',
    env: ['SASL_PASSWORD'],
    type: secret,
    default: null,
    about: "The user's password.",
  },
  {
    path: 'sasl.passwordFile',
    env: ['SASL_PASSWORD_FILE'],
    type: path,
    default: null,
    about: 'A file that holds the password, instead of it (a line end at its end is not part of it).',
  },
]

/** The cluster whose variables are MILLRACE_KAFKA_TLS, MILLRACE_KAFKA_SASL_USERNAME and so on. */
export const defaultCluster = 'default'

/** Read by other parts of the program; not settings. */
export const otherVariables: readonly string[] = ['MILLRACE_CONFIG', 'MILLRACE_FAILPOINTS']
