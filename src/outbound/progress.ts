// What PostgreSQL is told about the sending for one cluster. Each statement compares the lease's epoch: what a former
// holder still says changes nothing.

import { type MillraceError, reasonOf } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { SharedSession } from '../postgres/shared-session.ts'
import type { KafkaPosition } from './kafka-position.ts'
import { type Lease, LeaseLost } from './lease.ts'
import type { ClusterMeter, RelayMeter } from './meter.ts'
import type { Parked } from './shipment.ts'
import { placeCondition, placesQuery, type WaitingPlace } from './waiting.ts'

export interface PositionVerdict {
  /** null: Kafka's position is one that this database can know of. */
  problem: 'ahead' | 'missing' | null
  /** What the database says. */
  own: string
}

export interface ResumedPosition extends PositionVerdict {
  /** Of the batch in hand, or of the last one. */
  number: string
  token: string
  /** What Kafka has committed of it. */
  id: string
}

export class Progress {
  readonly #cluster: string
  readonly #shared: SharedSession
  readonly #lease: Lease
  readonly #meter: ClusterMeter
  readonly #log: Logger

  constructor(
    cluster: string,
    parts: { shared: SharedSession; lease: Lease; meter: RelayMeter; log: Logger },
  ) {
    this.#cluster = cluster
    this.#shared = parts.shared
    this.#lease = parts.lease
    this.#meter = parts.meter.of(cluster)
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

  /**
   * Up to the id, the batch in hand is sent or waits.
   * @param lastId null: the position stays where it is, and what waits is stored for good
   * @param inKafka whether Kafka has committed that position  @throws LeaseLost
   */
  async record(lastId: bigint | null, parked: Parked[], inKafka = false): Promise<void> {
    await this.#checked('SELECT millrace.record_outbox($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) AS kept', [
      lastId === null ? null : String(lastId),
      [...new Set(parked.map(({ xid }) => xid))],
      ...columnsOf(parked),
      inKafka,
    ])
    this.#countDead(parked)
  }

  /** Of what waits, these were sent, and those wait on.  @param forGood not lost in a crash  @throws LeaseLost */
  async recordRetried(sent: string[], parked: Parked[], forGood = false): Promise<void> {
    await this.#checked('SELECT millrace.record_waiting($1, $2, $3, $4, $5, $6, $7, $8, $9) AS kept', [
      sent,
      ...columnsOf(parked),
      forGood,
    ])
    this.#countDead(parked)
  }

  /** Whether the last messages were sent in Kafka transactions. @throws LeaseLost */
  async isTransactional(): Promise<boolean> {
    const row = await this.#one<{ transactional: boolean }>(
      'SELECT transactional FROM millrace.outbox_progress WHERE cluster = $1 AND epoch = $2',
      [],
    )
    return row.transactional
  }

  /**
   * The line of the transactional id, from now on no lower than this one. Stored for good before it is used: whoever follows
   * has to fence off who sends under it.  @throws LeaseLost
   */
  async line(atLeast: number): Promise<number> {
    const { line } = await this.#one<{ line: number | null }>(
      'SELECT millrace.transaction_line($1, $2, $3) AS line',
      [atLeast],
    )
    if (line === null) throw new LeaseLost()
    return line
  }

  /** @param upTo the line up to which nobody can send any more who did before  @returns the highest known one  @throws LeaseLost */
  async fencedLine(upTo: number): Promise<number> {
    const { line } = await this.#one<{ line: number | null }>(
      'SELECT millrace.fenced_line($1, $2, $3) AS line',
      [upTo],
    )
    if (line === null) throw new LeaseLost()
    return line
  }

  /** What Kafka's position says to the database's. @throws LeaseLost */
  async checkPosition(position: KafkaPosition | null): Promise<PositionVerdict> {
    return this.#one('SELECT problem, own FROM millrace.check_outbox_position($1, $2, $3, $4, $5, $6)', [
      ...valuesOf(position),
    ])
  }

  /** Takes over what Kafka has committed. @throws LeaseLost */
  async resume(position: KafkaPosition | null, goOn: boolean): Promise<ResumedPosition> {
    const sql = 'SELECT * FROM millrace.resume_from_kafka($1, $2, $3, $4, $5, $6, $7, $8)'
    return this.#one(sql, [...valuesOf(position), position?.retried ?? [], goOn])
  }

  /** What waits for a topic that cannot be written to becomes dead letters. @throws LeaseLost */
  async bury(topic: string, error: MillraceError): Promise<void> {
    const { buried } = await this.#one<{ buried: string | null }>(
      'SELECT millrace.bury_topic($1, $2, $3, $4, $5) AS buried',
      [topic, error.code, reasonOf(error)],
    )
    if (buried === null) throw new LeaseLost()
    this.#meter.deadLettered(Number(buried))
  }

  /** For whoever looks at millrace.outbox_status. Never throws. */
  tell(error: MillraceError | null): void {
    this.#shared
      .query(tell, [this.#cluster, this.#lease.epoch, error?.code ?? null, error && reasonOf(error)])
      .catch((cause) => this.#log.debug({ err: cause }, 'the state of the outbox could not be written'))
  }

  #countDead(parked: Parked[]): void {
    const dead = parked.filter((one) => one.dead).length
    if (dead > 0) this.#meter.deadLettered(dead)
  }

  /** @throws LeaseLost */
  async #checked(sql: string, values: unknown[]): Promise<void> {
    const { kept } = await this.#one<{ kept: boolean }>(sql, values)
    if (!kept) throw new LeaseLost()
  }

  /** @throws LeaseLost where there is no row */
  async #one<T extends object>(sql: string, values: unknown[]): Promise<T> {
    const [row] = await this.#shared.query<T & Record<string, unknown>>(sql, [
      this.#cluster,
      this.#lease.epoch,
      ...values,
    ])
    if (!row) throw new LeaseLost()
    return row
  }
}

function valuesOf(position: KafkaPosition | null): unknown[] {
  return [position?.number ?? null, position?.token ?? null, position?.id ?? null, position?.line ?? null]
}

function columnsOf(parked: Parked[]): unknown[] {
  return [
    parked.map(({ id }) => id),
    parked.map(({ wholeTopic }) => wholeTopic),
    parked.map(({ dead }) => dead),
    parked.map(({ code }) => code),
    parked.map(({ message }) => message),
  ]
}

const tell = `
  UPDATE millrace.outbox_progress
     SET error_code = $3, error_message = $4, error_at = CASE WHEN $3::text IS NOT NULL THEN pg_catalog.clock_timestamp() END
   WHERE cluster = $1 AND epoch = $2`
