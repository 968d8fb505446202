// Whatever is done to spans, their parts are the whole again: no offset is lost, none is twice.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { before, isSingle, type Span, split } from '../../src/pipeline/span.ts'

const base = fc.bigInt({ min: 0n, max: 2n ** 62n })
const span = fc
  .tuple(fc.nat(5), base, fc.bigInt({ min: 1n, max: 2n ** 40n }))
  .map(([partition, from, length]): Span => ({ partition, from, to: from + length, leaderEpoch: 3 }))
const spans = fc.array(span, { minLength: 1, maxLength: 6 })

/** Neighbouring pieces of one partition as one, so that only what is covered is compared. */
function covered(spans: Span[]): [number, bigint, bigint][] {
  const pieces: [number, bigint, bigint][] = []
  for (const { partition, from, to } of spans) {
    const last = pieces.at(-1)
    if (last && last[0] === partition && last[2] === from) last[2] = to
    else pieces.push([partition, from, to])
  }
  return pieces
}

test('two parts are the whole, in order, and neither is empty (property)', () => {
  fc.assert(
    fc.property(spans, (whole) => {
      fc.pre(!isSingle(whole))
      const [first, second] = split(whole)
      assert.deepEqual(covered([...first, ...second]), covered(whole))
      for (const part of [...first, ...second]) assert.ok(part.to > part.from)
      assert.ok(first.length > 0 && second.length > 0)
    }),
  )
})

test('halving reaches a single offset soon (property)', () => {
  fc.assert(
    fc.property(spans, fc.infiniteStream(fc.boolean()), (whole, turns) => {
      let part = whole
      let steps = 0
      while (!isSingle(part)) {
        part = split(part)[turns.next().value ? 0 : 1]
        steps++
      }
      assert.ok(steps <= 3 + 41)
      assert.equal(part[0]!.to - part[0]!.from, 1n)
    }),
  )
})

test('what comes before an offset ends there (property)', () => {
  fc.assert(
    fc.property(spans, fc.nat(), fc.double({ min: 0, max: 1, noNaN: true }), (whole, pick, where) => {
      const index = pick % whole.length
      const { from, to } = whole[index]!
      const offset = from + BigInt(Math.floor(Number(to - from - 1n) * where))
      const kept = before(whole, index, offset)
      const rest = [{ ...whole[index]!, from: offset }, ...whole.slice(index + 1)]
      assert.deepEqual(covered([...kept, ...rest]), covered(whole))
      for (const part of kept) assert.ok(part.to > part.from)
    }),
  )
})

test('a part that ends elsewhere does not claim the leader epoch of the end', () => {
  const whole: Span[] = [{ partition: 0, from: 0n, to: 10n, leaderEpoch: 3 }]
  const [[first], [second]] = split(whole)
  assert.deepEqual([first?.leaderEpoch, second?.leaderEpoch], [-1, 3])
  assert.equal(before(whole, 0, 4n)[0]?.leaderEpoch, -1)
})
