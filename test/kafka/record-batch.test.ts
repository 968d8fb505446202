// A batch is believed only when its checksum holds, and what a broker cut short is left for the next Fetch.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isMillraceError } from '../../src/errors.ts'
import { createRecordsBatch } from '../../src/kafka/library.ts'
import { readRecordBatches } from '../../src/kafka/record-batch.ts'
import { batchBytes, type LoggedBatch, markerBytes } from './log-segment.ts'

const simple = (baseOffset: bigint, values: string[]): LoggedBatch => ({
  baseOffset,
  records: values.map((value, delta) => ({ delta, value: Buffer.from(value) })),
})

test('the header of a batch that the client library wrote', () => {
  const messages = ['a', 'b', 'c'].map((value, i) => ({
    topic: 't',
    value: Buffer.from(value),
    timestamp: 1_700_000_000_000n + [0n, 5n, 2n][i]!,
  }))
  const options = { producerId: 7n, producerEpoch: 0, partitionLeaderEpoch: 5, transactionalId: 'x' }
  for (const compression of ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const) {
    const [batch, ...more] = readRecordBatches(
      createRecordsBatch(messages, { ...options, compression }).buffer,
    )
    assert.equal(more.length, 0)
    assert.deepEqual(
      { ...batch, payload: undefined },
      {
        baseOffset: 0n,
        lastOffset: 2n,
        leaderEpoch: 5,
        codec: ['none', 'gzip', 'snappy', 'lz4', 'zstd'].indexOf(compression),
        transactional: true,
        control: false,
        producerId: 7n,
        baseTimestamp: 1_700_000_000_000,
        maxTimestamp: 1_700_000_000_005,
        timestampType: 'create',
        records: 3,
        payload: undefined,
      },
    )
  }
})

test('the batches of this test are those of the client library', () => {
  const values = ['one', 'two']
  const theirs = createRecordsBatch(
    values.map((value) => ({ topic: 't', value: Buffer.from(value), timestamp: 1_700_000_000_000n })),
    { producerId: -1n, producerEpoch: -1, partitionLeaderEpoch: 0 },
  ).buffer
  const ours = batchBytes(simple(0n, values))
  // the library counts sequences from 0 also without a producer; that and the checksum over it differ
  const without = (bytes: Buffer) => {
    const copy = Buffer.from(bytes)
    copy.fill(0, 17, 21)
    copy.fill(0, 51, 57)
    return copy
  }
  assert.deepEqual(without(ours), without(theirs))
})

test('offsets past 2^53 are exact', () => {
  const base = 2n ** 62n + 1n
  const [batch] = readRecordBatches(batchBytes(simple(base, ['a', 'b'])))
  assert.equal(batch?.baseOffset, base)
  assert.equal(batch?.lastOffset, base + 1n)
})

test('the last offset is that of the batch, also where compaction has removed the last record', () => {
  const [batch] = readRecordBatches(batchBytes({ ...simple(10n, ['a']), lastDelta: 9 }))
  assert.equal(batch?.lastOffset, 19n)
})

test('a batch that compaction emptied is listed', () => {
  const [batch] = readRecordBatches(batchBytes({ baseOffset: 4n, records: [], lastDelta: 3 }))
  assert.equal(batch?.records, 0)
  assert.equal(batch?.lastOffset, 7n)
})

test('a control batch is told from others', () => {
  const [batch] = readRecordBatches(markerBytes(3n, 9n, 'abort'))
  assert.equal(batch?.control, true)
  assert.equal(batch?.producerId, 9n)
})

test('cut anywhere, what is complete is listed and nothing else (property)', () => {
  const log = fc.array(fc.array(fc.string(), { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 5 })
  fc.assert(
    fc.property(log, fc.double({ min: 0, max: 1, noNaN: true }), (groups, where) => {
      const parts: Buffer[] = []
      let next = 0n
      for (const values of groups) {
        parts.push(batchBytes(simple(next, values)))
        next += BigInt(values.length)
      }
      const whole = Buffer.concat(parts)
      const cut = Math.floor(where * whole.length)
      const complete: bigint[] = []
      let end = 0
      let offset = 0n
      for (const [index, part] of parts.entries()) {
        end += part.length
        if (end > cut) break
        complete.push(offset)
        offset += BigInt(groups[index]!.length)
      }
      const read = readRecordBatches(whole.subarray(0, cut))
      assert.deepEqual(
        read.map((batch) => batch.baseOffset),
        complete,
      )
    }),
  )
})

test('a changed byte is noticed, wherever the checksum covers it (property)', () => {
  const bytes = batchBytes(simple(12n, ['some', 'values', 'to damage']))
  fc.assert(
    fc.property(
      fc.integer({ min: 17, max: bytes.length - 1 }),
      fc.integer({ min: 1, max: 255 }),
      (at, change) => {
        const damaged = Buffer.from(bytes)
        damaged[at]! ^= change
        assert.throws(
          () => readRecordBatches(damaged),
          (error) => isMillraceError(error, 'record-batch-corrupt') && error.facts.offset === 12n,
        )
      },
    ),
  )
})

test('what precedes a damaged batch is listed; the next Fetch begins with the damage', () => {
  const good = batchBytes(simple(0n, ['a', 'b']))
  const bad = batchBytes(simple(2n, ['c']))
  bad[bad.length - 1]! ^= 1
  const read = readRecordBatches(Buffer.concat([good, bad, batchBytes(simple(3n, ['d']))]))
  assert.deepEqual(
    read.map((batch) => batch.baseOffset),
    [0n],
  )
  assert.throws(() => readRecordBatches(bad), { code: 'record-batch-corrupt' })
})

test('a batch of an older format is refused with its format', () => {
  assert.throws(() => readRecordBatches(batchBytes({ ...simple(0n, ['a']), magic: 1 })), {
    code: 'record-batch-unsupported',
  })
})

test('a length that is too small for a batch does not stop the reading for ever', () => {
  const bytes = batchBytes(simple(0n, ['a']))
  bytes.writeInt32BE(0, 8)
  assert.throws(() => readRecordBatches(bytes), { code: 'record-batch-corrupt' })
})
