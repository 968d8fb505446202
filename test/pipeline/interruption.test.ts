// Who is told to stop waits for nobody, and what he no longer waits for does no harm when it comes.
import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { pause, unlessAborted } from '../../src/pipeline/interruption.ts'

const hour = 3_600_000
const stopped = new Error('stopped')

test('what comes before the signal is the outcome, and leaves nothing behind at the signal', async () => {
  const { signal } = new AbortController()
  const waiting = unlessAborted(Promise.resolve(1), signal)
  assert.equal(getEventListeners(signal, 'abort').length, 1)
  assert.equal(await waiting, 1)
  await assert.rejects(unlessAborted(Promise.reject(new Error('failed')), signal), { message: 'failed' })
  assert.equal(getEventListeners(signal, 'abort').length, 0)
})

test('the signal ends the wait, whatever comes later', async () => {
  const control = new AbortController()
  const late = Promise.withResolvers<void>()
  const waiting = unlessAborted(late.promise, control.signal)
  control.abort(stopped)
  await assert.rejects(waiting, stopped)
  // would end this process if nobody had taken it
  late.reject(new Error('nobody waits for this'))
  await assert.rejects(late.promise)
  await assert.rejects(unlessAborted(new Promise(() => {}), control.signal), stopped)
})

test('a pause ends with the signal', async () => {
  const control = new AbortController()
  const paused = pause(hour, control.signal)
  control.abort(stopped)
  await paused
  await pause(hour, control.signal)
})
