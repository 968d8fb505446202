// A format turns the values of messages into the bytes of COPY ... FROM STDIN, exactly the rows that COPY would
// read from the same lines in a file. A message is loaded whole or not at all, and one that cannot be loaded
// never changes what becomes of its neighbours.

import type { ErrorCode } from '../errors.ts'
import type { ChunkPool } from './chunk-pool.ts'
import type { Message } from './message.ts'

export type { Header, Message } from './message.ts'

/** Why a message may not go into COPY, found by looking at its bytes. */
export type BadCode = Documented<
  | 'trailing-backslash'
  | 'copy-end-marker'
  | 'carriage-return'
  | 'unbalanced-quote'
  | 'json-invalid'
  | 'json-not-object'
  | 'json-no-columns'
  | 'route-missing'
  | 'json-no-match'
  | 'json-unknown-key'
  | 'json-missing-key'
  | 'change-invalid'
  | 'change-no-key'
  | 'change-value-unavailable'
  | 'tombstone-no-key'
  /** By COPY's own reader, which only an exploder knows: see explode.ts. */
  | 'message-rejected'
>

type Documented<Code extends ErrorCode> = Code

export interface BadMessage {
  tag: number
  code: BadCode
  /** For people. It has positions, never bytes, of the message. */
  reason: string
}

/** One COPY statement's worth. */
export interface Segment {
  /** Of the column list, the prefix's columns first; null: the format's own list, or none. */
  columns: string[] | null
  /** To be given back to the pool, each of them. */
  chunks: Buffer[]
}

/** What precedes the first bad message: all of it, when there is none. */
export interface Encoded {
  segments: Segment[]
  /** That became rows: one message one row, several or none (an empty array). */
  messages: number
  /** Tombstones and empty messages that made no row. Only `appendRecord` is told of any. */
  skipped: number
  /** Bytes in the segments' chunks. */
  bytes: number
  bad: BadMessage | null
}

/** For one batch: any number of `append` and `appendRecord`, then `finish` once. */
export interface Encoder {
  /**
   * Adds the message in bytes[start, end), which is not empty. The bytes are copied. Ignored after a bad message.
   * @param tag a number that the caller maps back to an offset
   */
  append(bytes: Buffer, start: number, end: number, tag: number): void
  /**
   * Adds a message with all that it has; it may be empty or a tombstone. Nothing of it is kept. Ignored after a bad
   * message.
   * @returns whether it was not passed over, as a tombstone or an empty message may be
   * @throws what message.headers() throws, before anything of the message is added
   */
  appendRecord(message: Message): boolean
  /** The first bad message as far as the bytes have been examined: the last 256 KiB may still hold an earlier one. */
  readonly bad: BadMessage | null
  /** Examines what is outstanding. */
  finish(): Encoded
}

export interface Format {
  readonly name: FormatName
  /** `append` does not know enough: the prefix, a tombstone or a change needs `appendRecord`. */
  readonly needsRecords: boolean
  /** That the message fills, in order: what follows the prefix's columns in a row. */
  readonly columns: string[]
  encoder(pool: ChunkPool): Encoder
  /** COPY ... FROM STDIN for a segment. */
  copyStatement(segment: Segment): string
}

export type FormatName = 'text' | 'csv' | 'json'

/**
 * `json`, `jsonb`, `text`, `bytea`: the type itself, or the base of a domain. `json-array`: of json or jsonb;
 * `box-array`: of boxes, whose delimiter is a semicolon; `array`: of anything else.
 */
export type ColumnType = 'json' | 'jsonb' | 'text' | 'bytea' | 'json-array' | 'box-array' | 'array' | 'other'

export interface Column {
  name: string
  type: ColumnType
  /** COPY has something to put where the column is left out: a default, an identity, or its domain's default. */
  hasDefault: boolean
}

/** The relation, with the columns that COPY fills, in order: generated ones are left out. */
export interface Target {
  schema: string
  name: string
  columns: Column[]
}

export type PrefixName =
  /** The number given to `append`: bigint. */
  | 'tag'
  /** 0, 1, 2 and so on over all rows of one encoder: bigint. Tells the rows of a message apart and orders them. */
  | 'row'
  /** What to do with the row: `u` insert or update, `d` delete, `t` truncate. Always `u` in mode insert. */
  | 'op'
  /**
   * int[]: the numbers, from 1 on in `Format.columns`, of the columns that have a default and whose key was missing;
   * NULL when there is none. The columns themselves are NULL. Only json has them.
   */
  | 'absent'
  | 'key'
  | 'topic'
  | 'partition'
  | 'offset'
  /** timestamptz; NULL when there is none. */
  | 'timestamp'
  /** json, jsonb or text: [{"name":"a","value":"b"}]; see headersJson. */
  | 'headers'

export interface PrefixField {
  field: PrefixName
  column: string
  /** Of the column. It matters for the key: bytea gives its bytes, everything else is taken for text. */
  type?: ColumnType
}

export interface FormatOptions {
  format: FormatName
  /** One ASCII character, as are quote and escape. Null: what COPY takes then. json uses none of the three. */
  delimiter: string | null
  quote: string | null
  escape: string | null
  /** PostgreSQL's name of the messages' encoding; null is the connection's client_encoding, taken to be UTF8. */
  encoding: string | null
  /** The database's own. Nothing is converted into SQL_ASCII: there COPY looks at the bytes as they come. */
  databaseEncoding?: string
  target: Target
  /** As server_version_num has it: 180004. */
  serverVersion: number
  /** Fields of each row before the message's own, in order. Their columns are none that the message fills. */
  prefix?: PrefixField[]
  /** The columns that the message fills, in order. Null: all of the relation's that are not the prefix's. */
  columns?: string[] | null
  /** The message is not taken apart: it is this column's value. What json_path finds is that in a json format. */
  value?: Column | null
  /** What a message without a value becomes. Default: skip. */
  tombstone?: Tombstone
  /** Default: insert. `upsert` makes the same rows; `changes`, of json only, those that Debezium's events tell of. */
  mode?: Mode
  /** What identifies a row, for deletes and for changes. */
  keyColumns?: string[]
  /** json: where in the message its rows are; see parseJsonPath. */
  jsonPath?: string | null
  /** json: the column that takes an object of the keys that are no column. */
  restColumn?: string | null
  unknownKeys?: 'ignore' | 'error'
  missingKeys?: 'default' | 'error'
}

export type Mode = 'insert' | 'upsert' | 'changes'

/**
 * `row`: a row of the prefix and NULLs. `delete`: a row whose `op` is d, with the key columns of the message's key, if
 * the value is null; a message that is empty without being null is skipped then.
 */
export type Tombstone = 'skip' | 'row' | 'delete'
