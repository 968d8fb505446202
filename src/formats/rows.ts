// The rows that one message becomes. They are read first, all of them, and written afterwards: what was read can be
// written without any doubt left.

import type { ChunkWriter } from './chunk-writer.ts'
import type { BadCode } from './format.ts'
import type { Message } from './message.ts'
import type { RowMarks } from './prefix.ts'

/** Why a message has no rows. */
export interface Fault {
  code: BadCode
  /** For people. It has positions, never bytes, of the message. */
  reason: string
  /** COPY's, of an exploder. */
  sqlstate?: string
  /** The byte that COPY stops at: the first of several faults is the one that it reports. */
  at?: number
}

export const upsert = 0x75
export const remove = 0x64
export const truncate = 0x74

/** What precedes `select` is about the message, what follows it about the row that was selected. */
export interface Rows extends RowMarks {
  /**
   * Reads the message in bytes[start, end), which is not empty.
   * @param message the whole record; null where the caller has only its value
   * @returns how many rows it has; -1 when it is bad: `fault` tells why
   */
  read(bytes: Buffer, start: number, end: number, message: Message | null): number
  /**
   * Reads a message that has no value: one row without values.
   * @param key the row has the key columns, of the message's key
   * @returns as read
   */
  readTombstone(message: Message | null, key: boolean): number
  readonly fault: Fault
  /** @returns how many bytes the row takes at most, its line end apart */
  select(row: number): number
  /** The columns that the row's fields are for. Another array: another COPY. */
  readonly columns: string[]
  write(out: ChunkWriter): void
}

/** Of a tombstone that does not say which row it deletes. */
export function keyless(message: Message | null): Fault {
  const reason =
    message === null || message.keyStart < 0
      ? 'a tombstone without a key'
      : 'its key does not have the columns that identify a row'
  return { code: 'tombstone-no-key', reason }
}
