// PostgreSQL connections are bounded by a setting, however many consumers there are. Who asks gets the session
// it had before when that is free, else a free one, else a new one, else it waits its turn. Code of an owner's may hold a
// session for as long as it likes: who has half of them leaves one for the others.

import type { Session } from './session.ts'

interface Slot {
  session: Session
  /** Whose code may run there; null: nobody's but trusted roles'. */
  owner: string | null
  lastUser: object | null
  busy: boolean
}

interface Waiter {
  user: object
  owner: string | null
  resolve: (session: Session) => void
  reject: (error: unknown) => void
}

export class SessionPool {
  readonly #open: () => Promise<Session>
  readonly #limit: number
  #slots: Slot[] = []
  /** For each session that is being opened, its owner. */
  readonly #opening: (string | null)[] = []
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
   * @param owner the role whose code may run there; null: only that of trusted roles
   * @throws what opening a session throws
   */
  async acquire(user: object, owner: string | null = null): Promise<Session> {
    if (this.#closed) throw new Error('the pool is closed')
    this.#dropLost()
    if (this.#mayHave(owner)) {
      const free = this.#slots.filter((slot) => !slot.busy)
      const slot = free.find((slot) => slot.lastUser === user) ?? (this.#full() ? free[0] : undefined)
      if (slot) return this.#take(slot, user, owner)
      if (!this.#full()) return this.#openFor(user, owner)
    }
    return new Promise((resolve, reject) => this.#waiters.push({ user, owner, resolve, reject }))
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
    return this.#slots.length + this.#opening.length >= this.#limit
  }

  /** Who has half of what there is takes another one only where one more is left. */
  #mayHave(owner: string | null): boolean {
    if (owner === null) return true
    const owners = [...this.#slots.flatMap((slot) => (slot.busy ? [slot.owner] : [])), ...this.#opening]
    const own = owners.filter((one) => one === owner).length
    return own < Math.max(1, this.#limit >> 1) || owners.length + 1 < this.#limit
  }

  #take(slot: Slot, user: object, owner: string | null): Session {
    slot.busy = true
    slot.lastUser = user
    slot.owner = owner
    return slot.session
  }

  async #openFor(user: object, owner: string | null): Promise<Session> {
    this.#opening.push(owner)
    try {
      const session = await this.#open()
      this.#slots.push({ session, owner, lastUser: user, busy: true })
      return session
    } finally {
      this.#opening.splice(this.#opening.indexOf(owner), 1)
      this.#serveWaiters()
    }
  }

  #serveWaiters(): void {
    for (;;) {
      const free = this.#slots.find((slot) => !slot.busy && !slot.session.lost)
      const next = this.#waiters.findIndex(({ owner }) => this.#mayHave(owner))
      if (next < 0 || (!free && this.#full())) return
      const [waiter] = this.#waiters.splice(next, 1) as [Waiter]
      if (free) waiter.resolve(this.#take(free, waiter.user, waiter.owner))
      else this.#openFor(waiter.user, waiter.owner).then(waiter.resolve, waiter.reject)
    }
  }

  #dropLost(): void {
    this.#slots = this.#slots.filter((slot) => slot.busy || !slot.session.lost)
  }
}
