// What is written is what every reader of the format reads, and what was appended comes back as it was.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BatchWriter, compressions, type OutgoingRecord } from '../../src/kafka/batch-writer.ts'
import { BufferShelf } from '../../src/kafka/buffer-shelf.ts'
import { Reader, readRecordsBatch } from '../../src/kafka/library.ts'
import { PartitionQueue } from '../../src/kafka/partition-queue.ts'
import { readRecordBatches } from '../../src/kafka/record-batch.ts'

const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map((array) => Buffer.from(array))
const record: fc.Arbitrary<OutgoingRecord> = fc.record({
  key: fc.option(bytes(20)),
  value: fc.option(bytes(300)),
  headers: fc
    .array(fc.tuple(bytes(10), fc.option(bytes(70))), { maxLength: 3 })
    .map((headers) => headers.flat()),
  timestamp: fc.integer({ min: 0, max: 4_000_000_000_000 }),
})

for (const compression of compressions) {
  test(`a batch round trip, ${compression}`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(record, { minLength: 1, maxLength: 30 }), async (records) => {
        const batch = new BatchWriter(64)
        for (const [i, one] of records.entries()) batch.append(one, i)
        const sender = { producerId: 2n ** 40n, epoch: 3, transactional: false, sequence: 2 ** 31 - 5 }
        // asked for twice, as for a repetition
        await batch.encode(sender, compression)
        const written = await batch.encode(sender, compression)
        const [ours] = readRecordBatches(Buffer.from(written))
        assert.equal(ours?.records, records.length)
        assert.equal(ours.producerId, sender.producerId)
        const read = readRecordsBatch(Reader.from(written))
        assert.equal(read.firstSequence, sender.sequence)
        assert.equal(read.maxTimestamp, BigInt(Math.max(...records.map(({ timestamp }) => timestamp))))
        const parts = read.records.map(({ key, value, headers, timestampDelta }) => ({
          key,
          value,
          headers: headers.flat(),
          timestamp: Number(read.firstTimestamp + timestampDelta),
        }))
        assert.deepEqual(parts.map(comparable), records.map(comparable))
        const entries = [...batch.entries()]
        assert.deepEqual(
          entries.map(([one]) => comparable(one)),
          records.map(comparable),
        )
        assert.deepEqual(
          entries.map(([, ticket]) => ticket),
          [...records.keys()],
        )
      }),
      { numRuns: compression === 'none' ? 200 : 30 },
    )
  })
}

type Comparable = { key: unknown; value: unknown; headers: unknown[]; timestamp: unknown }

function comparable({ key, value, headers, timestamp }: Comparable): unknown {
  const hex = (part: unknown) => (part ? Buffer.from(part as Buffer).toString('hex') : null)
  return { key: hex(key), value: hex(value), headers: headers.map(hex), timestamp }
}

const small = (value: string): OutgoingRecord => ({
  key: Buffer.from(value.slice(0, 1)),
  value: Buffer.from(value),
  headers: [],
  timestamp: 0,
})

const identity = { producerId: 7n, epoch: 0, transactional: false }
const another = { ...identity, producerId: 8n }

test('a partition whose numbers do not count any more begins anew with another producer id alone', () => {
  const queue = new PartitionQueue('t', 0)
  queue.append(small('a'), 1, 1, 0)
  assert.equal(queue.hasSpent(identity), false)
  queue.number(queue.take(), identity)
  queue.forgetNumbers()
  queue.again(0, false)
  assert.equal(queue.hasSpent(identity), true, 'the broker would take number 0 for a repetition')
  assert.equal(queue.hasSpent(another), false)
  const { producerId, sequence } = queue.number(queue.take(), another)
  assert.deepEqual([producerId, sequence], [8n, 0])
})

test('what is known not to be written has no number until it is sent again, what may be written keeps it', () => {
  const queue = new PartitionQueue('t', 0)
  queue.append(small('a'), 1, 1, 0)
  queue.number(queue.take(), identity)
  queue.again(0, false)
  assert.equal(queue.uncertain, false)
  assert.equal(queue.number(queue.take(), identity).sequence, 0)
  queue.again(0, true)
  queue.number(queue.take(), identity)
  queue.again(0, false)
  assert.equal(queue.uncertain, true, 'of its earlier sending nobody knows')
})

test('a batch keeps its number when it is sent again', () => {
  const queue = new PartitionQueue('t', 0)
  queue.append(small('a1'), 0, 1, 0)
  const first = queue.take()
  assert.equal(queue.number(first, identity).sequence, 0)
  queue.again(0, true)
  assert.equal(queue.readyAt(0), 0)
  assert.equal(queue.take(), first, 'the same one is the next')
  assert.equal(queue.number(first, another).producerId, identity.producerId)
})

test('the number of a batch that is refused is free again', () => {
  const queue = new PartitionQueue('t', 0)
  for (const [i, value] of ['a1', 'b1', 'a2'].entries()) queue.append(small(value), i, 1, 0)
  assert.equal(queue.number(queue.take(), identity).sequence, 0)
  queue.split()
  const sifted = queue.sift(({ key }) => String(key) === 'a')
  assert.deepEqual(sifted.tickets, [2], 'what is behind it is taken out')
  const next = queue.take()
  assert.deepEqual(next.batch.tickets, [1])
  assert.equal(queue.number(next, identity).sequence, 0)
  queue.done()
  assert.ok(queue.empty)
})

for (const [refused, end] of [
  ['a message', (queue: PartitionQueue) => queue.split()],
  ['the topic', (queue: PartitionQueue) => queue.takeBack()],
] as const) {
  test(`what may have been written when ${refused} is refused leaves its number to nobody`, () => {
    const queue = new PartitionQueue('t', 0)
    for (const [i, value] of ['a1', 'b1'].entries()) queue.append(small(value), i, 1, 0)
    queue.number(queue.take(), identity)
    queue.again(0, true)
    queue.number(queue.take(), identity)
    end(queue)
    queue.sift(({ key }) => String(key) === 'a')
    assert.equal(queue.hasSpent(identity), true, 'the broker would take the next batch for a repetition')
    const next = queue.take()
    assert.deepEqual(next.batch.tickets, [1])
    assert.equal(queue.number(next, another).producerId, another.producerId)
  })
}

test('a batch that is refused is halved in its order, before what is behind it', () => {
  const queue = new PartitionQueue('t', 0)
  for (const [i, value] of ['a1', 'a2', 'a3'].entries()) queue.append(small(value), i, 1000, 0)
  const whole = queue.take()
  queue.number(whole, identity)
  queue.append(small('a4'), 3, 1000, 0)
  queue.split()
  const order: number[] = []
  while (!queue.empty) {
    order.push(...queue.take().batch.tickets)
    queue.done()
  }
  assert.deepEqual(order, [0, 1, 2, 3])
})

test('what a partition says it took and let go of is what its batches hold, whatever becomes of them', () => {
  const step = fc.record({ what: fc.constantFrom('append', 'written', 'split', 'sift'), one: record })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const queue = new PartitionQueue('t', 0, new BufferShelf(20_000, 50_000))
      const there: number[] = []
      let bytes = 0
      for (const [ticket, { what, one }] of steps.entries()) {
        if (what === 'append') {
          bytes += queue.append({ ...one, value: Buffer.alloc(3 * ticket ** 2) }, ticket, 16_000, 0).bytes
          there.push(ticket)
        } else if (what === 'sift') {
          const sifted = queue.sift((_record, ticket) => ticket % 3 === 0)
          bytes -= sifted.bytes
          const left = there.filter((ticket) => ticket % 3 !== 0)
          assert.deepEqual([...sifted.tickets, ...left].sort(), [...there].sort())
          there.splice(0, there.length, ...left)
        } else if (queue.readyAt(0) !== null) {
          const { batch } = queue.take()
          const { tickets } = batch
          assert.deepEqual(tickets, there.slice(0, tickets.length))
          if (what === 'written' || tickets.length === 1) there.splice(0, tickets.length)
          if (what === 'split') bytes -= queue.split()
          else {
            bytes -= batch.memory
            queue.done()
          }
          batch.release()
        }
      }
      const held: number[] = []
      for (; !queue.empty; queue.done()) {
        const { batch } = queue.take()
        bytes -= batch.memory
        held.push(...batch.tickets)
      }
      assert.deepEqual(held, there)
      assert.equal(bytes, 0)
    }),
  )
})
