// What a test sets up is taken down in the opposite order, however the test ends: the daemon goes before the
// database it writes to.

/** The test context, or anything else with node:test's `after`. */
export interface Cleanup {
  after(fn: () => unknown): void
}

const pending = new WeakMap<Cleanup, (() => unknown)[]>()

/** node:test runs a test's `after` hooks in the order of their registration; these run in the reverse one. */
export function afterwards(t: Cleanup, undo: () => unknown): void {
  const undos = pending.get(t)
  if (undos) {
    undos.push(undo)
    return
  }
  const first = [undo]
  pending.set(t, first)
  t.after(async () => {
    pending.delete(t)
    const errors: unknown[] = []
    for (const step of first.reverse()) {
      try {
        await step()
      } catch (error) {
        errors.push(error)
      }
    }
    if (errors.length > 1) throw new AggregateError(errors, 'several steps of the clean-up failed')
    if (errors.length === 1) throw errors[0]
  })
}
