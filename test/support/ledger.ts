// A topic of known content and the table it goes to. Each message says where it stands, so that the table tells at
// any moment, in one snapshot, whether every offset before the position is there exactly once and nothing else is.
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import type { Cleanup } from './cleanup.ts'
import type { Database } from './database.ts'
import { eventually } from './eventually.ts'
import { type BeginOptions, begin, consumerOf } from './flow.ts'
import { type Message, type ProduceOptions, produce, topicFor } from './topic.ts'

export interface LedgerOptions {
  /** Default 4. */
  partitions?: number
  /** For each partition, the brokers that hold it; instead of `partitions`. */
  assignments?: number[][]
  brokers?: string
  /** Default: one that no other ledger of this database has. */
  table?: string
  /** Of the table, such as 'PRIMARY KEY (partition, n)'. */
  constraint?: string
  /** Other topics' settings, such as { 'retention.bytes': '1' }. */
  config?: Record<string, string>
}

interface Count {
  partition: number
  rows: number
  distinct: number
  sound: boolean
  next: number
}

/** Between two sends under load. ms */
const pause = 15

const codecs = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const

export class Ledger {
  readonly topic: string
  readonly table: string
  readonly #db: Database
  readonly #brokers: string | undefined
  /** Next offset of each partition. Nobody else writes to the topic, so every offset is known beforehand. */
  #next: number[]
  /** Offsets that are no row, by partition: tombstones, aborted messages, the markers of transactions. */
  #holes: number[][]
  /** One send at a time. */
  #turn: Promise<unknown> = Promise.resolve()

  private constructor(db: Database, topic: string, table: string, partitions: number, brokers?: string) {
    this.#db = db
    this.topic = topic
    this.table = table
    this.#brokers = brokers
    this.#next = Array(partitions).fill(0)
    this.#holes = Array.from({ length: partitions }, () => [])
  }

  /** Creates the topic and the table. */
  static async open(t: Cleanup, db: Database, options: LedgerOptions = {}): Promise<Ledger> {
    const { assignments, brokers, config, constraint } = options
    const partitions = assignments?.length ?? options.partitions ?? 4
    const at = brokers === undefined ? {} : { brokers }
    const topic = await topicFor(t, {
      partitions,
      ...at,
      ...(config && { config }),
      ...(assignments && { assignments }),
    })
    const table = options.table ?? `ledger_${topic.replaceAll('-', '_')}`
    const more = constraint ? `, ${constraint}` : ''
    await db.query(`CREATE TABLE ${table} (partition int, n bigint, body text${more})`)
    return new Ledger(db, topic, table, partitions, brokers)
  }

  /** The same topic as it is loaded in a copy of the database. */
  in(db: Database): Ledger {
    const other = new Ledger(db, this.topic, this.table, 0, this.#brokers)
    other.#next = this.#next
    other.#holes = this.#holes
    return other
  }

  get total(): number {
    return this.#next.reduce((sum, next) => sum + next, 0)
  }

  /** consume_begin from the beginning, as csv. */
  async begin(options: BeginOptions = {}): Promise<void> {
    await begin(this.#db, this.topic, this.table, {
      format: 'csv',
      delimiter: ',',
      start_offset: -2,
      ...options,
    })
  }

  /** Sends so many messages, spread evenly, in record batches of `chunk` messages over all partitions. */
  async produce(count: number, chunk = 400, options: ProduceOptions = {}): Promise<void> {
    for (let sent = 0; sent < count; sent += chunk) {
      await this.#send(() => {
        const messages = Array.from({ length: Math.min(chunk, count - sent) }, () => this.#message())
        return { messages, options }
      })
    }
  }

  /** Sends what producers send otherwise: compressed, in transactions that end either way, or nothing at all. */
  async disturb(kind: 'compressed' | 'committed' | 'aborted' | 'tombstones', count: number): Promise<void> {
    if (kind === 'compressed') {
      const codec = codecs[count % codecs.length] as (typeof codecs)[number]
      return this.produce(count, count, { compression: codec })
    }
    return this.#send(() => {
      const isRow = kind === 'committed'
      const messages = Array.from({ length: count }, () => (isRow ? this.#message() : this.#hole(kind)))
      if (kind === 'tombstones') return { messages, options: {} }
      // each partition that it wrote to gets a marker
      for (const partition of new Set(messages.map((message) => message.partition!))) {
        this.#holes[partition]!.push(this.#next[partition]!++)
      }
      return { messages, options: { transaction: isRow ? 'commit' : 'abort' } as const }
    })
  }

  /** Goes on sending, some thousand messages a second, until `stop` is called; that resolves after the last one. */
  keepProducing(chunk = 100): { stop(): Promise<void> } {
    let running = true
    const work = (async () => {
      while (running) {
        await this.produce(chunk, chunk)
        await delay(pause)
      }
    })()
    // whoever stops it hears of a failure
    work.catch(() => {})
    return {
      stop: async () => {
        running = false
        await work
      },
    }
  }

  /**
   * Makes sure that at this moment the table holds each offset before the position once, unharmed, and no other.
   * @returns how many there are
   */
  async check(): Promise<number> {
    const { rows } = await this.#db.query<Count>(
      `SELECT p.partition, p.next_offset::int AS next, coalesce(l.rows, 0)::int AS rows,
              coalesce(l."distinct", 0)::int AS "distinct", coalesce(l.sound, true) AS sound
         FROM millrace.position AS p
         JOIN millrace.consumer AS c ON c.id = p.consumer_id AND c.topic = $1
         LEFT JOIN (
           SELECT partition, count(*) AS rows, count(DISTINCT n) AS "distinct",
                  bool_and(body = repeat(partition || '-' || n || ';', 1 + n::int % 5) AND n >= 0) AS sound
             FROM ${this.table} GROUP BY partition) AS l USING (partition)
        ORDER BY p.partition`,
      [this.topic],
    )
    let total = 0
    for (const { partition, rows: loaded, distinct, sound, next } of rows) {
      const where = `partition ${partition}, position ${next}: ${loaded} rows, ${distinct} of them distinct`
      assert.ok(sound, `${where}: not all as they were sent`)
      const expected = next - this.#holes[partition]!.filter((offset) => offset < next).length
      assert.deepEqual([loaded, distinct], [expected, expected], where)
      total += loaded
    }
    return total
  }

  /** Waits until the position is after everything that was sent, and makes sure that it is there, and once. */
  async untilWhole(waiting: { deadline?: number } = {}): Promise<void> {
    await this.untilLoaded(this.total, waiting)
    assert.equal(await this.check(), this.total - this.#holes.flat().length)
  }

  /** Waits until at least so many are loaded, and makes sure that they are there, and once. */
  async untilLoaded(count: number, waiting: { deadline?: number } = {}): Promise<void> {
    let passed = 0
    const there = async () => {
      const { rows } = await this.#db.query(
        `SELECT coalesce(sum(p.next_offset), 0)::int AS passed
           FROM millrace.position AS p JOIN millrace.consumer AS c ON c.id = p.consumer_id
          WHERE c.topic = $1`,
        [this.topic],
      )
      passed = rows[0].passed
      return passed >= count
    }
    await eventually(`${count} messages of ${this.topic}`, there, { deadline: 60_000, ...waiting }).catch(
      async (error) => {
        const row = await consumerOf(this.#db, this.topic).catch(() => null)
        throw new Error(`${error.message}; ${passed} are passed: ${JSON.stringify(row)}`, { cause: error })
      },
    )
    await this.check()
  }

  /** What is made for a send and what is sent before it must be in one order. */
  #send(make: () => { messages: Message[]; options: ProduceOptions }): Promise<void> {
    const sent = this.#turn.then(() => {
      const { messages, options } = make()
      const at = this.#brokers === undefined ? {} : { brokers: this.#brokers }
      return produce(this.topic, messages, { ...at, ...options })
    })
    this.#turn = sent.catch(() => {})
    return sent
  }

  #message(): Message {
    const partition = this.#next.indexOf(Math.min(...this.#next))
    const n = this.#next[partition]!++
    return { partition, value: `${partition},${n},${`${partition}-${n};`.repeat(1 + (n % 5))}` }
  }

  #hole(kind: string): Message {
    const partition = this.#next.indexOf(Math.min(...this.#next))
    this.#holes[partition]!.push(this.#next[partition]!++)
    return { partition, key: 'k', value: kind === 'tombstones' ? null : `${partition},-1,never to be seen` }
  }
}
