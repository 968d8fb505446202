// PostgreSQL's own word on what a stream of bytes means: COPY into a table, what is in it then, and back.
import type pg from 'pg'
import { createFormat } from '../../src/formats/create-format.ts'
import type { Encoded, Format, FormatOptions } from '../../src/formats/format.ts'
import { CopyIn } from '../../src/postgres/copy.ts'
import type { Cleanup } from '../support/cleanup.ts'
import { databaseFor } from '../support/database.ts'
import { encode, type Message } from './encode.ts'

/** The rows, sorted, as PostgreSQL prints them; or its error. */
export type Loaded = { rows: string[] } | { error: string }

type Copy = [statement: string, chunks: Buffer[]]

export class Table {
  readonly client: pg.Client
  readonly serverVersion: number
  readonly #columns: FormatOptions['target']['columns']

  private constructor(client: pg.Client, serverVersion: number, columns: FormatOptions['target']['columns']) {
    this.client = client
    this.serverVersion = serverVersion
    this.#columns = columns
  }

  /** A temporary table t in a database of its own. @param definition of its columns */
  static async create(t: Cleanup, definition: string): Promise<Table> {
    const client = await (await databaseFor(t, { empty: true })).client()
    await client.query(`CREATE TEMP TABLE t (${definition}) ON COMMIT DELETE ROWS`)
    const { rows: columns } = await client.query(`
      SELECT attname AS name, atthasdef OR attidentity <> '' AS "hasDefault",
             CASE WHEN typname IN ('json', 'jsonb', 'text', 'bytea') THEN typname
                  WHEN typname IN ('_json', '_jsonb') THEN 'json-array' WHEN typname = '_box' THEN 'box-array'
                  WHEN typcategory = 'A' THEN 'array' ELSE 'other' END AS type
        FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid
       WHERE attrelid = 't'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
       ORDER BY attnum`)
    const { rows } = await client.query("SELECT current_setting('server_version_num')::int AS version")
    return new Table(client, rows[0].version, columns)
  }

  format(options: Partial<FormatOptions>): Format {
    return createFormat({
      format: 'text',
      delimiter: null,
      quote: null,
      escape: null,
      encoding: null,
      serverVersion: this.serverVersion,
      target: { schema: 'pg_temp', name: 't', columns: this.#columns },
      ...options,
    })
  }

  /** What the bytes become as the input of one COPY. */
  copy(format: Format, bytes: Buffer): Promise<Loaded> {
    return this.#outcome([[format.copyStatement({ columns: null, chunks: [] }), [bytes]]])
  }

  /** What the messages become, in one transaction. All of them must be good. */
  async load(format: Format, messages: Message[]): Promise<Loaded> {
    const encoded = encode(format, messages)
    if (encoded.bad) throw new Error(`message ${encoded.bad.tag}: ${encoded.bad.code}`)
    return this.send(format, encoded)
  }

  send(format: Format, { segments }: Encoded): Promise<Loaded> {
    return this.#outcome(segments.map((segment) => [format.copyStatement(segment), segment.chunks]))
  }

  /** What `query` returns while the rows are there. */
  async within(format: Format, encoded: Encoded, query = 'SELECT * FROM t'): Promise<pg.QueryResultRow[]> {
    if (encoded.bad) throw new Error(`message ${encoded.bad.tag}: ${encoded.bad.code}`)
    await this.client.query('BEGIN')
    try {
      await this.#copyAll(encoded.segments.map((segment) => [format.copyStatement(segment), segment.chunks]))
      return (await this.client.query(query)).rows
    } finally {
      // empties the table
      await this.client.query('COMMIT')
    }
  }

  async #outcome(copies: Copy[]): Promise<Loaded> {
    await this.client.query('BEGIN')
    try {
      await this.#copyAll(copies)
    } catch (error) {
      await this.client.query('ROLLBACK')
      return { error: (error as Error).message }
    }
    const { rows } = await this.client.query<{ row: string }>('SELECT t::text AS row FROM t')
    await this.client.query('COMMIT')
    return { rows: sorted(rows.map(({ row }) => row)) }
  }

  async #copyAll(copies: Copy[]): Promise<void> {
    for (const [statement, chunks] of copies) await this.client.query(new CopyIn(statement, chunks)).done
  }
}

/** By their bytes. */
export function sorted(rows: string[]): string[] {
  return rows.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
}
