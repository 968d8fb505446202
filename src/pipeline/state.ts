// What a consumer can be doing, and what it may do next: one complete table. SQL shows these names
// (millrace.consumers), with `stopped`, `failed` and `no-daemon`, which the database knows by itself.

export const states = ['starting', 'waiting-for-topic', 'locating', 'running', 'retrying', 'ended'] as const
export type State = (typeof states)[number]

const transitions: Record<State, readonly State[]> = {
  starting: ['waiting-for-topic', 'locating', 'running', 'retrying', 'ended'],
  'waiting-for-topic': ['locating', 'running', 'retrying', 'ended'],
  locating: ['running', 'waiting-for-topic', 'retrying', 'ended'],
  running: ['retrying', 'starting', 'waiting-for-topic', 'ended'],
  retrying: ['starting', 'waiting-for-topic', 'locating', 'running', 'ended'],
  ended: [],
}

/** @throws Error when the table does not allow it: a fault of this program */
export function transition(from: State, to: State): State {
  if (from !== to && !transitions[from].includes(to))
    throw new Error(`a consumer cannot go from ${from} to ${to}`)
  return to
}
