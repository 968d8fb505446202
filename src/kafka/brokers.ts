// The brokers of a cluster as those who send see them: where each is, the connection to it, and the producer id that all
// of them know the sender by.

import type { ClusterAccess } from './access.ts'
import { BrokerLink } from './broker-link.ts'
import type { Topic } from './topic.ts'

export interface Identity {
  producerId: bigint
  epoch: number
  /** Whether what it sends is part of transactions. */
  transactional: boolean
}

export class Brokers {
  readonly #access: ClusterAccess
  readonly #addresses = new Map<number, { host: string; port: number }>()
  readonly #links = new Map<number, BrokerLink>()
  #identity: Promise<Identity> | null = null

  constructor(access: ClusterAccess) {
    this.#access = access
  }

  /** Brokers may have moved. */
  note({ brokers }: Topic): void {
    for (const [id, { host, port }] of brokers) {
      const before = this.#addresses.get(id)
      if (before?.host === host && before.port === port) continue
      this.#addresses.set(id, { host, port })
      this.#links.get(id)?.close()
      this.#links.delete(id)
    }
  }

  linkTo(broker: number): BrokerLink {
    const address = this.#addresses.get(broker) ?? { host: '', port: 0 }
    const link = this.#links.get(broker) ?? new BrokerLink(this.#access, address)
    this.#links.set(broker, link)
    return link
  }

  /** Asked of the broker once. @throws MillraceError kafka-unreachable, broker-authentication */
  async identityFrom(link: BrokerLink): Promise<Identity> {
    this.#identity ??= link.newProducer()
    const asked = this.#identity
    try {
      return await asked
    } catch (error) {
      if (this.#identity === asked) this.#identity = null
      throw error
    }
  }

  /** This id's numbers do not count any more for somebody: who needs an identity from now on gets another one. */
  async renewIdentity(producerId: bigint): Promise<void> {
    const asked = this.#identity
    const identity = await asked?.catch(() => null)
    if (this.#identity === asked && identity?.producerId === producerId) this.#identity = null
  }

  close(): void {
    for (const link of this.#links.values()) link.close()
  }
}
