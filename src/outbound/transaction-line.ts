// Under which transactional id a cluster is sent to: the line of it. Where a partition keeps a transaction from ending, nobody
// can begin another one under its id, so the next line is taken. Whoever was stopped while it sent under a former one could
// begin again there when that transaction has ended at last. So each former line is taken from it as soon as that is possible.

import { MillraceError } from '../errors.ts'
import type { ClusterAccess } from '../kafka/access.ts'
import { Coordinator, type CoordinatorEvents } from '../kafka/coordinator.ts'
import { fence, type Transactions } from '../kafka/transactions.ts'
import { pause } from '../pipeline/interruption.ts'
import { transactionalIdOf } from './kafka-position.ts'
import type { Progress } from './progress.ts'

export interface LineParts {
  access: ClusterAccess
  installation: string
  progress: Progress
  transactions: Transactions
  /** Of the position. */
  positionTopic: string
  /** Milliseconds. */
  retry: { min: number; max: number }
  /** ms for which a transaction may not end: no shorter than a lease, so that whoever had one before has none. */
  patience: number
}

export interface LineEvents extends CoordinatorEvents {
  /** No message of the topic can be sent now. */
  topicRefused(topic: string, error: MillraceError): void
}

/** How often a former line is asked for while one is held up as long as may be. */
const asksPerPatience = 10

export class TransactionLine {
  readonly #parts: LineParts
  readonly #events: LineEvents
  readonly #closed = new AbortController()
  /** Nobody is to send under a lower line. */
  #below = 1
  #fencing = false

  constructor(parts: LineParts, events: LineEvents) {
    this.#parts = parts
    this.#events = events
  }

  /**
   * Becomes the sender. Where a partition keeps the former transaction from ending, nobody can be it under that id: what is
   * sent is sent under the next one, of which everybody knows before, and the messages of that partition's topic wait.
   * @param atLeast the line of Kafka's position  @returns its own
   * @throws MillraceError transaction-lost; LeaseLost, PostgreSQL's error
   */
  async become(atLeast: number): Promise<number> {
    const { access, progress, transactions, positionTopic, patience } = this.#parts
    let line = await progress.line(atLeast)
    for (;;) {
      const held = await transactions.begin(this.#idOf(line), patience)
      if (!held) return line
      // whether that one was committed can only be known when it is over there
      if (held.some(({ topic }) => topic === positionTopic)) continue
      // who may not use the next one waits for this one: it is free again when the partition takes something
      if (!(await transactions.mayUse(this.#idOf(line + 1)))) continue
      line = await progress.line(line + 1)
      for (const { topic, partition } of held) {
        const facts = { topic, partition, cluster: access.name, reason: 'no transaction can end there' }
        this.#events.topicRefused(topic, new MillraceError('partition-unavailable', facts))
      }
    }
  }

  /** Sees to it that nobody sends under a line below this one any more. Nobody waits for that. */
  fenceBelow(line: number): void {
    this.#below = line
    if (line > 1 && !this.#fencing) void this.#fence()
  }

  close(): void {
    this.#closed.abort()
  }

  /** One request at a time, and a pause after each that came too early. Never throws. */
  async #fence(): Promise<void> {
    const { access, retry } = this.#parts
    const { signal } = this.#closed
    const coordinator = new Coordinator(access, retry, this.#events)
    signal.addEventListener('abort', () => coordinator.close(), { once: true })
    const fenced = new Set<number>()
    this.#fencing = true
    for (let known = 0; !signal.aborted; ) {
      known = await this.#note(known, fenced)
      if (known >= this.#below - 1) break
      const former = Array.from({ length: this.#below - 1 - known }, (_, i) => known + 1 + i)
      for (const line of former.filter((one) => !fenced.has(one))) {
        const asked = !signal.aborted && this.#events.maySend()
        if (asked && (await fence(coordinator, this.#idOf(line)))) fenced.add(line)
        else await pause(this.#pause, signal)
      }
    }
    this.#fencing = false
    coordinator.close()
  }

  /** @returns the line up to which it is done, as whoever comes later knows */
  async #note(known: number, fenced: Set<number>): Promise<number> {
    let upTo = known
    while (fenced.has(upTo + 1)) upTo++
    try {
      return await this.#parts.progress.fencedLine(upTo)
    } catch {
      // another has the lease, or PostgreSQL is away: it is done again, here or there
      await pause(this.#pause, this.#closed.signal)
      return known
    }
  }

  get #pause(): number {
    return this.#parts.patience / asksPerPatience
  }

  #idOf(line: number): string {
    return transactionalIdOf(this.#parts.installation, this.#parts.access.name, line)
  }
}
