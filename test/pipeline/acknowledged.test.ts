// The position never passes what is not acknowledged, in whatever order that happens.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Acknowledged } from '../../src/pipeline/acknowledged.ts'

function rowOf(xid: bigint, id: bigint): Buffer {
  const bytes = Buffer.alloc(16)
  bytes.writeBigInt64BE(xid, 0)
  bytes.writeBigInt64BE(id, 8)
  return bytes
}

test('the last id is that of the longest beginning that is acknowledged', () => {
  const step = fc.record({ add: fc.boolean(), pick: fc.nat() })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const tracked = new Acknowledged(16)
      const ids: bigint[] = []
      const open = new Set<number>()
      for (const { add, pick } of steps) {
        if (add && tracked.hasRoom) {
          const id = 2n ** 60n + BigInt(ids.length * 3)
          const ticket = tracked.add(rowOf(id * 2n, id), 0, 8, ids.length % 2 === 0)
          assert.equal(ticket, ids.length)
          ids.push(id)
          open.add(ticket)
        } else if (open.size > 0) {
          const ticket = [...open][pick % open.size] as number
          assert.equal(tracked.id(ticket), ids[ticket])
          assert.equal(tracked.xid(ticket), (ids[ticket] as bigint) * 2n)
          assert.equal(tracked.flag(ticket), ticket % 2 === 0)
          tracked.acknowledge(ticket)
          open.delete(ticket)
        }
        const first = open.size === 0 ? ids.length : Math.min(...open)
        assert.equal(tracked.count, first)
        assert.equal(tracked.lastId, first === 0 ? null : ids[first - 1])
      }
    }),
  )
})
