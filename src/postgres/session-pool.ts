// PostgreSQL connections are bounded by a setting, however many consumers there are. Who asks gets the session
// it had before when that is free, else a free one, else a new one, else it waits its turn.

import type { Session } from './session.ts'

interface Slot {
  session: Session
  lastUser: object | null
  busy: boolean
}

interface Waiter {
  user: object
  resolve: (session: Session) => void
  reject: (error: unknown) => void
}

export class SessionPool {
  readonly #open: () => Promise<Session>
  readonly #limit: number
  #slots: Slot[] = []
  #opening = 0
  #waiters: Waiter[] = []
  #closed = false

  constructor(open: () => Promise<Session>, limit: number) {
    this.#open = open
    this.#limit = limit
  }

  /** Sessions that are given out, those that are open, and who waits for one. */
  get load(): { inUse: number; open: number; waiting: number; limit: number } {
    return {
      inUse: this.#slots.filter(({ busy }) => busy).length,
      open: this.#slots.filter(({ session }) => !session.lost).length,
      waiting: this.#waiters.length,
      limit: this.#limit,
    }
  }

  /**
   * @param user the same object gets the same session as long as nobody else needs it
   * @throws what opening a session throws
   */
  async acquire(user: object): Promise<Session> {
    if (this.#closed) throw new Error('the pool is closed')
    this.#dropLost()
    const free = this.#slots.filter((slot) => !slot.busy)
    const slot = free.find((slot) => slot.lastUser === user) ?? (this.#full() ? free[0] : undefined)
    if (slot) return this.#take(slot, user)
    if (!this.#full()) return this.#openFor(user)
    return new Promise((resolve, reject) => this.#waiters.push({ user, resolve, reject }))
  }

  release(session: Session): void {
    const slot = this.#slots.find((slot) => slot.session === session)
    if (slot) slot.busy = false
    if (this.#closed) session.close()
    this.#dropLost()
    this.#serveWaiters()
  }

  /** Gives all sessions up, also those in use: the server that they are with does not count any more. */
  abandon(): void {
    for (const { session } of this.#slots) session.close()
    this.#dropLost()
  }

  close(): void {
    this.#closed = true
    for (const slot of this.#slots) if (!slot.busy) slot.session.close()
    for (const waiter of this.#waiters.splice(0)) waiter.reject(new Error('the pool is closed'))
  }

  #full(): boolean {
    return this.#slots.length + this.#opening >= this.#limit
  }

  #take(slot: Slot, user: object): Session {
    slot.busy = true
    slot.lastUser = user
    return slot.session
  }

  async #openFor(user: object): Promise<Session> {
    this.#opening++
    try {
      const session = await this.#open()
      this.#slots.push({ session, lastUser: user, busy: true })
      return session
    } finally {
      this.#opening--
      this.#serveWaiters()
    }
  }

  #serveWaiters(): void {
    while (this.#waiters.length > 0) {
      const free = this.#slots.find((slot) => !slot.busy && !slot.session.lost)
      if (!free && this.#full()) return
      const waiter = this.#waiters.shift() as Waiter
      if (free) waiter.resolve(this.#take(free, waiter.user))
      else this.#openFor(waiter.user).then(waiter.resolve, waiter.reject)
    }
  }

  #dropLost(): void {
    this.#slots = this.#slots.filter((slot) => slot.busy || !slot.session.lost)
  }
}
