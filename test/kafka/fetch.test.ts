// Requests are byte for byte those of the client library's own Fetch, and a response is read as it was written.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  chooseFetchVersion,
  decodeFetch,
  encodeFetch,
  type FetchRequest,
  newestFetchVersion,
} from '../../src/kafka/fetch.ts'
import { fetchV12, fetchV13, fetchV15, fetchV17, Writer } from '../../src/kafka/library.ts'
import { batchBytes } from './log-segment.ts'

const topicId = '0189f7a0-1b2c-4d3e-8f40-0123456789ab'

const request: FetchRequest = {
  topic: 'a-topic',
  topicId,
  partitions: [
    { partition: 0, offset: 5n, currentLeaderEpoch: 2, lastFetchedEpoch: -1, maxBytes: 1000 },
    { partition: 7, offset: 2n ** 60n, currentLeaderEpoch: -1, lastFetchedEpoch: 3, maxBytes: 2000 },
  ],
  maxWait: 250,
  minBytes: 1,
  maxBytes: 65536,
}

const theirPartitions = request.partitions.map((partition) => ({
  partition: partition.partition,
  currentLeaderEpoch: partition.currentLeaderEpoch,
  fetchOffset: partition.offset,
  lastFetchedEpoch: partition.lastFetchedEpoch,
  partitionMaxBytes: partition.maxBytes,
}))

for (const [version, api] of [
  [12, fetchV12],
  [13, fetchV13],
  [15, fetchV15],
  [17, fetchV17],
] as const) {
  test(`a request of version ${version} is the client library's`, () => {
    const topics = [{ topicId: version < 13 ? request.topic : topicId, partitions: theirPartitions }]
    const theirs = (api as any).createRequest(250, 1, 65536, 1, 0, -1, topics, [], '').buffer
    assert.deepEqual(encodeFetch(version, request).buffer, theirs)
  })
}

const plain = { noNullPrototype: true }
const int64 = fc.bigInt({ min: -1n, max: 2n ** 62n })
const partitionResponse = fc.record(
  {
    partition: fc.integer({ min: 0, max: 10_000 }),
    errorCode: fc.integer({ min: -1, max: 120 }),
    highWatermark: int64,
    lastStableOffset: int64,
    logStartOffset: int64,
    aborted: fc.array(fc.record({ producerId: int64, firstOffset: int64 }, plain), { maxLength: 3 }),
    values: fc.array(fc.string(), { maxLength: 3 }),
    diverging: fc.option(fc.record({ epoch: fc.integer({ min: 0, max: 99 }), endOffset: int64 }, plain)),
    unknownTag: fc.option(fc.uint8Array({ maxLength: 200 })),
  },
  plain,
)

test('a response is read whole, unknown tagged fields passed over (property)', () => {
  fc.assert(
    fc.property(
      fc.array(partitionResponse, { maxLength: 4 }),
      fc.constantFrom(12, 13, 16, 17),
      (partitions, version) => {
        const withRecords = partitions.map((partition) => ({
          ...partition,
          records: recordsOf(partition.values),
        }))
        const response = responseBytes(withRecords, version)
        const read = decodeFetch(version, response)
        assert.deepEqual(
          read.partitions.map((partition) => ({ ...partition, records: Buffer.from(partition.records) })),
          withRecords.map(({ values: _, unknownTag: __, ...partition }) => partition),
        )
        assert.deepEqual([read.throttle, read.errorCode], [17, 0])
      },
    ),
  )
})

function recordsOf(values: string[]): Buffer {
  if (values.length === 0) return Buffer.alloc(0)
  const records = values.map((value, delta) => ({ delta, value: Buffer.from(value) }))
  return batchBytes({ baseOffset: 3n, records })
}

type Answer = {
  partition: number
  errorCode: number
  highWatermark: bigint
  lastStableOffset: bigint
  logStartOffset: bigint
  aborted: { producerId: bigint; firstOffset: bigint }[]
  records: Buffer
  diverging: { epoch: number; endOffset: bigint } | null
  unknownTag: Uint8Array | null
}

function responseBytes(partitions: Answer[], version: number): Buffer {
  return Writer.create()
    .appendInt32(17)
    .appendInt16(0)
    .appendInt32(0)
    .appendArray([partitions], (w, list) => {
      if (version < 13) w.appendString('a-topic')
      else w.appendUUID(topicId)
      w.appendArray(
        list,
        (w, answer) => {
          w.appendInt32(answer.partition)
            .appendInt16(answer.errorCode)
            .appendInt64(answer.highWatermark)
            .appendInt64(answer.lastStableOffset)
            .appendInt64(answer.logStartOffset)
            .appendArray(answer.aborted, (w, { producerId, firstOffset }) => {
              w.appendInt64(producerId).appendInt64(firstOffset)
            })
            .appendInt32(-1)
          w.appendUnsignedVarInt(answer.records.length + 1).append(answer.records)
          const tags = (answer.diverging ? 1 : 0) + (answer.unknownTag ? 1 : 0)
          w.appendUnsignedVarInt(tags)
          if (answer.diverging) {
            w.appendUnsignedVarInt(0).appendUnsignedVarInt(12)
            w.appendInt32(answer.diverging.epoch).appendInt64(answer.diverging.endOffset)
          }
          if (answer.unknownTag) {
            w.appendUnsignedVarInt(300).appendUnsignedVarInt(answer.unknownTag.length)
            w.append(Buffer.from(answer.unknownTag))
          }
        },
        true,
        false,
      )
    })
    .appendTaggedFields().buffer
}

test('absent aborted transactions and absent records are none', () => {
  const response = Writer.create()
    .appendInt32(0)
    .appendInt16(0)
    .appendInt32(0)
    .appendArray([0], (w) => {
      w.appendUUID(topicId).appendArray(
        [0],
        (w) => {
          w.appendInt32(4).appendInt16(3).appendInt64(-1n).appendInt64(-1n).appendInt64(-1n)
          w.appendUnsignedVarInt(0).appendInt32(-1).appendUnsignedVarInt(0).appendTaggedFields()
        },
        true,
        false,
      )
    })
    .appendTaggedFields().buffer
  const [partition] = decodeFetch(17, response).partitions
  assert.deepEqual(partition?.aborted, [])
  assert.equal(partition?.records.length, 0)
  assert.equal(partition?.errorCode, 3)
})

test('the newest version that both sides speak', () => {
  assert.equal(chooseFetchVersion(0, 11), null)
  assert.equal(chooseFetchVersion(0, 12), 12)
  assert.equal(chooseFetchVersion(4, 99), newestFetchVersion)
  assert.equal(chooseFetchVersion(18, 20), null)
})
