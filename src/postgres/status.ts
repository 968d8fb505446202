// What `millrace status` shows is one snapshot: a consumer and its partitions are of the same moment. Counts and
// offsets stay text, as the server wrote them: they may be past 2^53.

import type pg from 'pg'
import { isMillraceError, MillraceError } from '../errors.ts'
import { checkSchema } from './schema.ts'
import { isOpen, readSnapshots, type SnapshotStatus } from './snapshot.ts'

export interface PartitionStatus {
  partition: number
  position: string
  low: string | null
  high: string | null
  lag: string | null
  reportedAt: Date | null
  /** Of the report, seconds. */
  age: number | null
}

export interface ConsumerError {
  code: string
  message: string
  sqlstate: string | null
  partition: number | null
  offset: string | null
  at: Date | null
}

export interface ConsumerStatus {
  id: string
  cluster: string
  /** Or the pattern, of a consumer of many topics. */
  topic: string
  target: string
  owner: string
  /** stopped, failed, no-daemon, or what a daemon reports. */
  state: string
  messages: string
  skipped: string
  lag: string | null
  rowsPerSecond: number | null
  movedAt: Date | null
  warning: string | null
  error: ConsumerError | null
  partitions: PartitionStatus[]
}

export interface OutboxStatus {
  cluster: string
  /** Committed and not sent yet. */
  backlog: string
  oldestUnsent: Date | null
  /** Seconds since its timestamp. */
  oldestAge: number | null
  /** Cannot be sent until somebody changes something. */
  waiting: string
  waitingKeys: string
  /** In the outbox, of the first message that was refused. */
  waitingId: string | null
  waitingCode: string | null
  waitingMessage: string | null
  deadLetters: string
  /** What holds up everything. */
  errorCode: string | null
  errorMessage: string | null
  /** Seconds since the daemon that sends said that it does; null: none does. */
  leaseAge: number | null
}

export interface Status {
  daemonConnected: boolean
  /** Why nothing runs until the database is adopted; null: it is the one that was recorded. */
  identityChanged: string | null
  consumers: ConsumerStatus[]
  /** Of each cluster for which messages are not sent; administrators see it. */
  outbox: OutboxStatus[]
  /** Those that are not over. */
  snapshots: SnapshotStatus[]
}

type ConsumerRow = Omit<ConsumerStatus, 'error' | 'partitions'> & {
  errorCode: string | null
  errorMessage: string
  errorSqlstate: string | null
  errorPartition: number | null
  errorOffset: string | null
  errorAt: Date | null
}

const consumersQuery = `
  SELECT id, cluster, coalesce(topic, topic_pattern) AS topic, target, owner::text, state, messages, skipped, lag, warning,
    rows_per_second AS "rowsPerSecond", moved_at AS "movedAt", error_code AS "errorCode",
    error_message AS "errorMessage", error_sqlstate AS "errorSqlstate", error_partition AS "errorPartition",
    error_offset AS "errorOffset", error_at AS "errorAt"
  FROM millrace.consumers ORDER BY cluster, 3, target`

const outboxQuery = `
  SELECT cluster, backlog, oldest_unsent AS "oldestUnsent",
    extract(epoch FROM pg_catalog.clock_timestamp() - oldest_unsent)::float8 AS "oldestAge", waiting, waiting_keys AS "waitingKeys",
    waiting_id AS "waitingId", waiting_code AS "waitingCode", waiting_message AS "waitingMessage",
    dead_letters AS "deadLetters", error_code AS "errorCode", error_message AS "errorMessage",
    CASE WHEN daemon IS NOT NULL THEN extract(epoch FROM pg_catalog.clock_timestamp() - renewed_at)::float8 END AS "leaseAge"
  FROM millrace.outbox_status
  WHERE backlog > 0 OR waiting > 0 OR dead_letters > 0 OR error_code IS NOT NULL ORDER BY cluster`

const partitionsQuery = `
  SELECT consumer_id AS consumer, partition, next_offset AS position, low_watermark AS low,
    high_watermark AS high, lag, reported_at AS "reportedAt", extract(epoch FROM age)::float8 AS age
  FROM millrace.lag ORDER BY consumer_id, partition`

/**
 * @throws MillraceError schema-missing, schema-older, schema-newer, database-unreachable, database-refused
 */
export async function readStatus(client: pg.Client): Promise<Status> {
  try {
    await checkSchema(client)
    await client.query('BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY')
    const daemon = await client.query<{ connected: boolean; difference: string | null }>(
      'SELECT millrace.daemon_connected() AS connected, millrace.identity_difference() AS difference',
    )
    const consumers = await client.query<ConsumerRow>(consumersQuery)
    const partitions = await client.query<PartitionStatus & { consumer: string }>(partitionsQuery)
    const outbox = await client.query<OutboxStatus & pg.QueryResultRow>(outboxQuery)
    const snapshots = (await readSnapshots(client, null)).filter(isOpen)
    await client.query('COMMIT')
    const byConsumer = Map.groupBy(partitions.rows, ({ consumer }) => consumer)
    return {
      daemonConnected: daemon.rows[0]!.connected,
      identityChanged: daemon.rows[0]!.difference,
      consumers: consumers.rows.map((row) => consumerOf(row, byConsumer.get(row.id) ?? [])),
      outbox: outbox.rows,
      snapshots,
    }
  } catch (cause) {
    throw statusError(cause)
  }
}

function consumerOf(
  row: ConsumerRow,
  partitions: (PartitionStatus & { consumer: string })[],
): ConsumerStatus {
  const { errorCode, errorMessage, errorSqlstate, errorPartition, errorOffset, errorAt, ...consumer } = row
  const error = {
    message: errorMessage,
    sqlstate: errorSqlstate,
    partition: errorPartition,
    offset: errorOffset,
    at: errorAt,
  }
  return {
    ...consumer,
    error: errorCode === null ? null : { code: errorCode, ...error },
    partitions: partitions.map(({ consumer: _, ...partition }) => partition),
  }
}

function statusError(cause: unknown): MillraceError {
  if (isMillraceError(cause)) return cause
  const { code, severity } = cause as { code?: string; severity?: string }
  if (severity === undefined) return new MillraceError('database-unreachable', { cause })
  return new MillraceError('database-refused', { cause, sqlstate: code })
}
