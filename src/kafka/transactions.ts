// A sender's transactions, one after the other (KIP-98). Who begins under a name ends the transaction that whoever had it
// before left open, and nothing of the former one is taken any more. A partition belongs to a transaction before
// anything is sent there; what was sent counts when all of it does.

import { MillraceError } from '../errors.ts'
import type { Identity } from './brokers.ts'
import { type Coordinator, RefusedTopics, TransactionHeld } from './coordinator.ts'
import { addPartitionsToTxnV3, endTxnV3, initProducerIdV4 } from './library.ts'
import { nameOf, type TopicPartition } from './topic-partition.ts'

/** ms after which Kafka ends a transaction of which it hears nothing. */
const transactionTimeout = 60_000

/** Kafka's error codes. */
const notAttempted = 55
const inProgress = 51

export class Transactions {
  /** Of all who are to be one sender. */
  id = ''
  readonly #cluster: string
  readonly #coordinator: Coordinator
  /** Part of each transaction. */
  readonly #always: TopicPartition[]
  readonly #included = new Set<string>()
  #identity: Identity | null = null
  /** Questions are asked one after the other. */
  #turn: Promise<unknown> = Promise.resolve()

  /** @param always partitions of each transaction */
  constructor(cluster: string, always: TopicPartition[], coordinator: Coordinator) {
    this.#cluster = cluster
    this.#always = always
    this.#coordinator = coordinator
  }

  /** Whether anything is part of a transaction that has not ended. */
  get isOpen(): boolean {
    return this.#included.size > 0
  }

  /**
   * Becomes the sender; what the former one did not commit is undone.
   * @param patience ms for which the former transaction may not end although Kafka has decided it
   * @returns null; or the partitions that keep it from ending: nobody can be the sender under this id until they take something
   * @throws MillraceError transaction-lost
   */
  async begin(id: string, patience: number): Promise<TopicPartition[] | null> {
    this.id = id
    this.#coordinator.follow(id)
    const since = performance.now()
    for (;;) {
      try {
        const { producerId, producerEpoch } = await this.#coordinator.ask((connection) =>
          initProducerIdV4.api.async(connection, id, transactionTimeout, -1n, -1),
        )
        this.#included.clear()
        this.#identity = { producerId, epoch: producerEpoch, transactional: true }
        return null
      } catch (error) {
        if (!(error instanceof TransactionHeld)) throw error
        const holders = await this.#coordinator.holders()
        this.#coordinator.tell(this.#held(holders ?? []))
        if (holders && performance.now() - since >= patience) return holders
      }
    }
  }

  /** Whether the user may send under this id. Asked of whoever keeps the present one; where not, it is told. */
  mayUse(id: string): Promise<boolean> {
    return this.#coordinator.allows(id)
  }

  /**
   * Makes the partitions part of the transaction.
   * @returns whose batches are to be sent there  @throws MillraceError transaction-lost; RefusedTopics
   */
  include(places: TopicPartition[]): Promise<Identity> {
    return this.#inTurn(async (identity) => {
      const fresh = places.filter((place) => !this.#included.has(nameOf(place)))
      if (fresh.length === 0) return identity
      const others = this.isOpen ? [] : this.#always.filter((place) => !isAmong(place, fresh))
      await this.#add([...fresh, ...others], identity)
      return identity
    })
  }

  /** When what was sent counts. @throws MillraceError transaction-lost */
  commit(): Promise<void> {
    return this.#inTurn(async ({ producerId, epoch }) => {
      if (!this.isOpen) return
      await this.#coordinator.ask((connection) =>
        endTxnV3.api.async(connection, this.id, producerId, epoch, true),
      )
      this.#included.clear()
    })
  }

  close(): void {
    this.#coordinator.close()
  }

  async #add(places: TopicPartition[], { producerId, epoch }: Identity): Promise<void> {
    const topics = [...Map.groupBy(places, ({ topic }) => topic)].map(([name, parts]) => ({
      name,
      partitions: parts.map(({ partition }) => partition),
    }))
    const transaction = {
      transactionalId: this.id,
      producerId,
      producerEpoch: epoch,
      verifyOnly: false,
      topics,
    }
    await this.#coordinator.ask(async (connection) => {
      try {
        await addPartitionsToTxnV3.api.async(connection, [transaction])
      } catch (error) {
        throw refusedTopics(error) ?? error
      }
    })
    for (const place of places) this.#included.add(nameOf(place))
  }

  #inTurn<T>(work: (identity: Identity) => Promise<T>): Promise<T> {
    const turn = this.#turn.then(async () => {
      if (this.#identity === null) throw new Error('no transaction was begun')
      try {
        return await work(this.#identity)
      } catch (error) {
        if (!(error instanceof TransactionHeld)) throw error
        const cause = this.#held((await this.#coordinator.holders()) ?? [])
        throw new MillraceError('transaction-lost', { cluster: this.#cluster, reason: cause.message, cause })
      }
    })
    this.#turn = turn.catch(() => {})
    return turn
  }

  #held(holders: TopicPartition[]): MillraceError {
    const places = holders.map(({ topic, partition }) => `${topic} ${partition}`).join(', ')
    return new MillraceError('transaction-held', {
      id: this.id,
      cluster: this.#cluster,
      ...(places && { places }),
    })
  }
}

/**
 * Whoever has sent under the id until now cannot any more, and what it left open is undone.
 * @returns false: not yet, which is asked once
 */
export async function fence(coordinator: Coordinator, id: string): Promise<boolean> {
  coordinator.follow(id)
  try {
    await coordinator.askOnce((connection) =>
      initProducerIdV4.api.async(connection, id, transactionTimeout, -1n, -1),
    )
    return true
  } catch {
    return false
  }
}

/** Errors of single topics, which say nothing about the transaction. */
const topicErrors = [
  3, // UNKNOWN_TOPIC_OR_PARTITION
  17, // INVALID_TOPIC_EXCEPTION
  29, // TOPIC_AUTHORIZATION_FAILED
]

interface AddedPartitions {
  resultsByTransaction?: {
    topicResults: { name: string; resultsByPartition: { partitionErrorCode: number }[] }[]
  }[]
}

/** @returns null when it is another error */
function refusedTopics(error: unknown): RefusedTopics | null {
  const { response } = error as { response?: AddedPartitions }
  const codes = new Map<string, number>()
  for (const { name, resultsByPartition } of response?.resultsByTransaction?.[0]?.topicResults ?? []) {
    for (const { partitionErrorCode } of resultsByPartition) {
      if (topicErrors.includes(partitionErrorCode)) codes.set(name, partitionErrorCode)
      else if (![0, notAttempted, inProgress].includes(partitionErrorCode)) return null
    }
  }
  return codes.size > 0 ? new RefusedTopics(codes) : null
}

function isAmong({ topic, partition }: TopicPartition, places: TopicPartition[]): boolean {
  return places.some((place) => place.topic === topic && place.partition === partition)
}
