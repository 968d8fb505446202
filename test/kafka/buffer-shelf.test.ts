// Memory that nobody has any more is given out again, and what is kept counts with what is in use.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BufferShelf } from '../../src/kafka/buffer-shelf.ts'

const kilobyte = 1024

test('a piece is given out again, the smallest one that is large enough', () => {
  const shelf = new BufferShelf(300 * kilobyte, 1000 * kilobyte)
  const [small, full] = [shelf.take(100), shelf.take(70 * kilobyte)]
  assert.equal(small.length, 4 * kilobyte)
  assert.equal(full.length, 300 * kilobyte)
  shelf.give(small)
  shelf.give(full)
  assert.equal(shelf.take(4 * kilobyte), small)
  assert.equal(shelf.take(300 * kilobyte), full)
  assert.notEqual(shelf.take(300 * kilobyte), full)
})

test('what is larger than the largest piece is not kept', () => {
  const shelf = new BufferShelf(300 * kilobyte, 1000 * kilobyte)
  const huge = shelf.take(301 * kilobyte)
  assert.equal(huge.length, 301 * kilobyte)
  shelf.give(huge)
  assert.notEqual(shelf.take(301 * kilobyte), huge)
})

test('where more is in use than may be kept, what comes back is let go of', () => {
  const shelf = new BufferShelf(300 * kilobyte, 500 * kilobyte)
  const [one, two] = [shelf.take(300 * kilobyte), shelf.take(300 * kilobyte)]
  shelf.give(one)
  shelf.give(two)
  assert.equal(shelf.take(300 * kilobyte), two)
  assert.notEqual(shelf.take(300 * kilobyte), one)
})

test('what is kept makes room for what is needed, whatever its size', () => {
  const shelf = new BufferShelf(300 * kilobyte, 330 * kilobyte)
  const small = Array.from({ length: 10 }, () => shelf.take(1))
  for (const piece of small) shelf.give(piece)
  const large = shelf.take(300 * kilobyte)
  shelf.give(large)
  assert.equal(shelf.take(300 * kilobyte), large, 'it is kept: with it there is no more than may be')
  const again = Array.from({ length: 10 }, () => shelf.take(1))
  assert.equal(again.filter((piece) => small.includes(piece)).length, 7, 'the others made room')
})

test('what does not come back counts no more', () => {
  const shelf = new BufferShelf(300 * kilobyte, 300 * kilobyte)
  shelf.forget(shelf.take(300 * kilobyte))
  const next = shelf.take(300 * kilobyte)
  shelf.give(next)
  assert.equal(shelf.take(300 * kilobyte), next)
})
