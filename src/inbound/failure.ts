// A failure stops a consumer on every daemon, until consume_begin makes a new version of it.

import type { MillraceError } from '../errors.ts'
import type { Session } from '../postgres/session.ts'
import type { ConsumerSpec } from './consumer.ts'

export async function recordFailure(
  session: Session,
  spec: ConsumerSpec,
  error: MillraceError,
  partition: number | null,
  offset: bigint | null,
): Promise<void> {
  await session.query(insertFailure, [
    spec.id,
    spec.version,
    error.code,
    error.message,
    sqlstateOf(error.cause),
    partition,
    offset?.toString() ?? null,
  ])
  await session.query("SELECT pg_catalog.pg_notify('millrace', '')")
}

function sqlstateOf(cause: unknown): string | null {
  const { severity, code } = (cause ?? {}) as { severity?: string; code?: string }
  return severity !== undefined && code !== undefined ? code : null
}

const insertFailure = `
  INSERT INTO millrace.failure (consumer_id, version, code, message, sqlstate, partition, "offset", failed_at)
  SELECT c.id, c.version, $3, $4, $5, $6, $7, pg_catalog.clock_timestamp()
    FROM millrace.consumer AS c WHERE c.id = $1 AND c.version = $2
  ON CONFLICT (consumer_id) DO UPDATE
     SET version = excluded.version, code = excluded.code, message = excluded.message, sqlstate = excluded.sqlstate,
         partition = excluded.partition, "offset" = excluded."offset", failed_at = excluded.failed_at
   WHERE millrace.failure.version <> excluded.version`
