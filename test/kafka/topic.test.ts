// A topic without an id cannot be told from another one of its name; one without a leader in one partition is a topic.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ClusterMetadata } from '../../src/kafka/library.ts'
import { topicOf, topicWithin } from '../../src/kafka/topic.ts'

const id = '5f0c2f0e-7a7e-4b0a-9d6b-0f8c7d0d6f11'

function metadata(topicId: string | undefined): ClusterMetadata {
  const partition = { leader: 1, leaderEpoch: 4, replicas: [1], isr: [1], offlineReplicas: [] }
  const topic = { id: topicId, partitions: [partition], partitionsCount: 1, lastUpdate: 0 }
  return {
    id: 'cluster',
    brokers: new Map([[1, { host: 'a', port: 1 }]]),
    topics: new Map([['t', topic]]),
    lastUpdate: 0,
  } as unknown as ClusterMetadata
}

test('F09 brokers that give no topic id are refused, by a code of its own', () => {
  assert.equal(topicOf('t', metadata(id))?.id, id)
  assert.equal(topicOf('u', metadata(id)), null)
  for (const none of ['00000000-0000-0000-0000-000000000000', undefined]) {
    assert.throws(() => topicOf('t', metadata(none)), { code: 'topic-id-missing' })
  }
})

test('what the library takes for an error is read where only a partition has one', () => {
  const partitions = [
    { errorCode: 0, partitionIndex: 1, leaderId: 2, leaderEpoch: 7, replicaNodes: [2, 3], isrNodes: [2] },
    { errorCode: 5, partitionIndex: 0, leaderId: -1, leaderEpoch: 3, replicaNodes: [1], isrNodes: [] },
  ]
  const errorOf = (errorCode: number) => {
    const topics = [{ errorCode, name: 't', topicId: id, partitions }]
    const response = { clusterId: 'c', brokers: [{ nodeId: 2, host: 'b', port: 9 }], topics }
    return new Error('metadata failed', { cause: Object.assign(new Error('inner'), { response }) })
  }
  assert.deepEqual(topicWithin(errorOf(0), 't'), {
    name: 't',
    id,
    clusterId: 'c',
    partitions: [
      { leader: -1, leaderEpoch: 3, replicas: 1, inSync: 0 },
      { leader: 2, leaderEpoch: 7, replicas: 2, inSync: 1 },
    ],
    brokers: new Map([[2, { host: 'b', port: 9 }]]),
  })
  assert.equal(topicWithin(errorOf(3), 't'), null)
  assert.equal(topicWithin(new Error('another one'), 't'), null)
})
