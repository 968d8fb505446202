// A connection that is ready for Fetch: authenticated, and with a version of Fetch that both sides speak.

import { type ClusterAccess, kafkaError } from './access.ts'
import { chooseFetchVersion, fetchApiKey } from './fetch.ts'
import { apiVersionsV3 } from './library.ts'
import type { ResponsePool } from './response-pool.ts'
import { Wire } from './wire.ts'

/** A connection for Fetch alone: the broker answers a connection's requests in order, and a Fetch may wait. */
export interface FetchConnection {
  wire: Wire
  version: number
}

/**
 * @throws MillraceError kafka-unreachable, broker-authentication
 */
export async function openFetchConnection(
  access: ClusterAccess,
  pool: ResponsePool,
  broker: { host: string; port: number },
): Promise<FetchConnection> {
  let wire: Wire | null = null
  try {
    wire = await Wire.open(access, pool, broker)
    const { apiKeys } = await apiVersionsV3.api.async(wire.asConnection, 'millrace', '1')
    const spoken = apiKeys.find((api) => api.apiKey === fetchApiKey)
    const version = spoken ? chooseFetchVersion(spoken.minVersion, spoken.maxVersion) : null
    if (version === null) throw new Error('the broker speaks no version of Fetch from 12 on (Kafka 2.7)')
    return { wire, version }
  } catch (cause) {
    wire?.close()
    throw kafkaError(cause, access)
  }
}
