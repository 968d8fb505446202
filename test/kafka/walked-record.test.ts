// A record arrives with its key, value, headers and time as they were written: also a tombstone, also beyond 2^53.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isMillraceError } from '../../src/errors.ts'
import { decompress } from '../../src/kafka/compression.ts'
import { type RecordBatch, readRecordBatches } from '../../src/kafka/record-batch.ts'
import { type RecordSink, RecordWalk } from '../../src/kafka/records.ts'
import { WalkedRecord } from '../../src/kafka/walked-record.ts'
import { batchBytes, firstTimestamp, type LoggedRecord } from './log-segment.ts'

const place = { partition: 3, offset: 0n }

/** What is left of a record when the walk has gone on. */
function kept(record: WalkedRecord) {
  const text = (part: Buffer | null) => part?.toString('latin1') ?? null
  return {
    offset: record.offset,
    tag: record.tag,
    timestamp: record.timestamp,
    key: text(record.key()),
    value: text(record.value()),
    headers: record.headers().map(([name, value]) => [text(name), text(value)]),
  }
}

class Collected implements RecordSink {
  readonly records: ReturnType<typeof kept>[] = []

  appendRecord(record: WalkedRecord): void {
    this.records.push(kept(record))
  }
}

const bytes = fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array))
const logged = fc.record({
  gap: fc.integer({ min: 1, max: 300 }),
  key: fc.option(bytes),
  value: fc.option(fc.oneof(bytes, fc.constant(Buffer.alloc(20_000, 'x')))),
  headers: fc.array(fc.tuple(bytes, fc.option(bytes)), { maxLength: 4 }),
  timestamp: fc.oneof(fc.bigInt(firstTimestamp - 1000n, firstTimestamp + 100_000n), fc.bigInt(0n, 2n ** 52n)),
})

test('each record between two offsets arrives with all it has (property)', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(logged, { minLength: 1, maxLength: 8 }),
      fc.constantFrom('none', 'zstd' as const),
      fc.bigInt(0n, 2n ** 62n),
      fc.integer({ min: 0, max: 300 }),
      fc.integer({ min: 0, max: 2000 }),
      fc.integer({ min: 1, max: 30_000 }),
      fc.option(fc.bigInt(0n, 2n ** 52n)),
      async (all, codec, baseOffset, first, last, slice, appended) => {
        let delta = -1
        const records = all.map(({ gap, ...rest }): LoggedRecord => ({ delta: (delta += gap), ...rest }))
        const [batch] = readRecordBatches(
          batchBytes({ baseOffset, records, codec, ...(appended === null ? {} : { appended }) }),
        ) as [RecordBatch]
        const payload = await decompress(batch.codec, batch.payload, 2 ** 30, place)
        const walk = new RecordWalk(payload, batch.records, first, last, 1000, place)
        const sink = new Collected()
        const record = new WalkedRecord('topic', 3, batch)
        while (walk.walkRecords(sink, record, slice)) {}
        const seen = records.filter(({ delta }) => delta >= first && delta <= last)
        const text = (part: Buffer | null | undefined) => part?.toString('latin1') ?? null
        assert.deepEqual(
          sink.records,
          seen.map((record) => ({
            offset: baseOffset + BigInt(record.delta),
            tag: 1000 + record.delta,
            timestamp: Number(appended ?? record.timestamp),
            key: text(record.key),
            value: text(record.value),
            headers: record.headers!.map(([name, value]) => [text(name), text(value)]),
          })),
        )
        const full = seen.filter(({ value }) => value !== null && value.length > 0)
        const valueBytes = full.reduce((sum, { value }) => sum + value!.length, 0)
        assert.deepEqual(
          [walk.values, walk.empty, walk.valueBytes],
          [full.length, seen.length - full.length, valueBytes],
        )
        assert.equal(walk.lastWalked, delta)
      },
    ),
    { numRuns: 300 },
  )
})

test('an empty key or value is not null', () => {
  const records = [
    { delta: 0, key: null, value: null },
    { delta: 1, key: Buffer.alloc(0), value: Buffer.alloc(0) },
  ]
  const [batch] = readRecordBatches(batchBytes({ baseOffset: 7n, records })) as [RecordBatch]
  const sink = new Collected()
  new RecordWalk(batch.payload, 2, 0, 1, 0, place).walkRecords(sink, new WalkedRecord('t', 0, batch), 1000)
  assert.deepEqual(
    sink.records.map(({ key, value }) => [key, value]),
    [
      [null, null],
      ['', ''],
    ],
  )
})

test('whatever the bytes of the records are, the walk ends: with records or with the code (property)', () => {
  const [batch] = readRecordBatches(batchBytes({ baseOffset: 0n, records: [] })) as [RecordBatch]
  const sink: RecordSink = {
    appendRecord(record) {
      const bounds = [record.keyStart, record.keyEnd, record.valueStart, record.valueEnd]
      for (const bound of bounds) assert.ok(bound >= -1 && bound <= record.bytes.length, `${bounds}`)
      record.headers()
    },
  }
  const corrupt = fc.oneof(bytes, fc.array(fc.constantFrom(0, 1, 2, 6, 8, 12, 40, 255)).map(Buffer.from))
  fc.assert(
    fc.property(corrupt, fc.integer({ min: 1, max: 5 }), (garbage, announced) => {
      const walk = new RecordWalk(garbage, announced, 0, 2 ** 31 - 1, 0, place)
      try {
        while (walk.walkRecords(sink, new WalkedRecord('t', 0, batch), 10)) {}
      } catch (error) {
        assert.ok(isMillraceError(error, 'record-batch-corrupt'), String(error))
      }
    }),
    { numRuns: 3000 },
  )
})

test('headers that overrun their record are damage', () => {
  // attributes, timestamp, delta, no key, no value, one header whose name is said to have 50 bytes
  const record = Buffer.from([0, 0, 0, 1, 1, 2, 100, 65])
  const payload = Buffer.concat([Buffer.from([2 * record.length]), record, Buffer.alloc(100)])
  const [batch] = readRecordBatches(batchBytes({ baseOffset: 9n, records: [] })) as [RecordBatch]
  const walk = new RecordWalk(payload, 1, 0, 1, 0, place)
  const sink: RecordSink = { appendRecord: (walked) => void walked.headers() }
  assert.throws(() => walk.walkRecords(sink, new WalkedRecord('t', 0, batch), 1000), {
    code: 'record-batch-corrupt',
  })
})
