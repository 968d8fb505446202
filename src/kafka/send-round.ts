// Which of the partitions with something to send have their turn now, and how they share requests: each leader gets
// its partitions' batches together, up to a size.

import type { PartitionQueue } from './partition-queue.ts'

export interface SendRound {
  /** By the broker that leads them. */
  ready: Map<number, PartitionQueue[]>
  /** Whose leader is not known. */
  leaderless: PartitionQueue[]
  /** performance.now() at which another one may be ready; Infinity: nothing waits for a moment. */
  next: number
}

/** Bytes of batches in one request, unless a single one is larger. */
const requestSize = 4 * 1024 * 1024

/** @param linger ms  @param pause ms for those that may not be sent or have no leader  @param now performance.now() */
export function sendRound(
  queues: Iterable<PartitionQueue>,
  { maySend, linger, pause }: { maySend: boolean; linger: number; pause: number },
  now: number,
): SendRound {
  const round: SendRound = { ready: new Map(), leaderless: [], next: Infinity }
  for (const queue of queues) {
    const at = queue.readyAt(linger)
    if (at === null) continue
    if (at > now) round.next = Math.min(round.next, at)
    else if (!maySend || queue.leader < 0) {
      queue.notBefore = now + pause
      round.next = Math.min(round.next, queue.notBefore)
      if (maySend) round.leaderless.push(queue)
    } else {
      const others = round.ready.get(queue.leader)
      if (others) others.push(queue)
      else round.ready.set(queue.leader, [queue])
    }
  }
  return round
}

/** The partitions of each request. @param most requests */
export function requestsOf(queues: PartitionQueue[], most: number): PartitionQueue[][] {
  const requests: PartitionQueue[][] = []
  for (let at = 0; requests.length < most && at < queues.length; ) {
    const together: PartitionQueue[] = []
    for (let size = 0; at < queues.length; at++) {
      const queue = queues[at] as PartitionQueue
      size += queue.nextSize
      if (together.length > 0 && size > requestSize) break
      together.push(queue)
    }
    requests.push(together)
  }
  return requests
}
