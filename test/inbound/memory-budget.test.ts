// Nobody holds more than the budget by reserving, everybody gets a turn in order, and nobody waits for ever.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MemoryBudget, smallestReservation } from '../../src/inbound/memory-budget.ts'

const never = new AbortController().signal

test('reservations are served in order, within the limit, to the last (property)', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 150 }), { minLength: 1, maxLength: 30 }),
      fc.scheduler(),
      async (sizes, scheduler) => {
        const budget = new MemoryBudget(100)
        const account = budget.account()
        const served: number[] = []
        const users = sizes.map(async (bytes, index) => {
          await account.reserve(bytes, never)
          served.push(index)
          assert.ok(budget.used <= 100 || budget.used === bytes, 'only a single large one exceeds the limit')
          await scheduler.schedule(Promise.resolve())
          account.release(bytes)
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
  const account = budget.account()
  await account.reserve(80, never)
  const impatient = new AbortController()
  const first = account.reserve(50, impatient.signal)
  const second = account.reserve(20, never)
  impatient.abort()
  await assert.rejects(first, { name: 'AbortError' })
  await second
  assert.equal(budget.used, 100)
})

test('what turned out larger makes the next one wait longer', async () => {
  const budget = new MemoryBudget(100)
  const account = budget.account()
  await account.reserve(10, never)
  account.add(95)
  let served = false
  const next = account.reserve(10, never).then(() => (served = true))
  await Promise.resolve()
  assert.equal(served, false)
  account.release(95)
  await next
  assert.equal(budget.used, 20)
})

test('one who is served and gives up in the same turn takes nobody else along', async () => {
  const budget = new MemoryBudget(10)
  const account = budget.account()
  const patient = new AbortController()
  const hasty = new AbortController()
  await account.reserve(10, patient.signal)
  const first = account.reserve(10, hasty.signal)
  const second = account.reserve(10, patient.signal)
  account.release(10)
  hasty.abort()
  await first
  account.release(10)
  await second
})

test('who holds nothing gets a little at once, whatever the others hold', async () => {
  const budget = new MemoryBudget(1_000_000)
  const stuck = budget.account()
  await stuck.reserve(1_000_000, never)
  const waiting = stuck.reserve(10, never)
  const other = budget.account()
  assert.equal(await other.reserve(500_000, never), smallestReservation)
  let served = false
  const more = other.reserve(500_000, never).then((granted) => {
    served = true
    return granted
  })
  await Promise.resolve()
  assert.equal(served, false, 'it holds something now')
  other.release(smallestReservation)
  assert.equal(await more, smallestReservation)
  stuck.release(1_000_000)
  assert.equal(await waiting, 10)
  assert.equal(budget.used, smallestReservation + 10)
})

test('many accounts hold no more than the limit and a little each (property)', async () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 400_000 }), { minLength: 1, maxLength: 10 })
  await fc.assert(
    fc.asyncProperty(
      fc.array(sizes, { minLength: 1, maxLength: 6 }),
      fc.scheduler(),
      async (streams, scheduler) => {
        const budget = new MemoryBudget(500_000)
        const bound = 500_000 + streams.length * smallestReservation
        const users = streams.map(async (sizes) => {
          const account = budget.account()
          for (const bytes of sizes) {
            const granted = await account.reserve(bytes, never)
            assert.ok(granted > 0 && granted <= bytes)
            assert.ok(budget.used <= bound, `${budget.used} of ${bound}`)
            await scheduler.schedule(Promise.resolve())
            account.release(granted)
          }
        })
        await scheduler.waitFor(Promise.all(users))
        assert.equal(budget.used, 0)
      },
    ),
  )
})
