// Shows what would be sent of a table's changes, and nothing counts as sent: nothing is written, neither here nor there. It
// reads between two snapshots, as the relay does, so late commits are shown, too.

import type { Logger } from '../log.ts'
import { Backoff } from '../pipeline/backoff.ts'
import { Bell } from '../pipeline/bell.ts'
import { databaseOutage } from '../pipeline/outage.ts'
import { literal } from '../postgres/literal.ts'
import type { Session } from '../postgres/session.ts'

export interface DryRunParts {
  openSession: () => Promise<Session>
  /** Gets the value of each message. */
  show: (value: string) => void
  /** What the messages' source begins with. */
  source: string
  retry: { min: number; max: number }
  log: Logger
}

/** Milliseconds from one look to the next. */
const interval = 500

/** Rows held at a time. */
const page = 1000

export class DryRun {
  readonly #parts: DryRunParts
  readonly #bell = new Bell()
  readonly done: Promise<void>
  #stopping = false
  /** What was shown before: everything that it sees. */
  #seen: string | null = null

  constructor(parts: DryRunParts) {
    this.#parts = parts
    this.done = this.#run()
    this.done.catch(() => {})
  }

  async stop(): Promise<void> {
    this.#stopping = true
    this.#bell.ring()
    await this.done
  }

  async #run(): Promise<void> {
    const { retry, log } = this.#parts
    const backoff = new Backoff(retry.min, retry.max)
    let away = false
    while (!this.#stopping) {
      let session: Session | null = null
      try {
        session = await this.#parts.openSession()
        backoff.reset()
        away = false
        while (!this.#stopping) {
          await this.#look(session)
          await this.#bell.sleep(interval)
        }
      } catch (error) {
        const outage = databaseOutage(error)
        if (outage === null) throw error
        if (!this.#stopping) {
          if (!away) log.warn({ err: error }, outage.message)
          away = true
          await this.#bell.sleep(backoff.next())
        }
      } finally {
        session?.close()
      }
    }
  }

  async #look(session: Session): Promise<void> {
    await session.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
    const [found] = await session.query<{ fresh: string; sent: string; batch: string | null; last: string }>(
      progressQuery,
    )
    const { fresh, sent, batch, last } = found!
    const passed = this.#seen ?? sent
    const inHand = this.#seen === null && batch !== null
    await session.query(`
      DECLARE messages NO SCROLL CURSOR FOR
      SELECT pg_catalog.convert_from(o.value, 'UTF8') AS value FROM millrace.outbox AS o
       WHERE o.xid >= pg_catalog.pg_snapshot_xmin(${literal(passed)}) AND o.source LIKE ${literal(`${this.#parts.source}%`)}
         AND NOT pg_catalog.pg_visible_in_snapshot(o.xid, ${literal(passed)})
         ${inHand ? `AND NOT (o.id <= ${BigInt(last)} AND pg_catalog.pg_visible_in_snapshot(o.xid, ${literal(batch)}))` : ''}
       ORDER BY o.id`)
    for (let full = true; full && !this.#stopping; ) {
      const rows = await session.query<{ value: string }>(`FETCH ${page} FROM messages`)
      for (const { value } of rows) this.#parts.show(value)
      full = rows.length === page
    }
    await session.query('COMMIT')
    this.#seen = fresh
  }
}

/** One row, also before anything was ever sent. */
const progressQuery = `
  SELECT pg_catalog.pg_current_snapshot()::text AS fresh, coalesce(p.sent, '1:1:')::text AS sent, p.batch::text AS batch,
         coalesce(p.last_id, 0)::text AS last
    FROM (VALUES ('default')) AS c (name) LEFT JOIN millrace.outbox_progress AS p ON p.cluster = c.name`
