// A table that several sessions write to at random, whose changes go to a topic: replaying the topic has to give the table.
import assert from 'node:assert/strict'
import type pg from 'pg'
import type { Cleanup } from './cleanup.ts'
import type { Database } from './database.ts'
import { eventually } from './eventually.ts'
import type { ReadRecord } from './java-client.ts'
import { Random } from './random.ts'
import { distinct } from './sent.ts'

type Row = Record<string, unknown>

/** What a message makes of the row of its key; null: there is none. */
export type Replay = (row: Row | null, record: ReadRecord) => Row | null

/** Of pg2kafka's events. */
export const replayEvent: Replay = (row, { value }) => {
  const { statement, data } = JSON.parse(value!)
  if (statement === 'DELETE') return null
  return statement === 'UPDATE' ? { ...row, ...data } : data
}

/** Of a published table's rows. */
export const replayRow: Replay = (_, { value }) => (value === null ? null : JSON.parse(value))

export interface WrittenTableOptions {
  rows: number
  /** Follows CREATE TABLE items (...), and makes its partitions. */
  partitions?: string
}

const key = (random: Random) => `s${random.below(15_000)}`

/** One statement each, or several. */
const operations: Record<string, (random: Random) => string> = {
  insert: (r) =>
    `INSERT INTO items (sku, n, pad) VALUES ('${key(r)}', 0, repeat('i', ${r.below(900)})) ON CONFLICT DO NOTHING`,
  change: (r) => `UPDATE items SET n = n + 1 WHERE sku = '${key(r)}'`,
  move: (r) => `UPDATE items SET pad = repeat('m', ${r.below(1500)}) WHERE sku = '${key(r)}'`,
  same: (r) => `UPDATE items SET n = n WHERE id % 997 = ${r.below(997)}`,
  many: (r) => `UPDATE items SET n = n + 1 WHERE id % 499 = ${r.below(499)}`,
  remove: (r) => `DELETE FROM items WHERE sku = '${key(r)}'`,
  again: (r) => {
    const sku = key(r)
    return `DELETE FROM items WHERE sku = '${sku}'; INSERT INTO items (sku, n, pad) VALUES ('${sku}', -1, 'again') ON CONFLICT DO NOTHING`
  },
  rename: (r) => `UPDATE items SET sku = 'n' || nextval('renamed') WHERE sku = '${key(r)}'`,
  takeOver: (r) => {
    const [gone, heir] = [key(r), key(r)]
    return `DELETE FROM items WHERE sku = '${gone}'; UPDATE items SET sku = '${gone}' WHERE sku = '${heir}'`
  },
  lock: (r) => `SELECT FROM items WHERE id % 211 = ${r.below(211)} FOR NO KEY UPDATE`,
}

const weights = {
  ...{
    insert: 10,
    change: 25,
    move: 15,
    same: 1,
    many: 1,
    remove: 12,
    again: 8,
    rename: 6,
    takeOver: 6,
    lock: 1,
  },
}

export class WrittenTable {
  readonly #db: Database
  #stopped = false
  #work: Promise<void>[] = []
  /** Transactions that committed. */
  committed = 0

  private constructor(db: Database) {
    this.#db = db
  }

  static async open(db: Database, { rows, partitions = '' }: WrittenTableOptions): Promise<WrittenTable> {
    await db.query(`CREATE SEQUENCE numbers; CREATE SEQUENCE renamed;
      CREATE TABLE items (id bigint DEFAULT nextval('numbers'), sku text PRIMARY KEY, n int, pad text) ${partitions};
      INSERT INTO items (sku, n, pad) SELECT 's' || i, i, repeat('p', 800) FROM generate_series(1, ${rows}) AS i;
      DELETE FROM items WHERE id % 10 = 0`)
    // room for rows that move, before and after where the snapshot is
    await db.query('VACUUM items')
    return new WrittenTable(db)
  }

  /** Writes until `stop`. */
  start(sessions: number, seed: number): void {
    this.#work = Array.from({ length: sessions }, (_, i) => this.#keepWriting(new Random(seed + i)))
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#work)
  }

  async untilWritten(more: number): Promise<void> {
    const before = this.committed
    await eventually('writers commit', () => this.committed >= before + more)
  }

  /** The rows as JSON, by key. */
  async rows(): Promise<Map<string, Row>> {
    const { rows } = await this.#db.query<{ row: Row }>('SELECT row_to_json(i) AS row FROM items AS i')
    return new Map(rows.map(({ row }) => [String(row.sku), row]))
  }

  /** @returns how many messages there are of each statement */
  async check(t: Cleanup, topic: string, replay: Replay = replayEvent): Promise<number> {
    const { records } = await distinct(t, topic)
    const model = new Map<string, Row>()
    for (const record of records) {
      const row = replay(model.get(record.key!) ?? null, record)
      if (row === null) model.delete(record.key!)
      else model.set(record.key!, row)
    }
    const table = await this.rows()
    const wrong = [...new Set([...table.keys(), ...model.keys()])].filter(
      (sku) => JSON.stringify(sorted(table.get(sku))) !== JSON.stringify(sorted(model.get(sku))),
    )
    for (const sku of wrong.slice(0, 3)) {
      const history = records.filter((record) => record.key === sku)
      assert.deepEqual(
        model.get(sku),
        table.get(sku),
        `${wrong.length} of ${table.size} rows differ; ${sku}: ${JSON.stringify(history.map(({ value }) => value?.slice(0, 200)))}`,
      )
    }
    return records.length
  }

  async #keepWriting(random: Random): Promise<void> {
    const client = await this.#db.client()
    await client.query("SET lock_timeout = '100ms'")
    while (!this.#stopped) await this.#transaction(client, random)
    await client.end()
  }

  async #transaction(client: pg.Client, random: Random): Promise<void> {
    const isolation = random.chance(0.2) ? 'REPEATABLE READ' : 'READ COMMITTED'
    try {
      await client.query(`BEGIN ISOLATION LEVEL ${isolation}`)
      for (let left = random.upTo(4); left > 0; left--) {
        await client.query('SAVEPOINT here')
        const undone = random.chance(0.1)
        await client.query(operations[random.weighted(weights)]!(random)).catch((error) => {
          // another row has the name, or somebody holds a lock for long
          if (!['23505', '55P03'].includes(error.code)) throw error
          return client.query('ROLLBACK TO here')
        })
        if (undone) await client.query('ROLLBACK TO here')
      }
      await client.query(random.chance(0.15) ? 'ROLLBACK' : 'COMMIT')
      this.committed++
    } catch (error) {
      // two writers that wait for each other, or one whose row was changed since its transaction began
      if (!['40P01', '40001'].includes((error as { code?: string }).code ?? '')) throw error
      await client.query('ROLLBACK')
    }
  }
}

function sorted(row: Row | undefined): [string, unknown][] | null {
  return row ? Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)) : null
}
