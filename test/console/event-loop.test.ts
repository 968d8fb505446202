// The event loop's delay: a loop that was held is seen, by everybody who asks within a minute, and then forgotten.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EventLoopDelay, type LoopDelay, RecentDelay } from '../../src/console/event-loop.ts'
import { eventually } from '../support/eventually.ts'

test('a loop that was held is seen', async (t) => {
  const delay = new EventLoopDelay()
  t.after(() => delay.close())
  const held = 0.2
  const hold = () => {
    const end = performance.now() + held * 1000
    while (performance.now() < end);
  }
  // a sample is taken once the loop turns; the time up to the next one that was due is not counted
  await eventually('the delay is seen', () => {
    hold()
    return delay.read().most >= held / 2
  })
})

test('what one asker has seen, another sees for a minute at least, and none for more than two', () => {
  let time = 0
  let sampled: LoopDelay = { median: 0, high: 0, most: 0 }
  const none = { ...sampled }
  const high = { median: 1, high: 2, most: 3 }
  const sampler = { read: () => sampled, begin: () => (sampled = none) }
  const delay = new RecentDelay(sampler, () => time)
  time = 50_000
  sampled = high
  assert.deepEqual(delay.read(), high)
  assert.deepEqual(delay.read(), high, 'asking takes nothing away')
  time = 61_000
  assert.deepEqual(delay.read(), high, 'the window ends')
  for (time of [62_000, 100_000, 121_000]) assert.deepEqual(delay.read(), high)
  time = 122_000
  assert.deepEqual(delay.read(), high, 'the next one ends')
  time = 122_001
  assert.deepEqual(delay.read(), none)
  // nobody asks for long: what was then is in the window that ends now, and no older one counts
  sampled = high
  time = 400_000
  assert.deepEqual(delay.read(), high)
  time = 401_000
  assert.deepEqual(delay.read(), high)
  time = 700_000
  assert.deepEqual(delay.read(), none)
})
