// Requests are what only a daemon can do and somebody waits for. Each is taken by one daemon, which works on it beside
// reconciling; one whose daemon has died, or has not been heard of for long, is taken again by another.

import { MillraceError } from '../errors.ts'
import type { SharedParts } from '../inbound/assignment.ts'
import { OwnedRequest, RequestLost } from '../inbound/owned-request.ts'
import { replay } from '../inbound/replay.ts'
import type { QueryRunner } from '../inbound/target.ts'
import { type TryParts, tryLoad } from '../inbound/try.ts'
import type { ClusterAccess } from '../kafka/access.ts'
import type { Logger } from '../log.ts'

export interface RequestsParts extends SharedParts {
  daemonId: string
  /** Milliseconds. */
  retry: { min: number; max: number }
  log: Logger
  /** Null while the cluster has no broker. */
  accessOf: (cluster: string) => ClusterAccess | null
  /** A request has ended: there is room for another one. */
  onEnd: () => void
}

interface TakenRow {
  [column: string]: unknown
  id: string
  kind: 'replay' | 'try'
  arguments: { messages: number }
}

interface Outcome {
  result: object | null
  error: MillraceError | null
}

/** At a time; each has a connection for loading while it loads. */
const most = 2

export class Requests {
  readonly #parts: RequestsParts
  #stop = new AbortController()
  readonly #running = new Map<string, Promise<void>>()

  constructor(parts: RequestsParts) {
    this.#parts = parts
  }

  /** Takes what waits, as far as there is room. @param groupId for looking at topics */
  async keep(runner: QueryRunner, groupId: string): Promise<void> {
    const room = most - this.#running.size
    if (room <= 0 || this.#stop.signal.aborted) return
    const { daemonId, log } = this.#parts
    await runner.query(endHanging)
    const taken = await runner.query<TakenRow>(take, [daemonId, [...this.#running.keys()], room])
    for (const row of taken) {
      log.info({ request: row.id, kind: row.kind }, 'working on a request')
      const running = this.#work(row, groupId).finally(() => {
        this.#running.delete(row.id)
        this.#parts.onEnd()
      })
      this.#running.set(row.id, running)
    }
  }

  /** Gives back what is not done: another daemon goes on with it, or this one when it keeps them again. */
  async end(): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#running.values())
    this.#stop = new AbortController()
  }

  /** Never throws. */
  async #work(row: TakenRow, groupId: string): Promise<void> {
    const { daemonId, shared, sessions, budget, log } = this.#parts
    const request = new OwnedRequest(row.id, daemonId, shared, sessions)
    const { signal } = this.#stop
    const parts = { ...this.#parts, request, budget: budget.account(), groupId, signal }
    try {
      const { result, error } = await outcomeOf(row, parts)
      await this.#write(row.id, error ? 'failed' : 'done', result, error)
      log.info(
        { request: row.id, ...(error && { err: error }) },
        error ? 'a request failed' : 'a request is done',
      )
    } catch (error) {
      if (error instanceof RequestLost)
        log.warn({ request: row.id }, 'another daemon has taken the request over')
      else if (signal.aborted) await this.#giveBack(row.id)
      // taken up again with the next look
      else log.warn({ err: error, request: row.id }, 'what became of a request could not be written')
    }
  }

  async #write(id: string, state: string, result: object | null, error: MillraceError | null): Promise<void> {
    const { shared, daemonId } = this.#parts
    await shared.query(finish, [
      id,
      daemonId,
      state,
      result && JSON.stringify(result),
      error?.code ?? null,
      error?.message ?? null,
    ])
  }

  async #giveBack(id: string): Promise<void> {
    const { shared, daemonId, log } = this.#parts
    await shared.query(giveBack, [id, daemonId]).catch((error) => {
      log.debug({ err: error, request: id }, 'a request was not given back; another daemon notices')
    })
  }
}

/** @throws RequestLost, the signal's AbortError */
async function outcomeOf(row: TakenRow, parts: Omit<TryParts, 'arguments'>): Promise<Outcome> {
  try {
    if (row.kind === 'replay') return { result: null, error: await replay(parts) }
    return { result: await tryLoad({ ...parts, arguments: row.arguments }), error: null }
  } catch (error) {
    if (error instanceof RequestLost || parts.signal.aborted) throw error
    return {
      result: null,
      error: error instanceof MillraceError ? error : new MillraceError('internal', { cause: error }),
    }
  }
}

/** A daemon is heard of while its connection holds the daemons' lock, and it says so now and then. */
const isAbandoned = `NOT EXISTS (
    SELECT FROM millrace.daemon AS d
      JOIN pg_catalog.pg_locks AS l ON l.pid = d.backend_pid AND l.locktype = 'advisory'
       AND l.classid = 1298756723 AND l.objid = 1 AND l.granted
     WHERE d.id = r.daemon AND d.seen_at > pg_catalog.clock_timestamp() - interval '15 seconds')`

/** Its transaction would keep the request and the letters. The start of another role's backend is not shown. */
const endHanging = `
  SELECT pg_catalog.pg_terminate_backend(a.pid)
    FROM millrace.request AS r
    JOIN pg_catalog.pg_stat_activity AS a ON a.pid = r.backend_pid AND coalesce(a.backend_start = r.backend_started, true)
   WHERE r.state = 'running' AND ${isAbandoned}`

const take = `
  UPDATE millrace.request AS taken
     SET state = 'running', daemon = $1, backend_pid = NULL, backend_started = NULL,
         started_at = coalesce(taken.started_at, pg_catalog.clock_timestamp())
   WHERE taken.id IN (
     SELECT r.id FROM millrace.request AS r
      WHERE r.state = 'pending'
         OR r.state = 'running' AND NOT r.id = ANY ($2::bigint[]) AND (r.daemon = $1 OR ${isAbandoned})
      ORDER BY r.id LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED)
  RETURNING taken.id, taken.kind, taken.arguments`

const finish = `
  UPDATE millrace.request AS r
     SET state = $3, result = coalesce($4::jsonb, r.result), error_code = $5, error_message = $6,
         backend_pid = NULL, backend_started = NULL, finished_at = pg_catalog.clock_timestamp()
   WHERE r.id = $1 AND r.daemon = $2 AND r.state = 'running'`

const giveBack = `
  WITH given AS (
    UPDATE millrace.request SET state = 'pending', daemon = NULL, backend_pid = NULL, backend_started = NULL
     WHERE id = $1 AND daemon = $2 AND state = 'running' RETURNING id)
  SELECT pg_catalog.pg_notify('millrace', '') FROM given`
