// A failure stops a consumer on every daemon, until consume_begin makes a new version of it.

import type { Session } from '../postgres/session.ts'
import { sqlstateOf } from '../postgres/sqlstate.ts'
import type { ConsumerSpec } from './consumer.ts'
import type { Failure } from './stream-end.ts'

export async function recordFailure(session: Session, spec: ConsumerSpec, failure: Failure): Promise<void> {
  const { error, partition, offset } = failure
  await session.query(insertFailure, [
    spec.id,
    spec.version,
    error.code,
    error.message,
    sqlstateOf(error.cause) ?? null,
    partition,
    offset?.toString() ?? null,
  ])
  await session.query("SELECT pg_catalog.pg_notify('millrace', '')")
}

const insertFailure = `
  INSERT INTO millrace.failure (consumer_id, version, code, message, sqlstate, partition, "offset", failed_at)
  SELECT c.id, c.version, $3, $4, $5, $6, $7, pg_catalog.clock_timestamp()
    FROM millrace.consumer AS c WHERE c.id = $1 AND c.version = $2
  ON CONFLICT (consumer_id) DO UPDATE
     SET version = excluded.version, code = excluded.code, message = excluded.message, sqlstate = excluded.sqlstate,
         partition = excluded.partition, "offset" = excluded."offset", failed_at = excluded.failed_at
   WHERE millrace.failure.version <> excluded.version`
