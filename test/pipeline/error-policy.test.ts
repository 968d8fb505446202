// What happens after an error of PostgreSQL: its message, a later try, or a person. F07 What may pass by itself is
// never held against a message.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Verdict, verdictOf } from '../../src/pipeline/error-policy.ts'

const cases: Record<Verdict, [sqlstate: string, meaning: string][]> = {
  message: [
    ['22P02', 'invalid text representation'],
    ['22P04', 'bad COPY file format'],
    ['22021', 'character not in repertoire'],
    ['22003', 'numeric value out of range'],
    ['23502', 'not-null violation'],
    ['23503', 'foreign-key violation'],
    ['23505', 'unique violation'],
    ['23514', 'check violation; no partition for the row'],
    ['23P01', 'exclusion violation'],
    ['44000', 'WITH CHECK OPTION violation'],
    ['54000', 'index row size'],
    ['P0001', 'RAISE EXCEPTION in a trigger'],
    ['21000', 'cardinality violation'],
  ],
  retry: [
    ['08006', 'connection failure'],
    ['25006', 'read-only transaction'],
    ['40001', 'serialization failure'],
    ['40P01', 'deadlock'],
    ['53100', 'disk full'],
    ['53200', 'out of memory'],
    ['53300', 'too many connections'],
    ['55P03', 'lock not available'],
    ['57014', 'query cancelled'],
    ['57P01', 'terminated by an administrator'],
    ['57P03', 'cannot connect now'],
    ['58030', 'I/O error'],
    ['XX000', 'internal error'],
    ['28P01', 'wrong password, at a new connection'],
  ],
  person: [
    ['42P01', 'no such relation'],
    ['42703', 'no such column'],
    ['42501', 'permission denied'],
    ['0A000', 'feature not supported'],
    ['3F000', 'no such schema'],
    ['55000', 'object not in prerequisite state'],
  ],
}

for (const [verdict, errors] of Object.entries(cases)) {
  for (const [sqlstate, meaning] of errors) {
    test(`F07 ${sqlstate} (${meaning}): ${verdict}`, () => assert.equal(verdictOf(sqlstate), verdict))
  }
}

const converting: [sqlstate: string, meaning: string, verdict: Verdict][] = [
  ['42P01', 'regclass: no such relation', 'message'],
  ['42704', 'regtype: no such type', 'message'],
  ['42501', 'regclass: in a schema that is not open to the role', 'message'],
  ['3F000', 'regnamespace: no such schema', 'message'],
  ['3D000', 'regdatabase: no such database', 'message'],
  ['0A000', 'regclass: of another database', 'message'],
  ['22P02', 'invalid text representation', 'message'],
  ['53200', 'out of memory', 'retry'],
  ['57014', 'query cancelled', 'retry'],
  ['XX000', 'internal error', 'retry'],
  ['55000', 'object not in prerequisite state', 'person'],
  ['F0000', 'configuration file', 'person'],
]

for (const [sqlstate, meaning, verdict] of converting) {
  test(`F07 ${sqlstate} (${meaning}) while a value is converted: ${verdict}`, () => {
    assert.equal(verdictOf(sqlstate, 'conversion'), verdict)
  })
}

test('an error that is not of PostgreSQL may pass', () => assert.equal(verdictOf(undefined), 'retry'))

test('every code has a verdict (property)', () => {
  const character = fc.constantFrom(...'0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ')
  fc.assert(
    fc.property(fc.string({ unit: character, minLength: 5, maxLength: 5 }), (sqlstate) => {
      assert.ok(['message', 'retry', 'person'].includes(verdictOf(sqlstate)))
    }),
  )
})
