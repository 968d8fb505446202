// What follows from an error of PostgreSQL's: the error policy by its SQLSTATE, and the one case in which that does not tell.

import { type Verdict, verdictOf } from '../pipeline/error-policy.ts'
import { sqlstateOf } from '../postgres/sqlstate.ts'

/** Where the server finds that a row violates a policy of row-level security: 42501, as for a missing right. */
const rowSecurity = 'ExecWithCheckOptions'

export function verdictOn(error: unknown): Verdict {
  const sqlstate = sqlstateOf(error)
  if (sqlstate === '42501' && (error as { routine?: string }).routine === rowSecurity) return 'message'
  return verdictOf(sqlstate)
}
