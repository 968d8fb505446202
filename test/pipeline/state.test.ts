// The table of states is complete and says what SQL shows; whatever is not in it is a fault of this program.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type State, states, transition } from '../../src/pipeline/state.ts'

function allowed(from: State, to: State): boolean {
  try {
    return transition(from, to) === to
  } catch {
    return false
  }
}

function nextOf(from: State): State[] {
  return states.filter((to) => to !== from && allowed(from, to))
}

test('a state may be entered again', () => {
  for (const state of states) assert.equal(transition(state, state), state)
})

test('nothing follows the end, and every other state can end and can be in trouble', () => {
  assert.deepEqual(nextOf('ended'), [])
  for (const state of states) {
    if (state === 'ended') continue
    assert.ok(allowed(state, 'ended'), `${state} can end`)
    assert.ok(allowed(state, 'retrying'), `${state} can be retried`)
  }
})

test('every state can be reached from the first, and running from every one but the last', () => {
  const reached = new Set<State>(['starting'])
  for (const state of reached) for (const next of nextOf(state)) reached.add(next)
  assert.deepEqual([...reached].sort(), [...states].sort())
  for (const state of states) if (state !== 'ended') assert.ok(allowed(state, 'running'), state)
})

test('a consumer that runs is not located again', () => {
  assert.throws(() => transition('running', 'locating'), /from running to locating/)
})
