// Where a consumer starts is always an offset that the partition holds, or its end; where it is not the one asked
// for, a warning says so.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fromBeginning, fromEnd, startOffset } from '../../src/inbound/locate.ts'

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
