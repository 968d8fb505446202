// What was appended and has no outcome yet, over all partitions. It is bounded by whoever appends: there is room or there
// is not, and who waits for room, or for nothing to be left, is woken when that has changed.

import type { PartitionQueue } from './partition-queue.ts'
import { Waiters } from './waiters.ts'

export class Backlog {
  readonly #capacity: number
  readonly #queues = new Set<PartitionQueue>()
  readonly #waiters = new Waiters()
  #bytes = 0

  /** @param capacity bytes */
  constructor(capacity: number) {
    this.#capacity = capacity
  }

  /** Those that hold something. */
  get queues(): Iterable<PartitionQueue> {
    return this.#queues
  }

  get hasRoom(): boolean {
    return this.#bytes < this.#capacity
  }

  get isEmpty(): boolean {
    return this.#queues.size === 0
  }

  /** When half of it is free and `also` holds, or it has ended. */
  untilRoom(also: () => boolean): Promise<void> {
    return this.#waiters.until(() => this.#bytes < this.#capacity / 2 && also())
  }

  /** When nothing is left, or it has ended. */
  untilEmpty(): Promise<void> {
    return this.#waiters.until(() => this.isEmpty)
  }

  /** The queue has taken so many bytes more. */
  add(queue: PartitionQueue, bytes: number): void {
    this.#bytes += bytes
    this.#queues.add(queue)
  }

  /** The queue has let go of so many bytes. Whoever waits is told by `wake`, once for all that has changed. */
  leave(queue: PartitionQueue, bytes: number): void {
    this.#bytes -= bytes
    if (queue.empty) this.#queues.delete(queue)
  }

  wake(): void {
    this.#waiters.wake()
  }

  /** Nobody waits from here on. */
  end(): void {
    this.#waiters.end()
  }
}
