// One session for the short statements of everybody: claims, reports, failures. Its users take turns, each for as
// long as its function runs, and it is opened again after it was lost.

import type { QueryResultRow } from 'pg'
import type { Session } from './session.ts'

export class SharedSession {
  readonly #open: () => Promise<Session>
  #session: Session | null = null
  #turn: Promise<unknown> = Promise.resolve()
  #closed = false

  constructor(open: () => Promise<Session>) {
    this.#open = open
  }

  /** Runs `work` when its turn has come. */
  use<T>(work: (session: Session) => Promise<T>): Promise<T> {
    const result = this.#turn.then(async () => work(await this.#current()))
    this.#turn = result.catch(() => {})
    return result
  }

  query<Row extends QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]> {
    return this.use((session) => session.query<Row>(text, values))
  }

  /** Gives the session up, also where it is in use: the server that it is with does not count any more. */
  abandon(): void {
    this.#session?.close()
  }

  /** After those who wait already. */
  async close(): Promise<void> {
    await this.#turn
    this.#closed = true
    this.#session?.close()
  }

  async #current(): Promise<Session> {
    if (this.#closed) throw new Error('the shared session is closed')
    if (!this.#session || this.#session.lost) this.#session = await this.#open()
    return this.#session
  }
}
