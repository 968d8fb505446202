// Every value of a batch arrives once, with its offset, however the batch is compressed, sliced and cut by the
// position; keys, headers and timestamps are passed over.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isMillraceError } from '../../src/errors.ts'
import { decompress } from '../../src/kafka/compression.ts'
import { readRecordBatches } from '../../src/kafka/record-batch.ts'
import { RecordWalk, type ValueSink } from '../../src/kafka/records.ts'
import { batchBytes, type LoggedBatch, type LoggedRecord } from './log-segment.ts'

const place = { partition: 0, offset: 0n }

class Collected implements ValueSink {
  readonly values: [number, string][] = []

  append(bytes: Buffer, start: number, end: number, tag: number): void {
    this.values.push([tag, bytes.toString('latin1', start, end)])
  }
}

async function walked(
  bytes: Buffer,
  options: { first?: number; last?: number; tagBase?: number; slice?: number } = {},
) {
  const [batch] = readRecordBatches(bytes)
  assert.ok(batch)
  const records = await decompress(batch.codec, batch.payload, 2 ** 30, place)
  const sink = new Collected()
  const { first = 0, last = 2 ** 31 - 1, tagBase = 0, slice = Number.MAX_SAFE_INTEGER } = options
  const walk = new RecordWalk(records, batch.records, first, last, tagBase, place)
  let slices = 1
  while (walk.walk(sink, slice)) slices++
  return { values: sink.values, counts: [walk.values, walk.empty, walk.valueBytes], slices }
}

const bytes = fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array))
const large = fc.integer({ min: 8_000, max: 40_000 }).map((size) => Buffer.alloc(size, size))
const value = fc.oneof(
  { weight: 6, arbitrary: bytes },
  { weight: 1, arbitrary: large },
  { weight: 1, arbitrary: fc.constant(null) },
)
const record = fc.record({
  gap: fc.oneof({ weight: 5, arbitrary: fc.constant(1) }, fc.integer({ min: 1, max: 70_000 })),
  key: fc.option(bytes),
  value,
  headers: fc.array(fc.tuple(bytes, bytes), { maxLength: 3 }),
})

function withDeltas(
  records: { gap: number; key: Buffer | null; value: Buffer | null; headers: [Buffer, Buffer][] }[],
) {
  let delta = -1
  return records.map(({ gap, ...rest }): LoggedRecord => ({ delta: (delta += gap), ...rest }))
}

const codec = fc.constantFrom('none', 'gzip', 'snappy', 'lz4', 'zstd' as const)

test('each value between two offsets arrives once, with its tag (property)', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(record, { minLength: 1, maxLength: 12 }).map(withDeltas),
      codec,
      fc.bigInt({ min: 0n, max: 2n ** 62n }),
      fc.integer({ min: 0, max: 20 }),
      fc.integer({ min: 0, max: 200_000 }),
      fc.integer({ min: 1, max: 50_000 }),
      async (records, codec, baseOffset, first, last, slice) => {
        const batch: LoggedBatch = { baseOffset, records, codec }
        const seen = records.filter(({ delta }) => delta >= first && delta <= last)
        const full = seen.filter(({ value }) => value !== null && value.length > 0)
        const { values, counts } = await walked(batchBytes(batch), { first, last, tagBase: 1000, slice })
        assert.deepEqual(
          values,
          full.map(({ delta, value }) => [1000 + delta, value!.toString('latin1')]),
        )
        const valueBytes = full.reduce((sum, { value }) => sum + value!.length, 0)
        assert.deepEqual(counts, [full.length, seen.length - full.length, valueBytes])
      },
    ),
    { numRuns: 300 },
  )
})

test('a walk in slices is the same walk', async () => {
  const records = Array.from({ length: 500 }, (_, delta) => ({ delta, value: Buffer.from(`value ${delta}`) }))
  const all = await walked(batchBytes({ baseOffset: 0n, records }))
  const sliced = await walked(batchBytes({ baseOffset: 0n, records }), { slice: 100 })
  assert.equal(all.slices, 1)
  assert.ok(sliced.slices > 50)
  assert.deepEqual(sliced.values, all.values)
})

test('tombstones and empty messages are counted and passed over', async () => {
  const values = [null, Buffer.alloc(0), Buffer.from('x'), null]
  const records = values.map((value, delta) => ({ delta, key: Buffer.from('k'), value }))
  const { values: seen, counts } = await walked(batchBytes({ baseOffset: 0n, records }))
  assert.deepEqual(seen, [[2, 'x']])
  assert.deepEqual(counts, [1, 3, 1])
})

test('a batch that announces more records than it has is damaged', async () => {
  const records = [{ delta: 0, value: Buffer.from('x') }]
  await assert.rejects(walked(batchBytes({ baseOffset: 0n, records, announced: 2 })), {
    code: 'record-batch-corrupt',
  })
})

test('whatever the bytes of the records are, the walk ends: with values or with the code (property)', async () => {
  await fc.assert(
    fc.asyncProperty(bytes, fc.integer({ min: 1, max: 5 }), async (garbage, announced) => {
      const walk = new RecordWalk(garbage, announced, 0, 2 ** 31 - 1, 0, place)
      const sink: ValueSink = {
        append(from, start, end) {
          assert.ok(start >= 0 && end > start && end <= from.length, 'a value is inside its batch')
        },
      }
      try {
        while (walk.walk(sink, 10)) {}
      } catch (error) {
        assert.ok(isMillraceError(error, 'record-batch-corrupt'), String(error))
      }
    }),
    { numRuns: 2000 },
  )
})

test('what cannot be decompressed is damage, what nobody knows has its own code', async () => {
  for (const codec of [1, 2, 3, 4]) {
    await assert.rejects(
      decompress(codec, Buffer.from('this is not compressed'), 2 ** 30, place),
      { code: 'record-batch-corrupt' },
      `codec ${codec}`,
    )
  }
  await assert.rejects(decompress(5, Buffer.from('x'), 2 ** 30, place), { code: 'compression-unsupported' })
})

test('what would outgrow the limit is refused, by every codec', async () => {
  const records = Array.from({ length: 3 }, (_, delta) => ({ delta, value: Buffer.alloc(100_000, 'ab') }))
  for (const compression of ['gzip', 'snappy', 'lz4', 'zstd'] as const) {
    const [batch] = readRecordBatches(batchBytes({ baseOffset: 0n, records, codec: compression }))
    assert.ok(batch)
    const whole = await decompress(batch.codec, batch.payload, 400_000, place)
    assert.ok(whole.length > 300_000, compression)
    await assert.rejects(decompress(batch.codec, batch.payload, 100_000, place), {
      code: 'message-too-large',
    })
  }
})
