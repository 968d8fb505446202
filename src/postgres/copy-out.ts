// COPY ... TO STDOUT over node-postgres: each row goes to a function as the bytes that came, which are valid until it
// returns. Who is behind pauses the connection; rows that were read from the socket already still come.
//
// Protocol: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY

import type { Socket } from 'node:net'
import type { Connection, Submittable } from 'pg'

type Wire = Connection & { stream: Socket; query(text: string): void }

export class CopyOut implements Submittable {
  readonly #sql: string
  readonly #take: (row: Buffer) => void
  readonly #outcome = Promise.withResolvers<void>()
  #connection: Wire | null = null

  /** @param sql one COPY ... TO STDOUT, and statements around it  @param take is called with each row; may not throw */
  constructor(sql: string, take: (row: Buffer) => void) {
    this.#sql = sql
    this.#take = take
  }

  /** After the last row; rejects with PostgreSQL's error. */
  get done(): Promise<void> {
    return this.#outcome.promise
  }

  pause(): void {
    this.#connection?.stream.pause()
  }

  resume(): void {
    this.#connection?.stream.resume()
  }

  submit(connection: Connection): void {
    this.#connection = connection as Wire
    this.#connection.query(this.#sql)
  }

  handleCopyData(message: { chunk: Buffer }): void {
    this.#take(message.chunk)
  }

  handleError(error: Error): void {
    this.#outcome.reject(error)
  }

  handleReadyForQuery(): void {
    this.#outcome.resolve()
  }

  handleCommandComplete(): void {}
  handleRowDescription(): void {}
  handleDataRow(): void {}
  handlePortalSuspended(): void {}
  handleEmptyQuery(): void {}
  handleCopyInResponse(): void {}
}
