// COPY ... FROM STDIN over node-postgres: the bytes go to the socket as they are, with the socket's own
// back-pressure. When PostgreSQL fails the COPY, it discards what is still sent, so sending just stops.
//
// Protocol: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY

import type { Socket } from 'node:net'
import type { Connection, Submittable } from 'pg'
import { failpoint } from '../failpoint.ts'

/** What node-postgres has and its types leave out. */
type Wire = Connection & { stream: Socket; query(text: string): void }

const copyData = 0x64 // 'd'
const copyDone = Buffer.from([0x63, 0, 0, 0, 4]) // 'c' and its length
const headerSize = 5

/**
 * A statement, or several separated by semicolons of which the last is COPY ... FROM STDIN, and the bytes
 * for it. Hand it to `client.query()` and wait for `done`.
 */
export class CopyIn implements Submittable {
  readonly #sql: string
  readonly #chunks: Iterable<Buffer> | AsyncIterable<Buffer>
  readonly #outcome = Promise.withResolvers<number>()
  #connection: Wire | null = null
  #failed: Error | null = null
  #rows = 0

  constructor(sql: string, chunks: Iterable<Buffer> | AsyncIterable<Buffer>) {
    this.#sql = sql
    this.#chunks = chunks
  }

  /** The number of rows that COPY reports; rejects with PostgreSQL's error. */
  get done(): Promise<number> {
    return this.#outcome.promise
  }

  submit(connection: Connection): void {
    this.#connection = connection as Wire
    this.#connection.query(this.#sql)
  }

  handleCopyInResponse(): void {
    void this.#send().catch((error) => this.#connection?.stream.destroy(error))
  }

  handleCommandComplete(message: { text: string }): void {
    const copied = /^COPY (\d+)/.exec(message.text)
    if (copied) this.#rows = Number(copied[1])
  }

  /** After an error node-postgres asks this query nothing more; the next one waits for the server by itself. */
  handleError(error: Error): void {
    this.#failed = error
    this.#outcome.reject(error)
  }

  handleReadyForQuery(): void {
    this.#outcome.resolve(this.#rows)
  }

  handleRowDescription(): void {}
  handleDataRow(): void {}
  handlePortalSuspended(): void {}
  handleEmptyQuery(): void {}
  handleCopyData(): void {}

  async #send(): Promise<void> {
    const stream = (this.#connection as Wire).stream
    for await (const chunk of this.#chunks) {
      if (this.#failed || stream.destroyed) return
      const header = Buffer.allocUnsafe(headerSize)
      header[0] = copyData
      header.writeInt32BE(chunk.length + 4, 1)
      stream.cork()
      stream.write(header)
      const roomLeft = stream.write(chunk)
      stream.uncork()
      failpoint('postgres.mid-copy')
      if (!roomLeft) await drained(stream)
    }
    if (!this.#failed) stream.write(copyDone)
  }
}

function drained(stream: Socket): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      stream.off('drain', settle)
      stream.off('close', settle)
      resolve()
    }
    stream.on('drain', settle)
    stream.on('close', settle)
  })
}
