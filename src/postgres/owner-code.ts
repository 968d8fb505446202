// Code of another role's is called in a function that belongs to that role, SECURITY DEFINER, in the session's own temporary
// schema. Whatever it left behind in the session is undone in the same script, before anything else runs there as the
// daemon; and what is called is compared with how it was made, because code that ran in this session could have altered it.
//
// Why SET ROLE would not do: https://www.postgresql.org/docs/current/sql-set-role.html (code can RESET ROLE; within a
// SECURITY DEFINER function it cannot).

import type { QueryResultRow } from 'pg'
import type { Session } from './session.ts'

/** Something in this session is not as it was made: the session is not used any more. */
export class SessionTampered extends Error {}

/** Something of the owner's would have waited for COMMIT, where it could run as the daemon. */
export class DefersCode extends Error {}

/**
 * Within a transaction, which after an error cannot go on. What is called was compared before.
 * @param owner its oid  @param statement one; its rows are returned  @throws PostgreSQL's error, DefersCode
 */
export async function callOwnersCode<Row extends QueryResultRow>(
  session: Session,
  owner: string | number,
  statement: string,
): Promise<Row[]> {
  const results = await session.scripts(
    `${statement};
     CLOSE ALL;
     ${session.resetScript};
     SELECT message FROM millrace.deferred_code(${owner}::oid)`,
  )
  const [left] = results.at(-1) as { message: string }[]
  if (left) throw new DefersCode(left.message)
  return results[0] as Row[]
}

/** The session is not used any more. @param what was altered  @throws SessionTampered */
export function giveUpTampered(session: Session, what: string): never {
  const tampered = new SessionTampered(`${what} was altered`)
  session.discard(tampered)
  throw tampered
}
