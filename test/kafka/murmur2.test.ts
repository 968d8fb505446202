// The partition of a key is the one that the Java client chooses: the same key sent by both stays in one order.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { murmur2, partitionOf } from '../../src/kafka/murmur2.ts'
import { hashWithJava } from '../support/java-client.ts'
import { randomFrom } from '../support/random.ts'

// computed with org.apache.kafka.common.utils.Utils.murmur2
const known: [string, number][] = [
  ['21', -973932308],
  ['foobar', -790332482],
  ['a-little-bit-long-string', -985981536],
  ['a-little-bit-longer-string', -1486304829],
  ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
]

test('hashes are those of the Java client, as it computes them now', async (t) => {
  const random = randomFrom(7)
  const keys = [
    ...known.map(([key]) => Buffer.from(key)),
    Buffer.alloc(0),
    ...Array.from({ length: 400 }, (_, i) =>
      Buffer.from(Array.from({ length: i % 41 }, () => Math.floor(random() * 256))),
    ),
  ]
  const hashed = await hashWithJava(t, keys)
  assert.equal(hashed.length, keys.length)
  for (const [i, key] of keys.entries()) {
    const expected = hashed[i]!
    assert.equal(murmur2(key), expected.hash, key.toString('hex'))
    assert.deepEqual(
      [1, 3, 12].map((count) => partitionOf(key, count)),
      expected.partitions,
    )
  }
})

for (const [key, hash] of known) {
  test(`hash of ${key}`, () => assert.equal(murmur2(Buffer.from(key)), hash))
}
