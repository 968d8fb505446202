// Nobody holds more than the budget by reserving, everybody gets a turn in order, and nobody waits for ever.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MemoryBudget } from '../../src/inbound/memory-budget.ts'

const never = new AbortController().signal

test('reservations are served in order, within the limit, to the last (property)', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 150 }), { minLength: 1, maxLength: 30 }),
      fc.scheduler(),
      async (sizes, scheduler) => {
        const budget = new MemoryBudget(100)
        const served: number[] = []
        const users = sizes.map(async (bytes, index) => {
          await budget.reserve(bytes, never)
          served.push(index)
          assert.ok(budget.used <= 100 || budget.used === bytes, 'only a single large one exceeds the limit')
          await scheduler.schedule(Promise.resolve())
          budget.release(bytes)
        })
        await scheduler.waitFor(Promise.all(users))
        assert.deepEqual(
          served,
          sizes.map((_, index) => index),
        )
        assert.equal(budget.used, 0)
      },
    ),
  )
})

test('who gives up waiting lets the next one pass and holds nothing', async () => {
  const budget = new MemoryBudget(100)
  await budget.reserve(80, never)
  const impatient = new AbortController()
  const first = budget.reserve(50, impatient.signal)
  const second = budget.reserve(20, never)
  impatient.abort()
  await assert.rejects(first, { name: 'AbortError' })
  await second
  assert.equal(budget.used, 100)
})

test('what turned out larger makes the next one wait longer', async () => {
  const budget = new MemoryBudget(100)
  await budget.reserve(10, never)
  budget.add(95)
  let served = false
  const next = budget.reserve(10, never).then(() => (served = true))
  await Promise.resolve()
  assert.equal(served, false)
  budget.release(95)
  await next
  assert.equal(budget.used, 20)
})

test('one who is served and gives up in the same turn takes nobody else along', async () => {
  const budget = new MemoryBudget(10)
  const patient = new AbortController()
  const hasty = new AbortController()
  await budget.reserve(10, patient.signal)
  const first = budget.reserve(10, hasty.signal)
  const second = budget.reserve(10, patient.signal)
  budget.release(10)
  hasty.abort()
  await first
  budget.release(10)
  await second
})
