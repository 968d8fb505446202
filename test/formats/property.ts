// A property that fails prints the seed and the smallest counterexample; PROPERTY_SEED and PROPERTY_RUNS repeat it and
// look further.
import fc from 'fast-check'

export async function holds(property: fc.IRawProperty<unknown>, runs: number): Promise<void> {
  const { PROPERTY_SEED: seed, PROPERTY_RUNS: times } = process.env
  await fc.assert(property as fc.IAsyncProperty<unknown>, {
    numRuns: runs * Number(times ?? 1),
    ...(seed ? { seed: Number(seed) } : {}),
  })
}
