// What is shared out is neither more than there is nor less than is wanted, and as even as may be.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { shareOut } from '../../src/pipeline/share-out.ts'

const sum = (numbers: number[]): number => numbers.reduce((total, n) => total + n, 0)

test('shares are even, where there is enough of each', () => {
  assert.deepEqual(shareOut([10, 10, 10], 7), [3, 2, 2])
  assert.deepEqual(shareOut([50, 2, 2500], 2000), [50, 2, 1948])
  assert.deepEqual(shareOut([0, 5], 3), [0, 3])
  assert.deepEqual(shareOut([], 3), [])
})

test('together they are what is wanted or all there is; who gives less than another gives all it has', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(1000)), fc.integer({ min: 1, max: 10_000 }), (available, wanted) => {
      const shares = shareOut(available, wanted)
      assert.equal(sum(shares), Math.min(wanted, sum(available)))
      const most = Math.max(0, ...shares)
      for (const [index, share] of shares.entries()) {
        assert.ok(share >= 0 && share <= (available[index] as number))
        assert.ok(share === available[index] || share >= most - 1)
      }
    }),
  )
})
