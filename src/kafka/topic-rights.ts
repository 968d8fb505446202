// What the broker lets this user do with a topic, as the broker itself says it (KIP-430): so what is missing is known before it
// is needed, where finding out would cost a transaction.

import type { ClusterAccess } from './access.ts'
import { apiVersionsV3, metadataV10, metadataV11, metadataV12 } from './library.ts'
import { ResponsePool } from './response-pool.ts'
import { Wire } from './wire.ts'

/** Kafka's numbers of operations on a topic. */
const operations = { READ: 3, WRITE: 4, DESCRIBE: 8 } as const

export type TopicOperation = keyof typeof operations

const metadataApiKey = 3

/** Bytes. */
const largestResponse = 1024 * 1024

/** Of a broker that keeps no rights. */
const notKnown = -2147483648

/** @returns which of these are not granted  @throws what the library throws */
export async function missingRights(
  access: ClusterAccess,
  broker: { host: string; port: number },
  topic: string,
  needed: TopicOperation[],
): Promise<TopicOperation[]> {
  const wire = await Wire.open(access, new ResponsePool(0, largestResponse), broker)
  try {
    const connection = wire.asConnection
    const { apiKeys } = await apiVersionsV3.api.async(connection, 'millrace', '1')
    const newest = apiKeys.find(({ apiKey }) => apiKey === metadataApiKey)?.maxVersion ?? 0
    const metadata = newest >= 12 ? metadataV12 : newest === 11 ? metadataV11 : metadataV10
    const { topics } = await metadata.api.async(connection, [topic], false, true)
    const granted = topics[0]?.topicAuthorizedOperations ?? notKnown
    if (granted === notKnown) return []
    return needed.filter((operation) => (granted & (1 << operations[operation])) === 0)
  } finally {
    wire.close()
  }
}
