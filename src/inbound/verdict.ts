// What follows from an error of PostgreSQL's: the error policy by its SQLSTATE, and the two cases in which that does not tell.

import { type Verdict, verdictOf } from '../pipeline/error-policy.ts'
import { sqlstateOf } from '../postgres/sqlstate.ts'

/** Where the server finds that a row violates a policy of row-level security: 42501, as for a missing right. */
const rowSecurity = 'ExecWithCheckOptions'

export function verdictOn(error: unknown): Verdict {
  const sqlstate = sqlstateOf(error)
  const { routine, where = '' } = (error ?? {}) as { routine?: string; where?: string }
  if (sqlstate === '42501' && routine === rowSecurity) return 'message'
  const isOfValue = sqlstate === syntaxError ? ofValueSomewhere.test(where) : ofValue.test(where)
  return verdictOf(sqlstate, isOfValue ? 'conversion' : 'any')
}

/**
 * COPY was reading a value as its column's type: `COPY relation, line 1, column a: ...`, in whatever language. Without a
 * column it was about the row: defaults, constraints. Functions, as a domain may have, name themselves before.
 */
const ofValue = /^COPY (?:(?!, \S+ \d+).)*, \S+ \d+, /
/** What reads a value as the name of a type, and finds none, names itself, too. */
const ofValueSomewhere = new RegExp(ofValue, 'm')
const syntaxError = '42601'
