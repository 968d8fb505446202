// Keeps a topic filling at a steady rate: what is due by the clock is sent, so a broker that was slow for a
// moment gets what it missed. `sent` counts what the broker has acknowledged.
import { setTimeout as delay } from 'node:timers/promises'
import { Producer } from '../src/kafka/library.ts'
import { order } from './orders.ts'

const tickMs = 50
const largestSend = 5_000

export class Generator {
  readonly #producer: Producer
  readonly #topic: string
  readonly #rate: number
  readonly #stopping = new AbortController()
  #running: Promise<void> = Promise.resolve()
  #next = 1
  #sent = 0
  #problem: Error | null = null

  /** @param rate messages a second */
  constructor(brokers: string, topic: string, rate: number) {
    this.#producer = new Producer({
      clientId: 'millrace-demo',
      bootstrapBrokers: brokers.split(','),
      // A partition must not get a message twice because its first answer was lost.
      idempotent: true,
      producerId: -1n,
      producerEpoch: -1,
      retries: 20,
      retryDelay: 250,
      autocreateTopics: true,
    })
    this.#topic = topic
    this.#rate = rate
  }

  get sent(): number {
    return this.#sent
  }

  /** What ended it before it was stopped. */
  get problem(): Error | null {
    return this.#problem
  }

  start(): void {
    this.#running = this.#run().catch((error) => {
      this.#problem = error
    })
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#running
    await this.#producer.close()
  }

  async #run(): Promise<void> {
    const startedAt = performance.now()
    const stopped = this.#stopping.signal
    while (!stopped.aborted) {
      const due = Math.floor(((performance.now() - startedAt) / 1000) * this.#rate) + 1
      const count = Math.min(due - this.#next + 1, largestSend)
      if (count > 0) await this.#send(count)
      if (count < largestSend) await delay(tickMs, undefined, { signal: stopped }).catch(() => {})
    }
  }

  async #send(count: number): Promise<void> {
    const now = new Date()
    const messages = Array.from({ length: count }, (_, index) => {
      const { key, csv } = order(this.#next + index, now)
      return { topic: this.#topic, key: Buffer.from(key), value: Buffer.from(csv) }
    })
    this.#next += count
    await this.#producer.send({ messages, acks: -1 })
    this.#sent += count
  }
}
