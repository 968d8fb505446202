// The broker that keeps a sender's transactions. It is looked for when it is needed, again when it has moved, and asked
// until it answers: each of these questions may be asked twice, with one outcome. Only a former transaction that does not
// end is not waited for without end: no more than its partitions can be told that it is over holds up whoever asks.

import { MillraceError } from '../errors.ts'
import { Backoff } from '../pipeline/backoff.ts'
import { pause, unlessAborted } from '../pipeline/interruption.ts'
import { type ClusterAccess, hasProtocolError, kafkaError, reasonOf } from './access.ts'
import { type Connection, describeTransactionsV0, findCoordinatorV3 } from './library.ts'
import { ResponsePool } from './response-pool.ts'
import type { TopicPartition } from './topic-partition.ts'
import { Wire } from './wire.ts'

export interface CoordinatorEvents {
  /** Whether anything may be asked now. */
  maySend(): boolean
  /** The coordinator has answered. */
  answered(): void
  /** Something is wrong that may pass. null: it has passed. */
  trouble(error: MillraceError | null): void
}

/** Elsewhere now, or not there yet. */
const moved = ['COORDINATOR_LOAD_IN_PROGRESS', 'COORDINATOR_NOT_AVAILABLE', 'NOT_COORDINATOR']

/** The former transaction is not quite over: the usual answer right after a commit, so it is asked again at once. */
const notOver = ['CONCURRENT_TRANSACTIONS']

/** Nothing more can be done in this transaction, or by this sender. */
const over = [
  'INVALID_PRODUCER_EPOCH',
  'PRODUCER_FENCED',
  'INVALID_TXN_STATE',
  'INVALID_PRODUCER_ID_MAPPING',
  'UNKNOWN_PRODUCER_ID',
  'TRANSACTION_ABORTABLE',
]

const notAllowed = ['TRANSACTIONAL_ID_AUTHORIZATION_FAILED', 'CLUSTER_AUTHORIZATION_FAILED']

const byTransactionalId = 1

/** Milliseconds. */
const shortestPause = 1
const longestShortPause = 20

/** Milliseconds for which the former transaction may be not quite over. */
const overPatience = 3000

/** Bytes; what a coordinator answers is small. */
const largestResponse = 1024 * 1024

export class Coordinator {
  readonly #access: ClusterAccess
  #transactionalId = ''
  readonly #events: CoordinatorEvents
  readonly #backoff: Backoff
  #wire: Promise<Wire> | null = null
  /** The one that is there. */
  #opened: Wire | null = null
  readonly #closed = new AbortController()
  /** It said what is wrong, and not yet that it has passed. */
  #told = false

  /** @param retry milliseconds */
  constructor(access: ClusterAccess, retry: { min: number; max: number }, events: CoordinatorEvents) {
    this.#access = access
    this.#events = events
    this.#backoff = new Backoff(retry.min, retry.max)
  }

  /** From here on it is this one's coordinator that is asked. */
  follow(transactionalId: string): void {
    if (transactionalId === this.#transactionalId) return
    this.#drop()
    this.#transactionalId = transactionalId
  }

  /**
   * @throws MillraceError transaction-lost; TransactionHeld; Error when it was closed; of the question what is not Kafka's
   *   general
   */
  async ask<T>(question: (connection: Connection) => Promise<T>): Promise<T> {
    const { signal } = this.#closed
    let notOverSince: number | null = null
    for (let shortly = shortestPause; ; ) {
      if (signal.aborted) throw new Error('the producer is closed')
      try {
        if (!this.#events.maySend()) throw new MillraceError('lease-expired')
        // a broker may be silent for as long as it likes; whoever closes waits for none
        const answer = await unlessAborted(this.#ask(question), signal)
        this.#backoff.reset()
        this.#events.answered()
        this.tell(null)
        return answer
      } catch (error) {
        if (hasProtocolError(error, ...over)) throw this.#lost(error)
        if (hasProtocolError(error, ...notOver)) {
          notOverSince ??= performance.now()
          if (performance.now() - notOverSince > overPatience) throw new TransactionHeld()
          await pause(shortly, signal)
          shortly = Math.min(longestShortPause, 2 * shortly)
          continue
        }
        if (error instanceof RefusedTopics) throw error
        this.#drop()
        if (!signal.aborted && !hasProtocolError(error, ...moved)) this.#meet(error)
        await pause(this.#backoff.next(), signal)
      }
    }
  }

  /** Asks once. @throws whatever the broker or the connection says; Error when it was closed */
  async askOnce<T>(question: (connection: Connection) => Promise<T>): Promise<T> {
    try {
      return await unlessAborted(this.#ask(question), this.#closed.signal)
    } catch (error) {
      if (!hasProtocolError(error, ...notOver)) this.#drop()
      throw error
    }
  }

  /**
   * Where it is still to be written that the former transaction is over. Kafka has decided it then, and whatever was
   * sent under this id until now is part of it. null: it is not known, or not decided.
   */
  async holders(): Promise<TopicPartition[] | null> {
    try {
      const { transactionStates } = await this.askOnce((connection) =>
        describeTransactionsV0.api.async(connection, [this.#transactionalId]),
      )
      const [found] = transactionStates
      if (!found || !decided.includes(found.transactionState)) return null
      return found.topics.flatMap(({ topic, partitions }) =>
        partitions.map((partition) => ({ topic, partition })),
      )
    } catch {
      return null
    }
  }

  /** Whether the user may send under this id. What else the broker says, for want of this right it would say that. */
  async allows(transactionalId: string): Promise<boolean> {
    try {
      await this.askOnce((connection) => describeTransactionsV0.api.async(connection, [transactionalId]))
      return true
    } catch (error) {
      if (!hasProtocolError(error, ...notAllowed)) return true
      this.tell(this.#refused(transactionalId, error))
      return false
    }
  }

  /** What is wrong. null: it has passed. */
  tell(error: MillraceError | null): void {
    if (error === null && !this.#told) return
    this.#told = error !== null
    this.#events.trouble(error)
  }

  /** Whether there is a connection now; it is opened when it is needed. */
  get isConnected(): boolean {
    return this.#opened?.isOpen ?? false
  }

  close(): void {
    this.#closed.abort()
    this.#drop()
  }

  async #ask<T>(question: (connection: Connection) => Promise<T>): Promise<T> {
    // ended by the broker while nothing was asked: no failure
    if (this.#opened && !this.isConnected) this.#drop()
    this.#wire ??= this.#find()
    const wire = await this.#wire
    this.#opened = wire
    return question(wire.asConnection)
  }

  #meet(error: unknown): void {
    const known = hasProtocolError(error, ...notAllowed)
      ? this.#refused(this.#transactionalId, error)
      : kafkaError(error, this.#access)
    if (known.code !== 'lease-expired') this.tell(known)
  }

  #refused(id: string, cause: unknown): MillraceError {
    return new MillraceError('transaction-refused', { id, cluster: this.#access.name, cause })
  }

  #lost(cause: unknown): MillraceError {
    return new MillraceError('transaction-lost', {
      cluster: this.#access.name,
      reason: reasonOf(cause),
      cause,
    })
  }

  #drop(): void {
    void this.#wire?.then((wire) => wire.close()).catch(() => {})
    this.#wire = null
    this.#opened = null
  }

  /** Any broker knows where it is. */
  async #find(): Promise<Wire> {
    let failure: unknown = null
    for (const broker of this.#access.brokers) {
      let wire: Wire | null = null
      try {
        wire = await this.#connect(addressOf(broker))
        const { coordinators } = await findCoordinatorV3.api.async(wire.asConnection, byTransactionalId, [
          this.#transactionalId,
        ])
        const [found] = coordinators
        if (!found) throw new Error('the broker named no coordinator')
        return await this.#connect({ host: found.host, port: found.port })
      } catch (error) {
        failure = error
      } finally {
        wire?.close()
      }
    }
    throw failure
  }

  #connect(address: { host: string; port: number }): Promise<Wire> {
    return Wire.open(this.#access, new ResponsePool(0, largestResponse), address)
  }
}

/** Kafka's names of states in which a transaction can have only one outcome. */
const decided = ['PrepareCommit', 'PrepareAbort']

/** The former transaction does not end: a partition of it takes nothing, not even that it is over. */
export class TransactionHeld extends Error {
  constructor() {
    super('the former transaction does not end')
  }
}

/** The transaction goes on; these topics cannot be part of it. */
export class RefusedTopics extends Error {
  /** Kafka's error codes. */
  readonly codes: Map<string, number>

  constructor(codes: Map<string, number>) {
    super('topics cannot be written to')
    this.codes = codes
  }
}

const defaultPort = 9092

function addressOf(broker: string): { host: string; port: number } {
  const [, host = broker, port = defaultPort] = /^(.+?)(?::(\d+))?$/.exec(broker) ?? []
  return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) }
}
