// How far the sending is, written one time after the other.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Recording } from '../../src/outbound/recording.ts'

test('while one time takes long, one more is due and not one for each interval; it begins after what was asked for', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const begun = Array.from({ length: 3 }, () => Promise.withResolvers<void>())
  const held = Promise.withResolvers<void>()
  let times = 0
  const record = async () => {
    begun[times++]?.resolve()
    if (times === 1) await held.promise
  }
  const recording = new Recording(record, 500, () => assert.fail('nothing failed'))
  t.mock.timers.tick(500)
  await begun[0]!.promise
  t.mock.timers.tick(60_000)
  const asked = recording.now()
  assert.equal(times, 1, 'one time after the other')
  held.resolve()
  await asked
  await recording.settled()
  assert.equal(times, 2)
  await recording.now()
  assert.equal(times, 3, 'and it goes on')
  recording.stopTimer()
})
