// What text and csv share: a message's bytes are copied as they are, with one newline at the end, and only that end
// is looked at on the way. What else could do harm hides behind a few special bytes: a run of messages, up to a chunk
// of them, is searched for those with native calls, and only a run that holds one is walked byte by byte. A bad
// message is found before anything of its run leaves this file.

import type { ChunkPool } from './chunk-pool.ts'
import { ChunkWriter } from './chunk-writer.ts'
import type { BadMessage, Encoded, Encoder } from './format.ts'
import { trailingBackslash } from './line-faults.ts'
import type { Message } from './message.ts'
import type { Fault } from './rows.ts'

export const newline = 0x0a
export const carriageReturn = 0x0d
export const backslash = 0x5c
export const dot = 0x2e

/** Bounds the memory for a run's ends and tags, 12 bytes a message. */
const longestRun = 16384

export abstract class LineEncoder implements Encoder {
  bad: BadMessage | null = null
  protected readonly out: ChunkWriter
  /** Where the run begins in the writer's chunk. */
  #runStart = 0
  #count = 0
  /** The run's messages: where each ends in the writer's chunk, after its newline. */
  #ends = new Int32Array(256)
  #tags = new Float64Array(256)
  #fault: Fault = trailingBackslash
  #messages = 0
  #skipped = 0
  /** What a message without a value becomes: a message that says NULL in each column; null: it is passed over. */
  readonly #tombstone: Buffer | null

  constructor(pool: ChunkPool, tombstone: Buffer | null) {
    this.out = new ChunkWriter(pool)
    this.#tombstone = tombstone
  }

  appendRecord({ bytes, valueStart, valueEnd, tag }: Message): boolean {
    if (valueEnd > valueStart) this.append(bytes, valueStart, valueEnd, tag)
    else if (this.#tombstone !== null) this.append(this.#tombstone, 0, this.#tombstone.length, tag)
    else {
      if (this.bad === null) this.#skipped++
      return false
    }
    return true
  }

  append(bytes: Buffer, start: number, end: number, tag: number): void {
    if (this.bad !== null) return
    let stop = bytes[end - 1] === newline ? end - 1 : end
    if (stop > start) {
      const last = bytes[stop - 1]
      if (last === carriageReturn || last === backslash) {
        stop = this.contentEnd(bytes, start, stop)
        if (stop < 0) {
          this.#refuse(tag)
          return
        }
      }
    }
    const out = this.out
    const length = stop - start
    if (length >= out.limit - out.position) {
      this.#examine()
      if (this.bad !== null) return
      out.next(length + 1)
      this.#runStart = 0
    } else if (this.#count === this.#ends.length) {
      this.#extendRun()
      if (this.bad !== null) return
    }
    out.copy(bytes, start, length)
    out.chunk[out.position++] = newline
    const i = this.#count++
    this.#ends[i] = out.position
    this.#tags[i] = tag
  }

  finish(): Encoded {
    if (this.bad === null) this.#examine()
    const chunks = this.out.end()
    const segments = chunks.length === 0 ? [] : [{ columns: null, chunks }]
    return {
      segments,
      messages: this.#messages,
      skipped: this.#skipped,
      bytes: this.out.bytes,
      bad: this.bad,
    }
  }

  /**
   * Where the content of a message ends whose last byte, newline apart, is a carriage return or a backslash.
   * @param stop after that byte
   * @returns -1 from `fault` for a backslash that would escape the newline
   */
  protected abstract contentEnd(bytes: Buffer, start: number, stop: number): number

  /** Whether the run holds anything that `mend` has to see. */
  protected abstract isSuspicious(run: Buffer): boolean

  /**
   * Examines the message in chunk[read, end), of which the last byte is its newline, and moves it to `write`, which is
   * not after `read`.
   * @returns where it ends then; -1 from `fault` when it is bad
   */
  protected abstract mend(chunk: Buffer, read: number, end: number, write: number): number

  protected fault(fault: Fault): -1 {
    this.#fault = fault
    return -1
  }

  /** After the run's messages have been mended up to `end`. @returns what `end` is afterwards */
  protected settle(end: number): number {
    return end
  }

  #examine(): void {
    if (this.#count === 0) return
    const { chunk, position } = this.out
    if (this.isSuspicious(chunk.subarray(this.#runStart, position))) this.#mendRun(chunk)
    this.#messages += this.#count
    this.#runStart = this.out.position
    this.#count = 0
  }

  #mendRun(chunk: Buffer): void {
    let read = this.#runStart
    let write = read
    for (let i = 0; i < this.#count; i++) {
      const end = this.#ends[i]!
      const mended = this.mend(chunk, read, end, write)
      if (mended < 0) {
        this.bad = { tag: this.#tags[i]!, ...this.#fault }
        this.#count = i
        break
      }
      read = end
      write = mended
    }
    this.out.position = write
    this.out.position = this.settle(write)
  }

  #refuse(tag: number): void {
    this.#examine()
    this.bad ??= { tag, ...this.#fault }
  }

  #extendRun(): void {
    if (this.#count === longestRun) {
      this.#examine()
      return
    }
    const ends = new Int32Array(this.#count * 4)
    const tags = new Float64Array(this.#count * 4)
    ends.set(this.#ends)
    tags.set(this.#tags)
    this.#ends = ends
    this.#tags = tags
  }
}

/** Before its first newline COPY also takes a carriage return for a line end. */
export function isLineEnd(byte: number): boolean {
  return byte === newline || byte === carriageReturn
}

/** A native call takes longer than moving so many bytes one by one. */
export const fewBytes = 32

/** Moves chunk[from, to) down to `at`. @returns where they end */
export function moveDown(chunk: Buffer, at: number, from: number, to: number): number {
  if (at === from) return to
  if (to - from > fewBytes) chunk.copyWithin(at, from, to)
  else for (let i = from, j = at; i < to; i++, j++) chunk[j] = chunk[i]!
  return at + to - from
}
