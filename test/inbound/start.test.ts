// Where a consumer starts is always an offset that the partition holds, or its end; where it is not the one asked
// for, a warning says so.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fromBeginning, fromEnd, placesOf, startOffset } from '../../src/inbound/start.ts'

test('-1 is the end and -2 the beginning, without a word', () => {
  assert.deepEqual(startOffset(fromEnd, 0, 5n, 9n), { offset: 9n, warning: null })
  assert.deepEqual(startOffset(fromBeginning, 0, 5n, 9n), { offset: 5n, warning: null })
})

test('an offset outside is moved to the nearest one inside, with a warning', () => {
  assert.deepEqual(startOffset(7n, 0, 5n, 9n), { offset: 7n, warning: null })
  assert.deepEqual(startOffset(9n, 0, 5n, 9n), { offset: 9n, warning: null })
  assert.deepEqual(startOffset(3n, 1, 5n, 9n), {
    offset: 5n,
    warning:
      'start-offset-clamped: start_offset 3 is outside what is there in partition 1, reading starts at 5',
  })
  assert.deepEqual(startOffset(12n, 2, 5n, 9n), {
    offset: 9n,
    warning:
      'start-offset-clamped: start_offset 12 is outside what is there in partition 2, reading starts at 9',
  })
})

test('it is always inside, and nearest to what was asked for (property)', () => {
  const offset = fc.bigInt({ min: 0n, max: 2n ** 63n - 1n })
  fc.assert(
    fc.property(offset, offset, offset, (asked, a, b) => {
      const [start, end] = a < b ? [a, b] : [b, a]
      const found = startOffset(asked, 0, start, end)
      assert.ok(found.offset >= start && found.offset <= end)
      assert.equal(found.warning === null, found.offset === asked)
      if (asked >= start && asked <= end) assert.equal(found.offset, asked)
    }),
  )
})

const bounds = { clusterId: 'c', topicId: 't', start: [2n, 3n, 4n], end: [20n, 30n, 40n], at: null }
const nothing = { offset: null, time: null, partitions: null, begun: false }

test('nothing asked for: the end, where nothing stands yet', () => {
  assert.deepEqual(placesOf(bounds, nothing).places, [
    { partition: 0, offset: 20n, moves: false },
    { partition: 1, offset: 30n, moves: false },
    { partition: 2, offset: 40n, moves: false },
  ])
})

test('a moment: where the broker found it, else the end', () => {
  const { places, warnings } = placesOf({ ...bounds, at: [7n, 30n] }, { ...nothing, time: 1000 })
  assert.deepEqual(
    places.map((place) => [place.offset, place.moves]),
    [
      [7n, true],
      [30n, true],
      [40n, true],
    ],
  )
  assert.deepEqual(warnings, [])
})

test('some partitions: those move, the others do not; one that is not there is named', () => {
  const partitions = new Map([
    [0, 9_007_199_254_740_993n],
    [2, fromBeginning],
    [5, 1n],
  ])
  const { places, warnings } = placesOf(bounds, { ...nothing, partitions })
  assert.deepEqual(places, [
    { partition: 0, offset: 20n, moves: true },
    { partition: 1, offset: 30n, moves: false },
    { partition: 2, offset: 4n, moves: true },
  ])
  assert.match(warnings[0] ?? '', /^start-offset-clamped: start_offset 9007199254740993 .*partition 0/)
  assert.match(warnings[1] ?? '', /^start-partition-missing: .*partition 5/)
})

test('some partitions beside a start of all: those go elsewhere, the others where all start', () => {
  const partitions = new Map([[1, 17n]])
  assert.deepEqual(
    placesOf(bounds, { ...nothing, offset: fromBeginning, partitions }).places.map(({ offset }) => offset),
    [2n, 17n, 4n],
  )
  assert.deepEqual(
    placesOf({ ...bounds, at: [7n, 8n, 9n] }, { ...nothing, time: 1, partitions }).places.map(
      ({ offset }) => offset,
    ),
    [7n, 17n, 9n],
  )
})

test('F11 a partition that was added since is read from its beginning, whatever else is moved', () => {
  const { places } = placesOf(bounds, { ...nothing, begun: true, partitions: new Map([[0, 9n]]) })
  assert.deepEqual(
    places.map(({ offset, moves }) => [offset, moves]),
    [
      [9n, true],
      [3n, false],
      [4n, false],
    ],
  )
})
