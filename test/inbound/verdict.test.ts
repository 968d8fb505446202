// F07 What only a conversion may say of a message is taken from nothing else: a relation that is gone is a person's affair.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { verdictOn } from '../../src/inbound/verdict.ts'

const errorAt = (code: string, where?: string, routine?: string) =>
  Object.assign(new Error('refused'), { severity: 'ERROR', code, where, routine })

const cases: [what: string, error: Error, verdict: string][] = [
  ['no context', errorAt('42P01'), 'person'],
  ['a column of COPY', errorAt('42P01', 'COPY t, line 1, column a: "nope"'), 'message'],
  ['the same in German', errorAt('42P01', 'COPY t, Zeile 12, Spalte a: »nope«'), 'message'],
  ['a NULL', errorAt('42P01', 'COPY t, line 1, column a: null input'), 'message'],
  ['a row of COPY', errorAt('42501', 'COPY t, line 1: "1"'), 'person'],
  ['a row that looks like a column', errorAt('42501', 'COPY t, line 1: "a, line 1, column x: y"'), 'person'],
  ['a row in French', errorAt('42501', 'COPY t, ligne 1 : « a, line 1, column x: y »'), 'person'],
  [
    'a trigger',
    errorAt('42P01', 'PL/pgSQL function f() line 1 at SQL statement\nCOPY t, line 1: "1"'),
    'person',
  ],
  [
    'a check of a domain',
    errorAt('42P01', 'SQL function "f" statement 1\nCOPY t, line 1, column a: "1"'),
    'person',
  ],
  [
    'the name of a type',
    errorAt('42601', 'invalid type name "int("\nCOPY t, line 1, column a: "int("'),
    'message',
  ],
  ['the COPY itself', errorAt('42601'), 'person'],
  ['a policy', errorAt('42501', 'COPY t, line 1: "1"', 'ExecWithCheckOptions'), 'message'],
  ['no error of PostgreSQL', Object.assign(new Error('lost'), { code: '42P01' }), 'retry'],
]

for (const [what, error, verdict] of cases) {
  test(`${what}: ${verdict}`, () => assert.equal(verdictOn(error), verdict))
}
