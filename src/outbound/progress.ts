// What PostgreSQL is told about the sending for one cluster. Each statement compares the lease's epoch: what a former
// holder still says changes nothing.

import { type MillraceError, reasonOf } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { SharedSession } from '../postgres/shared-session.ts'
import { type Lease, LeaseLost } from './lease.ts'
import type { Parked } from './shipment.ts'
import { placeCondition, placesQuery, type WaitingPlace } from './waiting.ts'

export class Progress {
  readonly #cluster: string
  readonly #shared: SharedSession
  readonly #lease: Lease
  readonly #log: Logger

  constructor(cluster: string, parts: { shared: SharedSession; lease: Lease; log: Logger }) {
    this.#cluster = cluster
    this.#shared = parts.shared
    this.#lease = parts.lease
    this.#log = parts.log
  }

  /** What waits. */
  async places(): Promise<WaitingPlace[]> {
    return this.#shared.query<WaitingPlace & Record<string, unknown>>(placesQuery, [this.#cluster])
  }

  /** Whether anything of the place waits. */
  async anyOf(place: WaitingPlace): Promise<boolean> {
    const [left] = await this.#shared.query<{ any: boolean }>(
      `SELECT EXISTS (SELECT FROM millrace.outbox_waiting WHERE cluster = $1 AND ${placeCondition(place)}) AS any`,
      [this.#cluster],
    )
    return left?.any ?? false
  }

  /** Up to the id, the batch in hand is sent or waits. @throws LeaseLost */
  async record(lastId: bigint, parked: Parked[]): Promise<void> {
    await this.#checked('SELECT millrace.record_outbox($1, $2, $3, $4, $5, $6, $7, $8) AS kept', [
      String(lastId),
      [...new Set(parked.map(({ xid }) => xid))],
      ...columnsOf(parked),
    ])
  }

  /** Of what waits, these were sent, and those wait on. @throws LeaseLost */
  async recordRetried(sent: string[], parked: Parked[]): Promise<void> {
    await this.#checked('SELECT millrace.record_waiting($1, $2, $3, $4, $5, $6, $7) AS kept', [
      sent,
      ...columnsOf(parked),
    ])
  }

  /** For whoever looks at millrace.outbox_status. Never throws. */
  tell(error: MillraceError | null): void {
    this.#shared
      .query(tell, [this.#cluster, this.#lease.epoch, error?.code ?? null, error && reasonOf(error)])
      .catch((cause) => this.#log.debug({ err: cause }, 'the state of the outbox could not be written'))
  }

  /** @throws LeaseLost */
  async #checked(sql: string, values: unknown[]): Promise<void> {
    const [row] = await this.#shared.query<{ kept: boolean }>(sql, [
      this.#cluster,
      this.#lease.epoch,
      ...values,
    ])
    if (!row?.kept) throw new LeaseLost()
  }
}

function columnsOf(parked: Parked[]): unknown[] {
  return [
    parked.map(({ id }) => id),
    parked.map(({ wholeTopic }) => wholeTopic),
    parked.map(({ code }) => code),
    parked.map(({ message }) => message),
  ]
}

const tell = `
  UPDATE millrace.outbox_progress
     SET error_code = $3, error_message = $4, error_at = CASE WHEN $3::text IS NOT NULL THEN pg_catalog.clock_timestamp() END
   WHERE cluster = $1 AND epoch = $2`
