// What was handed over in order is acknowledged in any order; the position is the last of which everything before it is
// acknowledged, too. As many may be open at a time as there is room for.

/** Bytes that are kept of each. */
const slotSize = 17

export class Acknowledged {
  readonly #capacity: number
  readonly #slots: Buffer
  readonly #open: Uint8Array
  #first = 0
  #next = 0

  /** @param capacity a power of two */
  constructor(capacity: number) {
    this.#capacity = capacity
    this.#slots = Buffer.alloc(capacity * slotSize)
    this.#open = new Uint8Array(capacity)
  }

  get hasRoom(): boolean {
    // the last one that is acknowledged is kept, for its id
    return this.#next - this.#first < this.#capacity - 1
  }

  /**
   * @param bytes with the transaction's id at `xidAt` and the row's id at `idAt`, 64 bits each
   * @param flag something to know about it again  @returns the ticket by which it is acknowledged; they ascend from 0
   */
  add(bytes: Buffer, xidAt: number, idAt: number, flag: boolean): number {
    const ticket = this.#next++
    const slot = ticket % this.#capacity
    bytes.copy(this.#slots, slot * slotSize, xidAt, xidAt + 8)
    bytes.copy(this.#slots, slot * slotSize + 8, idAt, idAt + 8)
    this.#slots[slot * slotSize + 16] = flag ? 1 : 0
    this.#open[slot] = 1
    return ticket
  }

  acknowledge(ticket: number): void {
    this.#open[ticket % this.#capacity] = 0
    while (this.#first < this.#next && this.#open[this.#first % this.#capacity] === 0) this.#first++
  }

  /** Of a ticket that is not acknowledged, or was the last one to be. */
  id(ticket: number): bigint {
    return this.#slots.readBigInt64BE((ticket % this.#capacity) * slotSize + 8)
  }

  xid(ticket: number): bigint {
    return this.#slots.readBigInt64BE((ticket % this.#capacity) * slotSize)
  }

  flag(ticket: number): boolean {
    return this.#slots[(ticket % this.#capacity) * slotSize + 16] === 1
  }

  /** Begins anew; whatever is not acknowledged is forgotten. */
  reset(): void {
    this.#first = 0
    this.#next = 0
  }

  /** How many are acknowledged without a gap. */
  get count(): number {
    return this.#first
  }

  /** The id of the last one that was added, acknowledged or not; null: none. */
  get lastAddedId(): bigint | null {
    return this.#next === 0 ? null : this.id(this.#next - 1)
  }

  /** The id of the last one of these; null: none. */
  get lastId(): bigint | null {
    return this.#first === 0 ? null : this.id(this.#first - 1)
  }
}
