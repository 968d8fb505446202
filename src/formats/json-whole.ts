// A message becomes the one json, jsonb or text value of a row, byte for byte but for the newline at its end. A message
// of several JSON values, each on lines of its own, is as many rows. What is no JSON goes on as it is: in a json or
// jsonb column PostgreSQL itself says what is wrong with it, and a text column takes it.

import type { ChunkPool } from './chunk-pool.ts'
import { ChunkWriter } from './chunk-writer.ts'
import { copyEscapes, writeBytes } from './copy-text.ts'
import type { Encoded, Encoder, Target } from './format.ts'
import { carriageReturn, JsonScanner, lineFeed } from './json-scanner.ts'

export class JsonWholeEncoder implements Encoder {
  /** Every message is one that COPY can be given. */
  readonly bad = null
  readonly #out: ChunkWriter
  readonly #column: Target['columns'][number]
  readonly #scanner = new JsonScanner()
  #messages = 0

  constructor(pool: ChunkPool, column: Target['columns'][number]) {
    this.#out = new ChunkWriter(pool)
    this.#column = column
  }

  append(bytes: Buffer, start: number, end: number, _tag: number): void {
    this.#messages++
    const from = this.#column.type === 'text' ? start : byteOrderMark(bytes, start, end)
    let to = end
    if (to > from && bytes[to - 1] === lineFeed) to--
    if (to > from && bytes[to - 1] === carriageReturn) to--
    let plain = from
    while (plain < to && copyEscapes[bytes[plain]!] === 0) plain++
    if (plain === to || !this.#writeValues(bytes, from, plain, to)) this.#writeRow(bytes, from, plain, to)
  }

  finish(): Encoded {
    const chunks = this.#out.end()
    const segments = chunks.length === 0 ? [] : [{ columns: [this.#column.name], chunks }]
    return { segments, messages: this.#messages, bytes: this.#out.bytes, bad: null }
  }

  /** @returns false when it is not several values, separated by newlines; nothing is written then */
  #writeValues(bytes: Buffer, start: number, plain: number, end: number): boolean {
    const lineEnd = bytes.subarray(plain, end).indexOf(lineFeed)
    if (lineEnd < 0) return false
    const scanner = this.#scanner
    const bounds: number[] = []
    for (let p = scanner.gap(bytes, start, end); p < end; ) {
      const after = scanner.value(bytes, p, end)
      if (after < 0) return false
      bounds.push(p, after)
      p = scanner.gap(bytes, after, end)
      if (p < end && !bytes.subarray(after, p).includes(lineFeed)) return false
    }
    if (bounds.length < 4) return false
    for (let i = 0; i < bounds.length; i += 2) this.#writeRow(bytes, bounds[i]!, bounds[i]!, bounds[i + 1]!)
    return true
  }

  /** @param plain up to it there is nothing to escape */
  #writeRow(bytes: Buffer, start: number, plain: number, end: number): void {
    const out = this.#out
    const room = plain - start + 2 * (end - plain) + 1
    if (out.limit - out.position < room) out.next(room)
    out.copy(bytes, start, plain - start)
    writeBytes(out, bytes, plain, end)
    out.chunk[out.position++] = lineFeed
  }
}

/** After the UTF-8 byte order mark, when the message begins with one: it is no part of the JSON. */
export function byteOrderMark(bytes: Buffer, start: number, end: number): number {
  const marked =
    end - start >= 3 && bytes[start] === 0xef && bytes[start + 1] === 0xbb && bytes[start + 2] === 0xbf
  return marked ? start + 3 : start
}
