// How the leader of a consumer group shares partitions: round robin, each topic among the members that asked for
// it. (The library's own assigner gives every topic to every member, which is wrong when consumers of different
// topics are put into one group by `group_id`.)
//
// Members say which running database they load into, and partitions are shared among those of one database only:
// where a copy of a database meets its original in a group, each of them gets everything.

import type {
  ExtendedGroupProtocolSubscription,
  GroupPartitionsAssigner,
  GroupPartitionsAssignments,
} from './library.ts'

export const assignPartitions: GroupPartitionsAssigner = (_leader, members, _topics, metadata) => {
  const shares = new Map<string, GroupPartitionsAssignments>()
  const subscribers = new Map<string, { topic: string; memberIds: string[] }>()
  // all leaders must come to the same result: nothing may depend on the order of joining
  for (const memberId of [...members.keys()].sort()) {
    const member = members.get(memberId) as ExtendedGroupProtocolSubscription
    shares.set(memberId, { memberId, assignments: new Map() })
    for (const topic of member.topics ?? []) {
      const key = JSON.stringify([instanceOf(member), topic])
      const before = subscribers.get(key)?.memberIds ?? []
      subscribers.set(key, { topic, memberIds: [...before, memberId] })
    }
  }
  for (const { topic, memberIds } of subscribers.values()) {
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

/** What the member said it loads into; programs that are not this one say nothing, or something else. */
export function instanceOf({ metadata }: Pick<ExtendedGroupProtocolSubscription, 'metadata'>): string {
  return metadata?.toString() ?? ''
}
