// Waits grow from the first bound to the last, never past it, and start over after a success.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Backoff } from '../../src/pipeline/backoff.ts'

test('each wait is within its bound, which doubles up to the last (property)', () => {
  const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1000 }),
      fc.integer({ min: 0, max: 100_000 }),
      random,
      (min, more, dice) => {
        const max = min + more
        const backoff = new Backoff(min, max)
        for (let attempt = 0; attempt < 80; attempt++) {
          const bound = Math.min(max, min * 2 ** attempt)
          const wait = backoff.next(() => dice)
          assert.ok(wait >= bound / 2 && wait <= bound, `attempt ${attempt}: ${wait} of ${bound}`)
        }
        assert.equal(backoff.attempts, 80)
        backoff.reset()
        assert.equal(backoff.attempts, 0)
        assert.ok(backoff.next(() => dice) <= min)
      },
    ),
  )
})

test('two daemons do not wait in step', () => {
  const waits = Array.from({ length: 50 }, () => new Backoff(1000, 30_000).next())
  assert.ok(new Set(waits).size > 25)
})
