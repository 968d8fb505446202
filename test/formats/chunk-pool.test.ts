import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ChunkPool, chunkBytes } from '../../src/formats/chunk-pool.ts'

test('a chunk that was given back is handed out again', () => {
  const pool = new ChunkPool()
  const chunk = pool.take(100)
  assert.equal(chunk.length, chunkBytes)
  pool.give(chunk.subarray(0, 50))
  assert.equal(pool.take(chunkBytes).buffer, chunk.buffer)
})

test('a chunk of several parts is handed out again when the last one is back', () => {
  const pool = new ChunkPool()
  const chunk = pool.take(100)
  const parts = [
    chunk.subarray(0, 10),
    pool.share(chunk.subarray(10, 20)),
    pool.share(chunk.subarray(20, 30)),
  ]
  pool.give(parts[0]!)
  pool.give(parts[2]!)
  assert.notEqual(pool.take(100).buffer, chunk.buffer)
  pool.give(parts[1]!)
  assert.equal(pool.take(100).buffer, chunk.buffer)
})

test('giving a chunk back twice does not hand it out twice', () => {
  const pool = new ChunkPool()
  const chunk = pool.take(100)
  pool.give(chunk)
  pool.give(chunk)
  assert.equal(pool.idle, chunkBytes)
})

test('a chunk that is larger than usual is not kept', () => {
  const pool = new ChunkPool()
  const chunk = pool.take(chunkBytes + 1)
  assert.equal(chunk.length, chunkBytes + 1)
  pool.give(chunk)
  assert.equal(pool.idle, 0)
})

test('idle chunks are bounded, foreign buffers ignored', () => {
  const pool = new ChunkPool(3 * chunkBytes)
  for (const chunk of Array.from({ length: 9 }, () => pool.take(1))) pool.give(chunk)
  pool.give(Buffer.alloc(chunkBytes))
  assert.equal(pool.idle, 3 * chunkBytes)
})
