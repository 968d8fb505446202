// A format turns the values of messages into the bytes of COPY ... FROM STDIN, exactly the rows that COPY would
// read from the same lines in a file. A message is loaded whole or not at all, and one that cannot be loaded
// never changes what becomes of its neighbours.

import type { ErrorCode } from '../errors.ts'
import type { ChunkPool } from './chunk-pool.ts'
import { createCsv } from './csv.ts'
import { createJson } from './json.ts'
import { createText } from './text.ts'

/** Why a message may not go into COPY, found by looking at its bytes. */
export type BadCode = Documented<
  | 'trailing-backslash'
  | 'copy-end-marker'
  | 'carriage-return'
  | 'unbalanced-quote'
  | 'json-invalid'
  | 'json-not-object'
  | 'json-no-columns'
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
  /** Of the column list; null is a COPY without one. */
  columns: string[] | null
  /** To be given back to the pool, each of them. */
  chunks: Buffer[]
}

/** What precedes the first bad message: all of it, when there is none. */
export interface Encoded {
  segments: Segment[]
  messages: number
  /** Bytes in the segments' chunks. */
  bytes: number
  bad: BadMessage | null
}

/** For one batch: any number of `append`, then `finish` once. */
export interface Encoder {
  /**
   * Adds the message in bytes[start, end), which is not empty. The bytes are copied. Ignored after a bad message.
   * @param tag a number that the caller maps back to an offset
   */
  append(bytes: Buffer, start: number, end: number, tag: number): void
  /** The first bad message as far as the bytes have been examined: the last 256 KiB may still hold an earlier one. */
  readonly bad: BadMessage | null
  /** Examines what is outstanding. */
  finish(): Encoded
}

export interface Format {
  readonly name: FormatName
  encoder(pool: ChunkPool): Encoder
  /** COPY ... FROM STDIN for a segment. */
  copyStatement(segment: Segment): string
}

export type FormatName = 'text' | 'csv' | 'json'

/** `json`, `jsonb`, `text`: the type itself, or the base of a domain. `array`: any array type. */
export type ColumnType = 'json' | 'jsonb' | 'text' | 'array' | 'other'

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
}

export function createFormat(options: FormatOptions): Format {
  switch (options.format) {
    case 'text':
      return createText(options)
    case 'csv':
      return createCsv(options)
    case 'json':
      return createJson(options)
  }
}
