// What is shown is what the database says: its table, and the views that any user can read.
import type pg from 'pg'

export interface Sample {
  /** Since the consumer was begun. */
  seconds: number
  rows: number
  rowsPerSecond: number
  /** Messages that the broker has acknowledged. */
  sent: number
  state: string
  problem: string | null
  partitions: { partition: number; nextOffset: number; lag: number | null }[]
}

// The lag of the last report, made better where the position is known to have moved since.
const partitionsOf = `
  SELECT partition, next_offset::float8 AS "nextOffset", lag::float8 AS lag
  FROM millrace.lag WHERE topic = $1 AND consumer_id = $2 ORDER BY partition`

const consumerOf = `
  SELECT id, state, error_code, error_message FROM millrace.consumers WHERE topic = $1 ORDER BY id DESC LIMIT 1`

/** Rates are taken over this long, so that one slow commit is not a hole in the picture. */
const windowMs = 2_000

export class Sampler {
  readonly #client: pg.Client
  readonly #topic: string
  readonly #table: string
  readonly #startedAt = performance.now()
  readonly #counts: { at: number; rows: number }[] = [{ at: performance.now(), rows: 0 }]

  constructor(client: pg.Client, topic: string, table: string) {
    this.#client = client
    this.#topic = topic
    this.#table = table
  }

  async take(sent: number): Promise<Sample> {
    const rows = await this.count()
    const now = performance.now()
    const consumer = (await this.#client.query(consumerOf, [this.#topic])).rows[0]
    const partitions = (await this.#client.query(partitionsOf, [this.#topic, consumer?.id])).rows
    return {
      seconds: (now - this.#startedAt) / 1000,
      rows,
      rowsPerSecond: this.#rate(now, rows),
      sent,
      state: consumer?.state ?? 'none',
      problem: consumer?.error_code ? `${consumer.error_code}: ${consumer.error_message}` : null,
      partitions,
    }
  }

  async count(): Promise<number> {
    const { rows } = await this.#client.query(`SELECT count(*)::float8 AS rows FROM ${this.#table}`)
    return rows[0].rows
  }

  /** Orders that are there, and different ones among them: the same number when each is there once. */
  async census(): Promise<{ rows: number; different: number }> {
    const sql = `SELECT count(*)::float8 AS rows, count(DISTINCT order_id)::float8 AS different FROM ${this.#table}`
    return (await this.#client.query(sql)).rows[0]
  }

  #rate(at: number, rows: number): number {
    this.#counts.push({ at, rows })
    while (this.#counts.length > 2 && at - this.#counts[1]!.at >= windowMs) this.#counts.shift()
    const first = this.#counts[0]!
    return Math.max(0, ((rows - first.rows) / (at - first.at)) * 1000)
  }
}
