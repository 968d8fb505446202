// Topics that somebody asked about without consuming them: their watermarks are looked up while the question is
// fresh. What fails is asked again the next time.

import type { ClusterAccess } from '../kafka/access.ts'
import { TopicClient } from '../kafka/topic-client.ts'

/** @returns rows of cluster, topic, partition, low, high, last stable offset; none for a topic that does not exist */
export async function readWatermarks(
  access: ClusterAccess,
  topic: string,
  groupId: string,
): Promise<unknown[][]> {
  const client = new TopicClient(access, topic, groupId, { session: 10_000, heartbeat: 3000 })
  try {
    if (!(await client.describe())) return []
    const [start, end] = [await client.offsets('start'), await client.offsets('end')]
    return start.map((low, partition) => {
      const high = String(end[partition])
      return [access.name, topic, partition, String(low), high, high]
    })
  } finally {
    await client.close()
  }
}
