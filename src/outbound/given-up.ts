// Topics that wait because one of their partitions takes nothing, as the senders for a cluster know them one after the
// other: in a transaction such a partition may cost the whole of it, and whoever begins anew must not meet it at once again.
// For the same reason it is tried again only when something has become better: a transaction that it is part of cannot end.

import type { MillraceError } from '../errors.ts'

/** How a topic's replicas are. */
export interface TopicHealth {
  /** Replicas in sync, of all partitions. */
  inSync: number
  /** All of them are, and each partition has a leader. */
  complete: boolean
}

interface Entry {
  error: MillraceError
  /** ms */
  pause: number
  /** The fewest that were seen since; null: nobody has looked. */
  inSync: number | null
}

export class GivenUp {
  readonly #entries = new Map<string, Entry>()
  readonly #min: number
  readonly #max: number

  /** @param min ms to the first retry; each later one takes twice as long, up to `max` */
  constructor(min: number, max: number) {
    this.#min = min
    this.#max = max
  }

  get errors(): [topic: string, error: MillraceError][] {
    return [...this.#entries].map(([topic, { error }]) => [topic, error])
  }

  /** @returns ms after which it may be tried again */
  add(topic: string, error: MillraceError): number {
    const before = this.#entries.get(topic)
    const pause = before ? Math.min(this.#max, 2 * before.pause) : this.#min
    this.#entries.set(topic, { error, pause, inSync: before?.inSync ?? null })
    return pause
  }

  /** Nothing of it waits any more. */
  forget(topic: string): void {
    this.#entries.delete(topic)
  }

  /** Whether to try it again; where nothing ever becomes better, now and then all the same. */
  mayTry(topic: string, { inSync, complete }: TopicHealth): boolean {
    const entry = this.#entries.get(topic)
    if (!entry || complete || entry.pause >= this.#max) return true
    const better = entry.inSync !== null && inSync > entry.inSync
    entry.inSync = Math.min(entry.inSync ?? inSync, inSync)
    if (!better) entry.pause = Math.min(this.#max, 2 * entry.pause)
    return better
  }
}
