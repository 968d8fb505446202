// A source that does nothing but fail would fill the disk with dead letters and use up transaction ids as fast as the
// machine can: after a million messages without a single good one it is slowed down.

/** Messages in a row that failed, before it brakes. */
const patience = 1_000_000

/** Messages a second, from then on. */
const pace = 5000

export class FailureBrake {
  #inARow = 0

  /** @returns milliseconds to wait before the next batch */
  after(failed: number, loaded: number): number {
    this.#inARow = loaded > 0 ? 0 : this.#inARow + failed
    return this.#inARow > patience ? (failed / pace) * 1000 : 0
  }
}
