// Which broker leads a partition. A topic is looked up when it is first needed and again when a broker says that
// something has changed, at most every so often; the answer counts until then.

import { MillraceError } from '../errors.ts'
import { type ClusterAccess, connectionOptions, hasProtocolError, kafkaError } from './access.ts'
import { Admin } from './library.ts'
import { isUnknownTopic, type Topic, topicOf, topicWithin } from './topic.ts'

export interface Broker {
  id: number
  host: string
  port: number
}

export class TopicDirectory {
  readonly #access: ClusterAccess
  readonly #admin: Admin
  readonly #lookups = new Map<string, Promise<Topic>>()

  constructor(access: ClusterAccess) {
    this.#access = access
    this.#admin = new Admin({
      ...connectionOptions(access),
      clientId: access.clientId,
      bootstrapBrokers: access.brokers,
      autocreateTopics: false,
      retries: 0,
    })
  }

  /**
   * The topic as the brokers describe it now. Who asks meanwhile gets the same answer.
   * @throws MillraceError topic-missing, topic-not-writable, kafka-unreachable, broker-authentication
   */
  lookUp(name: string): Promise<Topic> {
    const present = this.#lookups.get(name)
    if (present) return present
    const lookup = this.#ask(name).finally(() => this.#lookups.delete(name))
    this.#lookups.set(name, lookup)
    return lookup
  }

  async close(): Promise<void> {
    await this.#admin.close().catch(() => {})
  }

  async #ask(name: string): Promise<Topic> {
    const facts = { topic: name, cluster: this.#access.name }
    try {
      const topic = topicOf(name, await this.#admin.metadata({ topics: [name], forceUpdate: true }))
      if (topic) return topic
    } catch (error) {
      const topic = topicWithin(error, name)
      if (topic) return topic
      if (hasProtocolError(error, 'TOPIC_AUTHORIZATION_FAILED'))
        throw new MillraceError('topic-not-writable', { ...facts, cause: error })
      if (!isUnknownTopic(error) && !hasProtocolError(error, 'INVALID_TOPIC_EXCEPTION'))
        throw kafkaError(error, this.#access)
    }
    throw new MillraceError('topic-missing', facts)
  }
}
