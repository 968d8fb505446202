// From a topic's name to what is read: the topic, once it exists, and where to start in it, once for each call that
// asks for it. What is stored is continued only where it is the same topic of the same cluster.

import { setTimeout } from 'node:timers/promises'
import { MillraceError } from '../errors.ts'
import type { Topic, TopicClient } from '../kafka/topic-client.ts'
import { unlessAborted } from '../pipeline/interruption.ts'
import type { SharedSession } from '../postgres/shared-session.ts'
import { type ClaimRequest, checkIdentity, evictOwners } from './claim.ts'
import type { ConsumerSpec } from './consumer.ts'
import { locate, readLocated } from './locate.ts'

export interface TopicSearch {
  spec: ConsumerSpec
  client: TopicClient
  shared: SharedSession
  ownership: Pick<ClaimRequest, 'owner' | 'grace' | 'patience'>
  /** Milliseconds between two looks. */
  interval: number
  onMissing: (missing: MillraceError) => void
  onLocating: () => void
  signal: AbortSignal
}

/** The topic or the consumer is not what it was when the membership began: begin another one. */
export class Changed extends Error {}

/** Waits until the topic exists; until then there is nothing to find out about where to start. */
export async function findTopic(search: TopicSearch): Promise<Topic> {
  const { spec, client, shared, signal } = search
  for (;;) {
    const topic = await unlessAborted(client.describe(), signal)
    if (topic) return topic
    await shared.use((session) => locate(session, spec, null))
    search.onMissing(new MillraceError('topic-missing', { topic: spec.topic, cluster: spec.cluster }))
    await setTimeout(search.interval, undefined, { signal })
  }
}

/**
 * Finds where to start, where that is still to be found; and makes sure that what is stored is continued.
 * @throws MillraceError topic-recreated, cluster-changed, takeover-failed; Changed
 */
export async function findStart(search: TopicSearch, topic: Topic): Promise<void> {
  const { spec, client, shared, signal } = search
  const identity = { clusterId: topic.clusterId, topicId: topic.id }
  const located = await shared.use((session) => readLocated(session, spec))
  if (!located) return waitForChange(search)
  if (!located.pending) {
    for (const stored of located.positions) checkIdentity(stored, identity)
    return
  }
  search.onLocating()
  const asked = async () => ({
    start: await client.offsets('start'),
    end: await client.offsets('end'),
    at: located.time === null ? null : await client.offsetsAt(located.time),
  })
  const { start, end, at } = await unlessAborted(asked(), signal)
  await evictOwners(shared, { ...search.ownership, consumerId: spec.id }, null, signal)
  const isSame = await shared.use((session) => locate(session, spec, { ...identity, start, end, at }))
  if (!isSame) await waitForChange(search)
}

/** Another version of the consumer is on its way, or its end: the reconciler brings it. @throws Changed */
async function waitForChange({ interval, signal }: TopicSearch): Promise<never> {
  await setTimeout(interval, undefined, { signal })
  throw new Changed()
}

/** @throws Changed when the topic is another one, has more partitions or is gone */
export async function checkTopic(client: TopicClient, topic: Topic): Promise<void> {
  const now = await client.describe()
  if (now?.id !== topic.id || now.partitions.length !== topic.partitions.length) throw new Changed()
}
