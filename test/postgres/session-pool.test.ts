// Who has half of the sessions leaves one for the others: code of an owner's may keep what it has for ever.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Session } from '../../src/postgres/session.ts'
import { SessionPool } from '../../src/postgres/session-pool.ts'

function poolOf(limit: number): SessionPool {
  return new SessionPool(async () => ({ lost: null, close() {} }) as unknown as Session, limit)
}

async function settled<T>(promise: Promise<T>): Promise<T | null> {
  const later = new Promise<null>((resolve) => setImmediate(() => setImmediate(() => resolve(null))))
  return Promise.race([promise, later])
}

test('one owner does not get all of them, another one gets the last', async () => {
  const pool = poolOf(4)
  const alices = await Promise.all([1, 2, 3].map(() => pool.acquire({}, 'alice')))
  const fourth = pool.acquire({}, 'alice')
  assert.equal(await settled(fourth), null)
  const bobs = await settled(pool.acquire({}, 'bob'))
  assert.ok(bobs)
  // a second one of bob's comes before alice's, which was asked for earlier
  const second = pool.acquire({}, 'bob')
  pool.release(alices[0] as Session)
  assert.ok(await settled(second))
  pool.release(bobs)
  assert.equal(await settled(fourth), null, 'it would be the last one')
  pool.release(alices[1] as Session)
  assert.ok(await settled(fourth))
})

test('trusted roles take all there is', async () => {
  const pool = poolOf(3)
  const all = await Promise.all([1, 2, 3].map(() => settled(pool.acquire({}))))
  assert.ok(all.every((session) => session !== null))
  assert.equal(await settled(pool.acquire({})), null)
})

test('with a single session everybody takes turns', async () => {
  const pool = poolOf(1)
  const first = await pool.acquire({}, 'alice')
  const second = pool.acquire({}, 'bob')
  assert.equal(await settled(second), null)
  pool.release(first)
  assert.ok(await settled(second))
})
