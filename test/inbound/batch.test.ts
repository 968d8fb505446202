// A batch holds exactly the messages of its spans, whatever record batches they come in; what cannot be loaded
// ends it, and everything before that stays in it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ChunkPool } from '../../src/formats/chunk-pool.ts'
import { createFormat } from '../../src/formats/create-format.ts'
import { type Batch, buildBatch, giveBack } from '../../src/inbound/batch.ts'
import { MemoryBudget } from '../../src/inbound/memory-budget.ts'
import type { FetchedSpan } from '../../src/inbound/walk.ts'
import { readRecordBatches } from '../../src/kafka/record-batch.ts'
import { batchBytes, type LoggedBatch } from '../kafka/log-segment.ts'

const format = createFormat({
  format: 'text',
  delimiter: null,
  quote: null,
  escape: null,
  encoding: null,
  target: { schema: 's', name: 't', columns: [{ name: 'c', type: 'text', hasDefault: false }] },
  serverVersion: 180000,
})

const budget = new MemoryBudget(1_000_000).account()

function build(spans: FetchedSpan[], maxBytes = Number.MAX_SAFE_INTEGER) {
  return buildBatch(spans, { topic: 't', format, pool: new ChunkPool(), budget, maxBytes })
}

function spanOf(partition: number, batches: LoggedBatch[], from?: bigint, leaderEpoch = 0): FetchedSpan {
  const read = batches.flatMap((batch) => readRecordBatches(batchBytes(batch)))
  const to = read.at(-1)!.lastOffset + 1n
  return { partition, from: from ?? read[0]!.baseOffset, to, leaderEpoch, batches: read }
}

function logged(baseOffset: bigint, values: (string | null)[]): LoggedBatch {
  const records = values.map((value, delta) => ({ delta, value: value === null ? null : Buffer.from(value) }))
  return { baseOffset, records }
}

function linesOf(batch: Batch): string[] {
  const text = Buffer.concat(batch.segments.flatMap(({ chunks }) => chunks)).toString()
  return text === '' ? [] : text.replace(/\n$/, '').split('\n')
}

const boundsOf = (spans: { partition: number; from: bigint; to: bigint }[]) =>
  spans.map(({ partition, from, to }) => [partition, from, to])

test('spans become their messages and counts', async () => {
  const spans = [spanOf(0, [logged(5n, ['a', null, 'bb'])]), spanOf(3, [logged(0n, ['', 'c'])])]
  const { batch, rest } = await build(spans)
  assert.deepEqual(linesOf(batch), ['a', 'bb', 'c'])
  assert.deepEqual(
    batch.spans.map(({ messages, skipped, bytes }) => [messages, skipped, bytes]),
    [
      [2, 1, 3],
      [1, 1, 1],
    ],
  )
  assert.deepEqual(boundsOf(batch.spans), [
    [0, 5n, 8n],
    [3, 0n, 2n],
  ])
  assert.deepEqual([rest, batch.rejected], [[], null])
})

test('F12 a tombstone counts as a message where it becomes a row or deletes one, and as skipped where it is neither', async () => {
  const options = {
    format: 'text' as const,
    delimiter: null,
    quote: null,
    escape: null,
    encoding: null,
    target: { schema: 's', name: 't', columns: [{ name: 'c', type: 'text' as const, hasDefault: false }] },
    serverVersion: 180000,
    keyColumns: ['c'],
  }
  const records = [
    { delta: 0, key: Buffer.from('a'), value: Buffer.from('a') },
    { delta: 1, key: Buffer.from('a'), value: null },
    { delta: 2, key: Buffer.from('a'), value: Buffer.alloc(0) },
  ]
  const staging = [
    { field: 'tag' as const, column: 'tag' },
    { field: 'op' as const, column: 'op' },
  ]
  for (const [tombstone, prefix, counts] of [
    ['skip', staging, [1, 2, 1]],
    ['delete', staging, [2, 1, 1]],
    ['row', staging, [3, 0, 1]],
    ['row', [], [3, 0, 1]],
  ] as const) {
    const format = createFormat({ ...options, tombstone, prefix: [...prefix] })
    const spans = [spanOf(0, [{ baseOffset: 0n, records }])]
    const { batch } = await buildBatch(spans, {
      topic: 't',
      format,
      pool: new ChunkPool(),
      budget,
      maxBytes: Number.MAX_SAFE_INTEGER,
    })
    const [span] = batch.spans
    assert.deepEqual([span?.messages, span?.skipped, span?.bytes], counts, tombstone)
  }
})

test('what is before the position in a record batch is passed over', async () => {
  const { batch } = await build([spanOf(0, [logged(10n, ['a', 'b', 'c', 'd'])], 12n)])
  assert.deepEqual(linesOf(batch), ['c', 'd'])
})

test('a span without any message moves the position all the same', async () => {
  const span = { partition: 0, from: 4n, to: 9n, leaderEpoch: 6, batches: [] }
  const { batch } = await build([span])
  assert.deepEqual(batch.segments, [])
  assert.deepEqual(boundsOf(batch.spans), [[0, 4n, 9n]])
  assert.equal(batch.spans[0]?.leaderEpoch, 6)
})

test('a message that COPY must not see ends the batch, with its partition and offset', async () => {
  const spans = [
    spanOf(0, [logged(5n, ['a', 'b'])]),
    spanOf(1, [logged(2n ** 60n, ['c', 'd', 'bad\\', 'e'])]),
    spanOf(2, [logged(0n, ['f'])]),
  ]
  const { batch, rest } = await build(spans)
  assert.deepEqual(linesOf(batch), ['a', 'b', 'c', 'd'])
  assert.deepEqual(boundsOf(batch.spans), [
    [0, 5n, 7n],
    [1, 2n ** 60n, 2n ** 60n + 2n],
  ])
  const { partition, offset, code } = batch.rejected!
  assert.deepEqual([partition, offset, code], [1, 2n ** 60n + 2n, 'trailing-backslash'])
  assert.deepEqual(rest, [])
})

test('the first message of all being bad leaves nothing to load', async () => {
  const { batch } = await build([spanOf(0, [logged(7n, ['\\.', 'a'])])])
  assert.deepEqual([batch.spans, batch.segments], [[], []])
  assert.equal(batch.rejected?.offset, 7n)
  assert.equal(batch.rejected?.code, 'copy-end-marker')
})

test('a record batch that cannot be read ends the batch; what precedes it is loaded', async () => {
  const good = readRecordBatches(batchBytes(logged(0n, ['a', 'b'])))
  const overrun = readRecordBatches(batchBytes({ ...logged(2n, ['c']), announced: 5 }))
  const garbled = readRecordBatches(batchBytes({ ...logged(2n, ['c']), codec: 'gzip' }))
  garbled[0]!.payload.fill(1)
  const unknown = readRecordBatches(batchBytes(logged(2n, ['c']))).map((batch) => ({ ...batch, codec: 6 }))
  for (const [bad, code] of [
    [overrun, 'record-batch-corrupt'],
    [garbled, 'record-batch-corrupt'],
    [unknown, 'compression-unsupported'],
  ] as const) {
    const after = readRecordBatches(batchBytes(logged(3n, ['d'])))
    const span = { partition: 4, from: 0n, to: 4n, leaderEpoch: 0, batches: [...good, ...bad, ...after] }
    const { batch, rest } = await build([span])
    assert.deepEqual(linesOf(batch), ['a', 'b'], code)
    assert.deepEqual(boundsOf(batch.spans), [[4, 0n, 2n]])
    assert.deepEqual([batch.rejected?.partition, batch.rejected?.offset, batch.rejected?.code], [4, 2n, code])
    assert.deepEqual(rest, [])
  }
})

test('the leader epoch is that of what is right before the end, also of what nobody sees', async () => {
  const read = readRecordBatches(
    Buffer.concat([
      batchBytes({ ...logged(0n, ['a', 'b']), leaderEpoch: 1 }),
      batchBytes({ ...logged(2n, ['c', 'd']), leaderEpoch: 2 }),
    ]),
  )
  // offset 4 is the marker of a transaction, written under epoch 3
  const span = { partition: 0, from: 0n, to: 5n, leaderEpoch: 3, batches: read }
  const whole = await build([span])
  assert.equal(whole.batch.spans[0]?.leaderEpoch, 3)
  const part = await build([span], 1)
  assert.deepEqual(boundsOf(part.batch.spans), [[0, 0n, 2n]])
  assert.equal(part.batch.spans[0]?.leaderEpoch, 1)
  assert.deepEqual(boundsOf(part.rest), [[0, 2n, 5n]])
})

const groups = fc.array(
  fc.array(fc.option(fc.string({ unit: 'grapheme-ascii', maxLength: 20 })), { minLength: 1 }),
  {
    minLength: 1,
    maxLength: 4,
  },
)

test('built in pieces of any size, every message is there once and in order (property)', async () => {
  // backslashes and line ends are for the tests of the formats
  const clean = (value: string | null) => value?.replace(/[\\\r\n]/g, '_') ?? null
  await fc.assert(
    fc.asyncProperty(
      fc.array(groups, { minLength: 1, maxLength: 3 }),
      fc.integer({ min: 1, max: 60 }),
      async (partitions, limit) => {
        const expected: string[] = []
        const spans = partitions.map((groups, partition) => {
          let next = 100n
          const batches = groups.map((values) => {
            const batch = logged(next, values.map(clean))
            next += BigInt(values.length)
            for (const value of values) if (value) expected.push(`${clean(value)}`)
            return batch
          })
          return spanOf(partition, batches)
        })
        const pool = new ChunkPool()
        const lines: string[] = []
        const covered = new Map<number, bigint>()
        let left = spans
        while (left.length > 0) {
          const { batch, rest } = await buildBatch(left, {
            topic: 't',
            format,
            pool,
            budget,
            maxBytes: limit,
          })
          lines.push(...linesOf(batch))
          for (const span of batch.spans) {
            assert.equal(span.from, covered.get(span.partition) ?? 100n, 'one piece continues the other')
            covered.set(span.partition, span.to)
          }
          giveBack(batch, pool)
          left = rest
        }
        assert.deepEqual(lines, expected)
        assert.deepEqual(
          [...covered],
          spans.map(({ partition, to }) => [partition, to]),
        )
      },
    ),
  )
})

test('a batch is cut inside a record batch, which is walked again from there', async () => {
  const value = 'x'.repeat(40_000)
  const span = spanOf(0, [{ ...logged(10n, Array(8).fill(value)), codec: 'gzip' }])
  const ends: bigint[] = []
  const lines: string[] = []
  for (let left = [span]; left.length > 0; ) {
    const { batch, rest } = await build(left, 100_000)
    lines.push(...linesOf(batch))
    ends.push(batch.spans[0]!.to)
    assert.equal(batch.spans[0]!.messages, Number(batch.spans[0]!.to - batch.spans[0]!.from))
    left = rest
  }
  assert.ok(ends.length > 1 && ends.at(-1) === 18n, String(ends))
  assert.deepEqual(lines, Array(8).fill(value))
  assert.equal(budget.held, 0)
})

test('a record batch that outgrows the memory budget when decompressed ends the batch', async () => {
  const bomb = logged(2n, Array(20).fill('0'.repeat(100_000)))
  const spans = [spanOf(0, [logged(0n, ['a', 'b'])]), spanOf(1, [{ ...bomb, codec: 'gzip' }])]
  const { batch } = await build(spans)
  assert.deepEqual(linesOf(batch), ['a', 'b'])
  assert.deepEqual([batch.rejected?.offset, batch.rejected?.code], [2n, 'message-too-large'])
})
