// csv: a record ends at a newline outside quotes, and a message holds whole records. Line ends inside quotes are data
// and stay; outside, CRLF becomes LF. A record that is \. alone is data, but before version 18 COPY takes it for the
// end of the input, so it is written in another way that every version reads as the same value.
//
// COPY's reading of lines, csv format: https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.3

import type { ChunkPool } from './chunk-pool.ts'
import { copyStatement } from './copy-statement.ts'
import { type CsvDialect, csvDialect } from './csv-dialect.ts'
import { CsvFields } from './field-writer.ts'
import type { Format, FormatOptions } from './format.ts'
import {
  backslash,
  carriageReturn,
  dot,
  fewBytes,
  isLineEnd,
  LineEncoder,
  moveDown,
  newline,
} from './line-encoder.ts'
import { csvCarriageReturn, csvEndMarker, openQuote } from './line-faults.ts'
import { lineFormat, listOf } from './line-format.ts'
import { CsvLines } from './line-rows.ts'

const markerLine = Buffer.from('\n\\.\n')

export function createCsv(options: FormatOptions): Format {
  const { target, encoding } = options
  const dialect = csvDialect(options)
  const lines = { reader: () => new CsvLines(dialect), fields: new CsvFields(dialect) }
  return {
    name: 'csv',
    ...lineFormat(options, lines, (pool, nulls) => new CsvRuns(pool, dialect, nulls)),
    copyStatement: (segment) =>
      copyStatement(target, listOf(options, segment), { format: 'csv', ...dialect.options, encoding }),
  }
}

class CsvRuns extends LineEncoder {
  readonly #dialect: CsvDialect
  /** 1 for a byte that the walk stops at. */
  readonly #special = new Uint8Array(256)
  /** Quotes are all there is to see in the run. */
  #onlyQuotes = false
  /** Where a record of the run begins with a \. to be replaced. */
  #markers: number[] = []

  constructor(pool: ChunkPool, dialect: CsvDialect, nulls: Buffer | null) {
    super(pool, nulls)
    this.#dialect = dialect
    for (const byte of [dialect.quote, dialect.escape, carriageReturn, newline, backslash]) {
      if (byte >= 0) this.#special[byte] = 1
    }
    if (dialect.width) this.#special.fill(1, 0x80)
  }

  /** Inside quotes it is no end, and then the message is bad anyway. */
  protected override contentEnd(bytes: Buffer, _start: number, stop: number): number {
    return bytes[stop - 1] === carriageReturn ? stop - 1 : stop
  }

  protected override isSuspicious(run: Buffer): boolean {
    const lineEnds = run.includes(carriageReturn)
    const marker = run.includes(markerLine) || startsWith(run, markerLine.subarray(1))
    this.#onlyQuotes = !lineEnds && !marker && this.#dialect.escape < 0 && this.#dialect.width === null
    return lineEnds || marker || run.includes(this.#dialect.quote)
  }

  protected override mend(chunk: Buffer, read: number, end: number, write: number): number {
    if (!this.#onlyQuotes) return this.#mendRecords(chunk, read, end, write)
    const quote = this.#dialect.quote
    let odd = 0
    for (let p = read; p < end; p++) if (chunk[p] === quote) odd ^= 1
    return odd === 0 ? end : this.fault(openQuote)
  }

  #mendRecords(chunk: Buffer, read: number, end: number, write: number): number {
    const special = this.#special
    const { quote, escape: escaping, width: widthOf } = this.#dialect
    const last = end - 1
    let record = write
    let quoted = false
    let escaped = false
    while (read < end) {
      const from = read
      // the newline at the end stops it
      while (special[chunk[read]!] === 0) read++
      if (read > from) {
        write = moveDown(chunk, write, from, read)
        escaped = false
      }
      const byte = chunk[read]!
      if (byte >= 0x80 && widthOf !== null) {
        const width = widthOf(chunk, read, last)
        write = moveDown(chunk, write, read, read + width)
        read += width
        escaped = false
        continue
      }
      if (byte === backslash && write === record && chunk[read + 1] === dot && isLineEnd(chunk[read + 2]!)) {
        if (this.#dialect.marker === null) {
          return this.fault(csvEndMarker)
        }
        this.#markers.push(write)
      }
      // COPY looks for quotes like this before it looks at fields
      if (byte === escaping) {
        escaped = quoted && !escaped
      } else {
        if (byte === quote && !escaped) quoted = !quoted
        escaped = false
      }
      if (!quoted && byte === carriageReturn) {
        // the one at the message's end is gone already
        if (chunk[read + 1] !== newline || read + 1 === last) {
          return this.fault(csvCarriageReturn)
        }
        read++
        continue
      }
      if (!quoted && byte === newline) record = write + 1
      chunk[write++] = byte
      read++
    }
    return quoted ? this.fault(openQuote) : write
  }

  protected override settle(end: number): number {
    // a bad message may have left some
    const markers = this.#markers.filter((at) => at < end)
    const { marker } = this.#dialect
    if (markers.length === 0 || marker === null) return end
    this.#markers = []
    const first = markers[0]!
    const chunk = this.out.chunk
    const tail = Buffer.allocUnsafe(end - first + markers.length * (marker.length - 2))
    let write = 0
    for (let i = 0; i < markers.length; i++) {
      const read = markers[i]! + 2
      const next = i + 1 < markers.length ? markers[i + 1]! : end
      for (let m = 0; m < marker.length; m++) tail[write++] = marker[m]!
      if (next - read > fewBytes) write += chunk.copy(tail, write, read, next)
      else for (let p = read; p < next; p++) tail[write++] = chunk[p]!
    }
    this.out.rewrite(first, tail)
    return this.out.position
  }
}

function startsWith(bytes: Buffer, prefix: Buffer): boolean {
  return bytes.subarray(0, prefix.length).equals(prefix)
}
