// Memory that somebody holds is never handed out again, and what is kept idle is bounded.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ResponsePool } from '../../src/kafka/response-pool.ts'

const size = fc.integer({ min: 1, max: 3_000_000 })
const step = fc.oneof(fc.record({ take: size }), fc.record({ give: fc.nat() }))

test('two that are out never overlap, whatever is taken and given (property)', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const pool = new ResponsePool(8_000_000, 100_000_000)
      const out: { buffer: Buffer; mark: number }[] = []
      let marks = 0
      for (const step of steps) {
        if ('take' in step) {
          const buffer = pool.take(step.take)
          assert.equal(buffer.length, step.take)
          const mark = ++marks % 256
          buffer.fill(mark)
          out.push({ buffer, mark })
        } else if (out.length > 0) {
          const [{ buffer }] = out.splice(step.give % out.length, 1) as [(typeof out)[number]]
          // a response is given back without its header
          pool.give(buffer.subarray(Math.min(5, buffer.length)))
        }
        for (const { buffer, mark } of out) {
          assert.ok(buffer[0] === mark && buffer.at(-1) === mark && buffer[buffer.length >> 1] === mark)
        }
      }
    }),
    { numRuns: 50 },
  )
})

test('a response that was given back is used again', () => {
  const pool = new ResponsePool(1_000_000, 100_000_000)
  const first = pool.take(200_000)
  pool.give(first)
  assert.ok(pool.take(199_000).buffer === first.buffer)
})

test('no more is kept than the limit allows, and nothing that is too large for it', () => {
  const pool = new ResponsePool(1_000_000, 100_000_000)
  const buffers = Array.from({ length: 20 }, () => pool.take(200_000))
  const memory = new Set(buffers.map((buffer) => buffer.buffer))
  for (const buffer of buffers) pool.give(buffer)
  const again = Array.from({ length: 20 }, () => pool.take(200_000))
  const reused = again.filter((buffer) => memory.has(buffer.buffer))
  assert.ok(reused.length > 0 && reused.length <= 5, `${reused.length} were kept`)
  const large = pool.take(20_000_000)
  pool.give(large)
  assert.ok(pool.take(20_000_000).buffer !== large.buffer)
})
