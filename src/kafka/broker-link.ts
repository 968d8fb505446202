// The connection over which one broker takes messages. It is opened when it is needed, and opened again after it broke;
// what was under way then fails, and may or may not have been written.

import { setTimeout } from 'node:timers/promises'
import { MillraceError } from '../errors.ts'
import { type ClusterAccess, hasProtocolError, kafkaError } from './access.ts'
import { apiVersionsV3, initProducerIdV4 } from './library.ts'
import {
  chooseProduceVersion,
  decodeProduce,
  encodeProduce,
  newestTransactionalVersion,
  type ProducedBatch,
  type ProduceOutcome,
  produceApiKey,
} from './produce.ts'
import { ResponsePool } from './response-pool.ts'
import { Wire } from './wire.ts'

interface Connected {
  wire: Wire
  version: number
}

const notYet = ['COORDINATOR_LOAD_IN_PROGRESS', 'COORDINATOR_NOT_AVAILABLE', 'NOT_COORDINATOR']

/** Milliseconds. */
const notYetPause = 50

/** Bytes; what a broker answers is small. */
const largestResponse = 16 * 1024 * 1024

export class BrokerLink {
  readonly #access: ClusterAccess
  readonly #address: { host: string; port: number }
  #connected: Promise<Connected> | null = null
  /** The last one that there was. */
  #wire: Wire | null = null
  #closed = false
  /** Requests under way. */
  inFlight = 0

  constructor(access: ClusterAccess, address: { host: string; port: number }) {
    this.#access = access
    this.#address = address
  }

  /**
   * @param transactionalId of the transaction that they are part of
   * @throws MillraceError kafka-unreachable, broker-authentication
   */
  async produce(batches: ProducedBatch[], transactionalId: string | null): Promise<ProduceOutcome[]> {
    this.inFlight++
    try {
      return await this.#using(async ({ wire, version }) => {
        // a leader waits for its followers a little less long than its answer is waited for
        const payload = encodeProduce(batches, Math.ceil(this.#access.requestTimeout * 0.8), transactionalId)
        const spoken = transactionalId === null ? version : Math.min(version, newestTransactionalVersion)
        return decodeProduce(await wire.request(produceApiKey, spoken, payload)).outcomes
      })
    } finally {
      this.inFlight--
    }
  }

  /** A new one, which nobody else has. @throws MillraceError kafka-unreachable, broker-authentication, sending-denied */
  async newProducer(): Promise<{ producerId: bigint; epoch: number; transactional: boolean }> {
    const patience = performance.now() + this.#access.requestTimeout
    for (;;) {
      try {
        const answer = await this.#using(({ wire }) =>
          initProducerIdV4.api.async(wire.asConnection, null, 60_000, -1n, -1),
        )
        return { producerId: answer.producerId, epoch: answer.producerEpoch, transactional: false }
      } catch (error) {
        // it gives an id to whoever may write to any topic
        if (hasProtocolError(error, 'CLUSTER_AUTHORIZATION_FAILED'))
          throw new MillraceError('sending-denied', { cluster: this.#access.name, cause: error })
        // a broker that was just started
        if (!hasProtocolError(error, ...notYet) || performance.now() > patience) throw error
        await setTimeout(notYetPause)
      }
    }
  }

  /** Whether there is a connection now; it is opened when it is needed. */
  get isConnected(): boolean {
    return this.#wire?.isOpen ?? false
  }

  close(): void {
    this.#closed = true
    void this.#connected?.then(({ wire }) => wire.close()).catch(() => {})
  }

  async #using<T>(work: (connected: Connected) => Promise<T>): Promise<T> {
    if (this.#closed) throw new Error('the producer is closed')
    // ended by the broker while nothing was under way: no failure
    if (this.#wire && !this.isConnected) this.#connected = null
    this.#connected ??= this.#connect()
    const connected = this.#connected
    try {
      return await work(await connected)
    } catch (error) {
      // whatever failed: how far the other side got is known again after a new beginning
      if (this.#connected === connected) this.#connected = null
      void connected.then(({ wire }) => wire.close()).catch(() => {})
      throw kafkaError(error, this.#access)
    }
  }

  async #connect(): Promise<Connected> {
    this.#wire = null
    const wire = await Wire.open(this.#access, new ResponsePool(0, largestResponse), this.#address)
    try {
      const { apiKeys } = await apiVersionsV3.api.async(wire.asConnection, 'millrace', '1')
      const spoken = apiKeys.find((api) => api.apiKey === produceApiKey)
      const version = spoken ? chooseProduceVersion(spoken.minVersion, spoken.maxVersion) : null
      if (version === null) throw new Error('the broker speaks no version of Produce from 9 on (Kafka 2.8)')
      this.#wire = wire
      return { wire, version }
    } catch (error) {
      wire.close()
      throw error
    }
  }
}
