// Sending exactly once: messages and the position after them are one Kafka transaction. Kafka's position counts: a sender
// begins by fencing off the former one, which also ends what that one left open, and by taking over what is committed.
// Whatever cannot be told any more is given up, and found out that way: a transaction that is not committed was not sent.

import { MillraceError } from '../errors.ts'
import { failpoint } from '../failpoint.ts'
import type { ClusterAccess } from '../kafka/access.ts'
import { Coordinator } from '../kafka/coordinator.ts'
import { PositionTopic } from '../kafka/position-topic.ts'
import type { Producer } from '../kafka/producer.ts'
import { Transactions } from '../kafka/transactions.ts'
import {
  decodePosition,
  encodePosition,
  type KafkaPosition,
  positionKey,
  positionTopicName,
} from './kafka-position.ts'
import type { PositionVerdict, Progress } from './progress.ts'
import type { Shipment } from './shipment.ts'
import { type LineEvents, type LineParts, TransactionLine } from './transaction-line.ts'

/** By which the producer tells the position from messages. */
export const positionTicket = -1

type ExactlyOnceParts = Omit<LineParts, 'transactions' | 'positionTopic'>

export class ExactlyOnce {
  readonly transactions: Transactions
  readonly #line: TransactionLine
  readonly #access: ClusterAccess
  readonly #progress: Progress
  readonly #topic: PositionTopic
  /** Of the last transaction that is committed; its batch is the one in hand, or the last one. */
  #position: KafkaPosition = { number: '0', token: '', id: '0', retried: [], line: 1 }
  #committed = false
  /** Kafka's position is one of a former line. */
  #lineIsNew = false
  #isConcluding = false
  /** Messages were handed to the producer since the last commit. */
  #any = false
  /** The batch in hand is stored for good, or could not be; its messages may be on their way meanwhile. */
  #stored: Promise<unknown> = Promise.resolve()

  constructor(parts: ExactlyOnceParts, events: LineEvents) {
    const { access, installation, progress, retry } = parts
    this.#access = access
    this.#progress = progress
    this.#topic = new PositionTopic(access, positionTopicName(installation, access.name))
    const position = [{ topic: this.topic, partition: 0 }]
    const transactions = new Transactions(access.name, position, new Coordinator(access, retry, events))
    this.transactions = transactions
    this.#line = new TransactionLine({ ...parts, transactions, positionTopic: this.topic }, events)
  }

  get topic(): string {
    return this.#topic.name
  }

  /**
   * Becomes the one who sends, from what Kafka has committed on.
   * @param goOn whether transactions follow; else this ends them
   * @throws MillraceError outbox-position-ahead, outbox-position-missing, position-topic-denied, transaction-lost, kafka-unreachable, ...;
   *   LeaseLost
   */
  async begin(goOn: boolean): Promise<void> {
    // asked before anybody is fenced off: a copy that does not know that it is one would stop the original
    const before = await this.#read()
    const verdict = await this.#progress.checkPosition(before)
    // what seems to be missing may be about to be readable: the former transaction is over when this one has begun
    if (verdict.problem === 'ahead') this.#check(before, verdict)
    // nor is anybody by one that could not send
    if (goOn) await this.#topic.prepare()
    const { line, position } = await this.#become(before?.line ?? 1)
    const resumed = await this.#progress.resume(position, goOn)
    this.#check(position, resumed)
    this.#position = { number: resumed.number, token: resumed.token, id: resumed.id, retried: [], line }
    this.#lineIsNew = line > (position?.line ?? 1)
    failpoint('outbound.after-resuming')
    if (goOn) this.#line.fenceBelow(line)
  }

  /** @param atLeast the line of Kafka's position  @returns its own, and Kafka's position now that nobody else can move it */
  async #become(atLeast: number): Promise<{ line: number; position: KafkaPosition | null }> {
    for (let wanted = atLeast; ; ) {
      const line = await this.#line.become(wanted)
      failpoint('outbound.after-fencing')
      const position = await this.#read(true)
      // somebody has begun under a later one, which the database has forgotten
      if (position === null || position.line <= line) return { line, position }
      wanted = position.line
    }
  }

  /**
   * Before anything is sent under another line, Kafka's position says so: whoever comes later knows the line from Kafka, even
   * if the database has forgotten it, and the database knows for good that no position of a former line follows.
   * @throws MillraceError transaction-lost, outbox-position-ahead, outbox-position-missing; LeaseLost, PostgreSQL's error
   */
  async announce(producer: Producer): Promise<void> {
    if (!this.#lineIsNew) return
    const position = this.#position
    this.#append(producer, position)
    await producer.untilIdle()
    if (!producer.idle) return
    await this.#end(position)
    this.#check(position, await this.#progress.resume(position, true))
    this.#lineIsNew = false
  }

  /** @throws MillraceError topic-missing, kafka-unreachable, ... */
  async learnTopic(producer: Producer): Promise<void> {
    await producer.learn(this.topic)
    if (!producer.knows(this.topic))
      throw new MillraceError('topic-missing', { topic: this.topic, cluster: this.#access.name })
  }

  /** A batch is begun, or gone on with. */
  take({ number, token }: { number: string; token: string | null }): void {
    if (number === this.#position.number) return
    this.#position = { ...this.#position, number, token: token ?? '', id: '0', retried: [] }
    this.#committed = false
    this.#stored = this.#progress.record(null, []).catch((error) => error)
  }

  /** The id up to which the batch is committed in Kafka; null: nothing of it. */
  get committedId(): string | null {
    return this.#committed ? this.#position.id : null
  }

  /** A transaction is being concluded: no message may be added meanwhile. */
  get isConcluding(): boolean {
    return this.#isConcluding
  }

  /** A message was added to the transaction. */
  added(): void {
    this.#any = true
  }

  /**
   * Commits what was added, with the position behind it. What waits is stored before, for good: Kafka passes it.
   * @param from the id up to which the batch was done before  @param last whether the batch ends here, which is stored
   *   with the beginning of the next one
   * @throws MillraceError transaction-lost; LeaseLost, PostgreSQL's error
   */
  commit(producer: Producer, shipment: Shipment, from: bigint, last: boolean): Promise<void> {
    return this.#conclude(async () => {
      const added = shipment.lastAddedId
      const id = added !== null && added > from ? added : from
      const position = { ...this.#position, id: String(id), retried: [] }
      if (this.#any) this.#append(producer, position)
      await producer.untilIdle()
      if (!producer.idle || added === null) return
      const parked = shipment.takeParked()
      if (parked.length > 0) await this.#progress.record(null, parked)
      const inKafka = this.#any
      if (inKafka) await this.#end(position)
      if (!last) await this.#progress.record(id, [], inKafka)
    })
  }

  /** The same for messages that waited: they are no part of a batch, so each is told to Kafka. */
  commitRetried(producer: Producer, shipment: Shipment): Promise<void> {
    return this.#conclude(async () => {
      await producer.untilIdle()
      if (!producer.idle) return
      const parked = shipment.takeParked()
      const sent = shipment.takeSent()
      if (sent.length > 0) {
        // whatever was stored before is flushed with it: a crash must not bring back a batch that put these aside
        await this.#progress.record(null, [])
        const position = { ...this.#position, retried: sent }
        this.#append(producer, position)
        await producer.untilIdle()
        if (!producer.idle) return
        await this.#end(position)
      } else if (this.#any) await this.#end(null)
      if (sent.length > 0 || parked.length > 0) await this.#progress.recordRetried(sent, parked, true)
    })
  }

  close(): void {
    this.#line.close()
    this.transactions.close()
  }

  #append(producer: Producer, position: KafkaPosition): void {
    if (!producer.knows(this.topic)) {
      const reason = `${this.topic} cannot be written to`
      throw new MillraceError('transaction-lost', { cluster: this.#access.name, reason })
    }
    const record = { key: positionKey, value: encodePosition(position), headers: [], timestamp: Date.now() }
    producer.append(this.topic, 0, record, positionTicket)
  }

  /** @param position that is part of the transaction, unless it is empty */
  async #end(position: KafkaPosition | null): Promise<void> {
    const failure = await this.#stored
    if (failure) throw failure
    failpoint('outbound.before-commit')
    await this.transactions.commit()
    failpoint('outbound.after-commit')
    this.#any = false
    if (position === null) return
    this.#position = position
    this.#committed = true
  }

  async #conclude(work: () => Promise<void>): Promise<void> {
    this.#isConcluding = true
    try {
      await work()
    } finally {
      this.#isConcluding = false
    }
  }

  /** @param settled whether no transaction may be open there: what is in it may be the last one */
  async #read(settled = false): Promise<KafkaPosition | null> {
    const bytes = await this.#topic.last(settled)
    try {
      return bytes && decodePosition(bytes)
    } catch (cause) {
      const reason = `the last message of ${this.topic} is no position`
      throw new MillraceError('outbox-position-ahead', { cluster: this.#access.name, reason, cause })
    }
  }

  #check(position: KafkaPosition | null, { problem, own }: PositionVerdict): void {
    if (problem === null) return
    const kafkas = position ? `batch ${position.number}, id ${position.id}, line ${position.line}` : 'nothing'
    const reason = `${this.topic} says ${kafkas}; the database says ${own}`
    const code = problem === 'ahead' ? 'outbox-position-ahead' : 'outbox-position-missing'
    throw new MillraceError(code, { cluster: this.#access.name, reason })
  }
}
