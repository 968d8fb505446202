// Writers whose messages can be checked: each writes rows of a table and messages of the same transactions, and a message
// tells the number that its key had then.
import assert from 'node:assert/strict'
import type { Cleanup } from './cleanup.ts'
import type { Database } from './database.ts'
import { promptDaemon } from './flow.ts'
import type { ReadRecord } from './java-client.ts'
import { distinct, promptRelay } from './sent.ts'

export class KeyWriters {
  readonly #db: Database
  readonly topic: string
  readonly #keys: number
  #stopped = false
  #work: Promise<void>[] = []

  private constructor(db: Database, topic: string, keys: number) {
    this.#db = db
    this.topic = topic
    this.#keys = keys
  }

  static async open(db: Database, topic: string, keys = 20): Promise<KeyWriters> {
    await db.query(`CREATE TABLE IF NOT EXISTS counter (key text PRIMARY KEY, n int NOT NULL);
      CREATE TABLE IF NOT EXISTS written (key text, n int, PRIMARY KEY (key, n))`)
    return new KeyWriters(db, topic, keys)
  }

  /** So many messages in one statement each. */
  async write(count: number, client: { query: Database['query'] } = this.#db): Promise<void> {
    for (let left = count; left > 0; left -= this.#keys) await client.query(this.#sql)
  }

  /** Writes until `stop`, in so many sessions. Errors of a server that is away are passed over. */
  start(sessions: number, setup = ''): void {
    this.#work = Array.from({ length: sessions }, () => this.#keepWriting(setup))
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#work)
  }

  async count(): Promise<number> {
    return (await this.#db.query('SELECT count(*)::int AS count FROM written')).rows[0].count
  }

  /** Messages, and a daemon that is killed at the failpoint when it passes there for the nth time. */
  async writeUntilKilled(t: Cleanup, failpoint: string, passage: number): Promise<void> {
    await this.write(400)
    const victim = await promptDaemon(t, this.#db, {
      env: {
        ...promptRelay,
        MILLRACE_OUTBOUND_BATCH_SIZE: '1kB',
        MILLRACE_FAILPOINTS: `${failpoint}=crash@${passage}`,
      },
    })
    let running = true
    void victim.exited.then(() => (running = false))
    // a later passage takes more batches
    while (running) await this.write(20)
    assert.deepEqual(await victim.exited, { code: null, signal: 'SIGKILL' }, failpoint)
  }

  /** Each row of the table is a message, and each message a row; a key's messages are in its order. */
  async check(t: Cleanup, brokers?: string): Promise<{ repeated: number }> {
    const { records, repeated } = await distinct(t, this.topic, brokers)
    const { rows } = await this.#db.query("SELECT key || ' ' || n AS value FROM written ORDER BY key, n")
    assert.deepEqual(
      records.map(({ value }) => value).sort(),
      rows.map(({ value }) => value).sort(),
      'messages and rows are the same',
    )
    checkOrder(records)
    return { repeated }
  }

  async #keepWriting(setup: string): Promise<void> {
    while (!this.#stopped) {
      try {
        const client = await this.#db.client()
        if (setup) await client.query(setup)
        while (!this.#stopped) await client.query(this.#sql)
      } catch (error) {
        if (!away(error)) throw error
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
  }

  /** Keys in one order, so that nobody waits for each other in a circle. */
  get #sql(): string {
    return `
      DO $$
      DECLARE k text; number int;
      BEGIN
        FOR i IN 1..${this.#keys} LOOP
          k := 'key ' || lpad(i::text, 3, '0');
          INSERT INTO counter AS c VALUES (k, 1) ON CONFLICT (key) DO UPDATE SET n = c.n + 1 RETURNING n INTO number;
          INSERT INTO written VALUES (k, number);
          PERFORM millrace.produce('${this.topic}', k || ' ' || number, k);
        END LOOP;
      END $$`
  }
}

export function checkOrder(records: ReadRecord[]): void {
  for (const [key, own] of Map.groupBy(records, (record) => record.key)) {
    const numbers = own.map(({ value }) => Number(value!.split(' ').at(-1)))
    assert.deepEqual(
      numbers,
      numbers.toSorted((a, b) => a - b),
      `the order of ${key}`,
    )
  }
}

function away(error: unknown): boolean {
  const { code, message } = error as { code?: string; message?: string }
  return (
    /^(57P0|08|ECONN|EPIPE)/.test(code ?? '') ||
    /Connection terminated|not queryable|closed/.test(message ?? '')
  )
}
