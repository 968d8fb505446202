// Whoever takes over ends the backends of whoever held it before, and no others: a process id that is in use again
// belongs to a backend with another start. The start of another role's backend is not shown: then the id decides alone.

import type { QueryRunner } from './target.ts'

export interface Backend {
  pid: number | null
  /** As PostgreSQL wrote it. */
  startedAt: string | null
}

export async function endBackends(runner: QueryRunner, backends: Backend[]): Promise<void> {
  await runner.query(terminate, [backends.map(({ pid }) => pid), backends.map(({ startedAt }) => startedAt)])
}

const terminate = `
  SELECT pg_catalog.pg_terminate_backend(a.pid)
    FROM unnest($1::int[], $2::timestamptz[]) AS o (pid, started)
    JOIN pg_catalog.pg_stat_activity AS a ON a.pid = o.pid AND coalesce(a.backend_start = o.started, true)`
