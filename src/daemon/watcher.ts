// Topics that are looked at without being consumed: somebody asked about them, or a consumer of theirs does not read now
// and its lag grows all the same. A few at a time, each in its turn; what fails is asked for again by the reconciler.

import type { ClusterAccess } from '../kafka/access.ts'
import { TopicClient } from '../kafka/topic-client.ts'
import type { Logger } from '../log.ts'

export interface WatcherParts {
  /** Null while the cluster has no broker. */
  accessOf: (cluster: string) => ClusterAccess | null
  /** @param marks rows of cluster, topic, partition, low, high, last stable offset */
  write: (marks: unknown[][]) => Promise<void>
  log: Logger
}

const mostAtOnce = 4

export class Watcher {
  readonly #parts: WatcherParts
  /** In the order in which they were asked for. */
  readonly #waiting = new Map<string, () => Promise<void>>()
  readonly #looking = new Set<string>()

  constructor(parts: WatcherParts) {
    this.#parts = parts
  }

  /** A topic that waits for its turn or has it already is not looked at twice. */
  ask(cluster: string, topic: string, groupId: string): void {
    const access = this.#parts.accessOf(cluster)
    const key = JSON.stringify([cluster, topic])
    if (!access || this.#waiting.has(key) || this.#looking.has(key)) return
    this.#waiting.set(key, () => this.#look(access, topic, groupId))
    if (this.#looking.size < mostAtOnce) void this.#work()
  }

  /** Those that wait are forgotten. */
  stop(): void {
    this.#waiting.clear()
  }

  async #work(): Promise<void> {
    for (const [key, look] of this.#waiting) {
      this.#waiting.delete(key)
      this.#looking.add(key)
      await look()
      this.#looking.delete(key)
    }
  }

  /** Never throws. */
  async #look(access: ClusterAccess, topic: string, groupId: string): Promise<void> {
    const { write, log } = this.#parts
    try {
      await write(await readWatermarks(access, topic, groupId))
    } catch (error) {
      log.debug({ err: error, topic }, 'the watermarks of a watched topic could not be read')
    }
  }
}

/** @returns rows of cluster, topic, partition, low, high, last stable offset; none for a topic that does not exist */
async function readWatermarks(access: ClusterAccess, topic: string, groupId: string): Promise<unknown[][]> {
  const client = new TopicClient(access, topic, groupId, { session: 10_000, heartbeat: 3000 })
  try {
    if (!(await client.describe())) return []
    const [start, end] = [await client.offsets('start'), await client.offsets('end')]
    return start.map((low, partition) => {
      const high = String(end[partition])
      return [access.name, topic, partition, String(low), high, high]
    })
  } finally {
    await client.close()
  }
}
