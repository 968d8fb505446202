// The header's value is the installation and the id in decimal, whatever the id before it was.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MessageId } from '../../src/outbound/message-id.ts'

const ids = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }),
  fc.bigInt({ min: 0n, max: 2n ** 53n + 5n }),
  fc.bigInt({ min: 0n, max: 2n ** 31n }),
  fc.nat({ max: 18 }).chain((digits) => fc.constantFrom(10n ** BigInt(digits) - 1n, 10n ** BigInt(digits))),
  fc.constantFrom(2n ** 53n - 1n, 2n ** 53n, 2n ** 32n - 1n, 2n ** 32n),
)

test('an id is written as PostgreSQL prints it', () => {
  fc.assert(
    fc.property(fc.array(ids, { minLength: 1, maxLength: 20 }), (many) => {
      const text = new MessageId('a1b2')
      const bytes = Buffer.alloc(12)
      for (const id of many) {
        bytes.writeBigInt64BE(id, 3)
        assert.equal(text.of(bytes, 3).toString(), `a1b2:${id}`)
      }
    }),
    { numRuns: 500 },
  )
})
