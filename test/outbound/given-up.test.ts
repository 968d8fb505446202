// A topic that was given up is tried again when more of its replicas are in sync, or all of them are, or after the longest pause.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MillraceError } from '../../src/errors.ts'
import { GivenUp } from '../../src/outbound/given-up.ts'

const error = new MillraceError('partition-unavailable', { topic: 't', partition: 0, cluster: 'default' })
const some = (inSync: number) => ({ inSync, complete: false })
const all = { inSync: 3, complete: true }

test('it is tried again when it has become better', () => {
  const givenUp = new GivenUp(1, 1024)
  givenUp.add('t', error)
  assert.deepEqual(givenUp.errors, [['t', error]])
  assert.equal(givenUp.mayTry('t', some(2)), false)
  assert.equal(givenUp.mayTry('t', some(1)), false)
  assert.equal(givenUp.mayTry('t', some(1)), false)
  assert.equal(givenUp.mayTry('t', some(2)), true)
  assert.equal(givenUp.mayTry('t', all), true)
  assert.equal(givenUp.mayTry('another', some(1)), true)
})

test('where nothing becomes better it is tried now and then, and less and less often', () => {
  const givenUp = new GivenUp(1, 8)
  assert.equal(givenUp.add('t', error), 1)
  const tries = Array.from({ length: 4 }, () => givenUp.mayTry('t', some(1)))
  assert.deepEqual(tries, [false, false, false, true])
  assert.equal(givenUp.add('t', error), 8)
  givenUp.forget('t')
  assert.equal(givenUp.add('t', error), 1)
  assert.equal(givenUp.add('t', error), 2)
})
