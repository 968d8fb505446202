// The names of a cluster's topics, without those that belong to Kafka or to its tools.

import { type ClusterAccess, connectionOptions, findCause, kafkaError } from './access.ts'
import { Admin } from './library.ts'

interface ListedTopic {
  errorCode: number
  name: string
  isInternal: boolean
}

/**
 * The brokers leave out what this user may not see.
 * @throws MillraceError kafka-unreachable, broker-authentication
 */
export async function listTopics(access: ClusterAccess): Promise<string[]> {
  const admin = new Admin({
    ...connectionOptions(access),
    clientId: access.clientId,
    bootstrapBrokers: access.brokers,
    retries: 2,
    retryDelay: 200,
  })
  try {
    return (await admin.listTopics({ includeInternals: false })).filter(isOfUsers)
  } catch (error) {
    const topics = listedWithin(error)
    if (topics) return topics
    throw kafkaError(error, access)
  } finally {
    await admin.close().catch(() => {})
  }
}

/** The library takes it for an error that one partition of one topic has no leader. The list is in it. */
function listedWithin(error: unknown): string[] | null {
  const topicsOf = (response: unknown) => (response as { topics?: ListedTopic[] } | undefined)?.topics
  const failed = findCause(error, ({ response }) => topicsOf(response) !== undefined)
  if (!failed) return null
  const topics = topicsOf(failed.response) ?? []
  const there = topics.filter(({ errorCode, isInternal }) => errorCode === 0 && !isInternal)
  return there.map(({ name }) => name).filter(isOfUsers)
}

/** Kafka marks its own topics; those of registries, operators and providers are known by two underscores. */
function isOfUsers(name: string): boolean {
  return !name.startsWith('__')
}
