// How the leader of a consumer group shares partitions: round robin, each topic among the members that asked for
// it. (The library's own assigner gives every topic to every member, which is wrong when consumers of different
// topics are put into one group by `group_id`.)

import type { GroupPartitionsAssigner, GroupPartitionsAssignments } from '@platformatic/kafka'

export const assignPartitions: GroupPartitionsAssigner = (_leader, members, _topics, metadata) => {
  const shares = new Map<string, GroupPartitionsAssignments>()
  const subscribers = new Map<string, string[]>()
  // all leaders must come to the same result: nothing may depend on the order of joining
  for (const memberId of [...members.keys()].sort()) {
    shares.set(memberId, { memberId, assignments: new Map() })
    for (const topic of members.get(memberId)?.topics ?? []) {
      subscribers.set(topic, [...(subscribers.get(topic) ?? []), memberId])
    }
  }
  for (const [topic, memberIds] of subscribers) {
    const count = metadata.topics.get(topic)?.partitionsCount ?? 0
    for (let partition = 0; partition < count; partition++) {
      const share = shares.get(
        memberIds[partition % memberIds.length] as string,
      ) as GroupPartitionsAssignments
      const assigned = share.assignments.get(topic) ?? { topic, partitions: [] }
      assigned.partitions.push(partition)
      share.assignments.set(topic, assigned)
    }
  }
  return [...shares.values()]
}
