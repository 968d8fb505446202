// Where a key goes is the Java client's decision, so that whoever else writes to the topic puts it into the same
// partition: murmur2 of the key's bytes, with the client's seed, its sign taken off.

const seed = 0x9747b28c
const mix = 0x5bd1e995

/** A signed 32-bit number, as Java's Utils.murmur2 gives it. */
export function murmur2(key: Uint8Array): number {
  const { length } = key
  let hash = seed ^ length
  let at = 0
  for (; at + 4 <= length; at += 4) {
    let word =
      (key[at] as number) |
      ((key[at + 1] as number) << 8) |
      ((key[at + 2] as number) << 16) |
      ((key[at + 3] as number) << 24)
    word = Math.imul(word, mix)
    word ^= word >>> 24
    hash = Math.imul(hash, mix) ^ Math.imul(word, mix)
  }
  const left = length - at
  if (left === 3) hash ^= (key[at + 2] as number) << 16
  if (left >= 2) hash ^= (key[at + 1] as number) << 8
  if (left >= 1) hash = Math.imul(hash ^ (key[at] as number), mix)
  hash ^= hash >>> 13
  hash = Math.imul(hash, mix)
  return hash ^ (hash >>> 15)
}

export function partitionOf(key: Uint8Array, partitions: number): number {
  return (murmur2(key) & 0x7fffffff) % partitions
}
