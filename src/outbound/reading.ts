// Rows are read no faster than they can be handed on. Who cannot take one gets it again; meanwhile the connection is
// paused. That holds a snapshot of the database open, so after a while the reading is given up: it begins again behind
// what was taken.

import type { CopyOut } from '../postgres/copy-out.ts'
import type { Session } from '../postgres/session.ts'

export interface RowTaker {
  /** @returns false: not now; it is tried again after `untilReady`. May not keep the bytes. */
  take(row: Buffer): boolean
  /** Whether the next row may come. */
  readonly ready: boolean
  untilReady(): Promise<void>
}

/** Milliseconds without taking anything. */
const patience = 10_000

export class Reading {
  readonly #session: Session
  readonly #taker: RowTaker
  readonly #copy: CopyOut
  /** Those that came while nothing could be taken. */
  #kept: Buffer[] = []
  #waiting: Promise<void> | null = null
  #abandoned = false

  constructor(session: Session, sql: string, taker: RowTaker) {
    this.#session = session
    this.#taker = taker
    this.#copy = session.copyOut(sql, (row) => this.#read(row))
  }

  /** @returns whether every row was taken  @throws PostgreSQL's error */
  async whole(): Promise<boolean> {
    try {
      await this.#copy.done
      await this.#waiting
    } catch (error) {
      if (!this.#abandoned) throw error
    }
    return !this.#abandoned
  }

  /** Takes nothing more. */
  abandon(): void {
    if (this.#abandoned) return
    this.#abandoned = true
    this.#kept = []
    this.#session.discard(new Error('reading was given up'))
  }

  #read(row: Buffer): void {
    if (this.#abandoned) return
    if (this.#waiting) this.#kept.push(Buffer.from(row))
    else if (!this.#taker.take(row)) {
      this.#kept.push(Buffer.from(row))
      this.#wait()
    } else if (!this.#taker.ready) this.#wait()
  }

  #wait(): void {
    this.#copy.pause()
    this.#waiting = this.#untilTaken().then(() => {
      this.#waiting = null
      this.#copy.resume()
    })
  }

  async #untilTaken(): Promise<void> {
    let timer = setTimeout(() => this.abandon(), patience)
    for (let next = 0; !this.#abandoned; ) {
      await this.#taker.untilReady()
      clearTimeout(timer)
      timer = setTimeout(() => this.abandon(), patience)
      while (next < this.#kept.length && this.#taker.ready && this.#taker.take(this.#kept[next] as Buffer))
        next++
      if (next < this.#kept.length || !this.#taker.ready) continue
      this.#kept = []
      break
    }
    clearTimeout(timer)
  }
}
