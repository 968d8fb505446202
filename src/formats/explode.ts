// For messages of which many are bad: rows for a staging table whose columns are all text, whatever the format, and for
// each message by itself the word that COPY would have for it. What a column's type makes of a field is seen there.

import type { ChunkPool } from './chunk-pool.ts'
import { copyStatement } from './copy-statement.ts'
import { csvDialect } from './csv-dialect.ts'
import { embeddingWidth } from './encodings.ts'
import { ExplodedRows, type Judge, JudgedRows } from './exploded-rows.ts'
import { CsvSplitter, TextSplitter } from './field-splitter.ts'
import type { BadCode, Encoded, FormatOptions, Message, Segment } from './format.ts'
import { jsonRows } from './json.ts'
import { filledColumns, isUtf8Encoding, needsRecords, prefixOf, tabFields } from './layout.ts'
import { CsvLines, TextLines } from './line-rows.ts'
import { RowWriter } from './row-encoder.ts'
import type { Fault, Rows } from './rows.ts'
import { invalidText } from './validity.ts'
import { ValueRows } from './value-rows.ts'

export interface ExplodedFormat {
  readonly needsRecords: boolean
  /** That the message fills, in order, after the prefix's. Their values are text, as COPY would read them. */
  readonly columns: string[]
  exploder(pool: ChunkPool): Exploder
  /** Always COPY's text format with tabs, in the messages' encoding. */
  copyStatement(segment: Segment): string
}

/** For one batch. A message that is refused changes nothing about those before and after it. */
export interface Exploder {
  /** Messages without a value that were passed over so far. */
  readonly skipped: number
  /** Adds the rows of the message, or none of them and says why. */
  appendRecord(message: Message): Refusal | null
  /** The same for a value alone, where `needsRecords` is not set. */
  append(bytes: Buffer, start: number, end: number, tag: number): Refusal | null
  finish(): Encoded
}

export interface Refusal {
  /** `message-rejected`: COPY's reader would refuse it. */
  code: BadCode
  /** COPY's; null where PostgreSQL has not been asked: an object that is none, say. */
  sqlstate: string | null
  /** COPY's message, or ours. */
  reason: string
}

/**
 * @param options those of createFormat. The target's columns have the types of the real relation, so that values are
 *   written as those types read them, and the target's name is the staging table's. A column whose key is missing is
 *   NULL; with the prefix `absent` that can be told from null.
 * @throws MillraceError json-path-invalid
 */
export function createExploder(options: FormatOptions): ExplodedFormat {
  const { format, target, tombstone } = options
  const columns = filledColumns(options).map(({ name }) => name)
  const fields = tabFields(options)
  const judge = judgeOf(options)
  const makeRows = rowsOf(options, columns, judge)
  const encoding = format === 'json' ? 'UTF8' : options.encoding
  return {
    columns,
    needsRecords: needsRecords(options, prefixOf(options, fields)),
    exploder: (pool) =>
      new RowExploder(
        new RowWriter(pool, makeRows(), prefixOf(options, fields), tombstone ?? 'skip'),
        keyIsText(options) ? judge : null,
      ),
    copyStatement: (segment) =>
      copyStatement(target, segment.columns, { format: 'text', delimiter: '\t', encoding }),
  }
}

class RowExploder implements Exploder {
  readonly #writer: RowWriter
  /** Of the key, where it is a text in the prefix. */
  readonly #judgeKey: Judge | null

  constructor(writer: RowWriter, judgeKey: Judge | null) {
    this.#writer = writer
    this.#judgeKey = judgeKey
  }

  get skipped(): number {
    return this.#writer.skipped
  }

  appendRecord(message: Message): Refusal | null {
    const { bytes, keyStart, keyEnd } = message
    const invalid = keyStart < 0 || !this.#judgeKey ? null : this.#judgeKey(bytes.subarray(keyStart, keyEnd))
    return refusal(invalid ?? this.#writer.addRecord(message))
  }

  append(bytes: Buffer, start: number, end: number, tag: number): Refusal | null {
    return refusal(this.#writer.add(bytes, start, end, tag, null))
  }

  finish(): Encoded {
    const { messages, skipped } = this.#writer
    const segments = this.#writer.end()
    return { segments, messages, skipped, bytes: this.#writer.bytes, bad: null }
  }
}

function refusal(fault: Fault | null): Refusal | null {
  return fault && { code: fault.code, sqlstate: fault.sqlstate ?? null, reason: fault.reason }
}

function rowsOf(options: FormatOptions, columns: string[], judge: Judge): () => Rows {
  const { format, value, encoding, databaseEncoding, serverVersion, keyColumns = [] } = options
  if (format === 'json') {
    const makeRows = jsonRows(options, 'numbered')
    return () => new JudgedRows(makeRows(), judge)
  }
  if (value) return () => new JudgedRows(new ValueRows(value, tabFields(options)), judge)
  const parts = { fields: tabFields(options), judge, columns, keyColumns }
  if (format === 'csv') {
    const dialect = csvDialect(options)
    return () =>
      new ExplodedRows({ ...parts, lines: new CsvLines(dialect), splitter: new CsvSplitter(dialect) })
  }
  const width = embeddingWidth(encoding, databaseEncoding)
  const delimiter = options.delimiter ?? '\t'
  const judgeEscaped = escapedJudgeOf(options)
  return () =>
    new ExplodedRows({
      ...parts,
      lines: new TextLines(width),
      splitter: new TextSplitter(delimiter, width, judgeEscaped, serverVersion),
    })
}

function judgeOf({ format, encoding }: FormatOptions): Judge {
  const isUnicode = format === 'json' || isUtf8Encoding(encoding)
  const name = isUnicode ? 'UTF8' : encoding!
  return (bytes) => invalidText(bytes, name, isUnicode)
}

/**
 * What escapes say is in the database's encoding. Where that is not the messages', the text around them is known to the
 * server alone, so only a NUL is looked for.
 */
function escapedJudgeOf({ encoding, databaseEncoding = 'UTF8' }: FormatOptions): Judge {
  const isUnicode = isUtf8Encoding(encoding) && isUtf8Encoding(databaseEncoding)
  return (bytes) => invalidText(bytes, databaseEncoding, isUnicode)
}

function keyIsText({ prefix = [] }: FormatOptions): boolean {
  return prefix.some(({ field, type }) => field === 'key' && type !== 'bytea')
}
