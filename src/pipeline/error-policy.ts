// One table says what happens after an error of PostgreSQL, by the class of its SQLSTATE (the first two
// characters) or by the whole code where one differs from its class. Nothing else in the daemon decides it.
//
// https://www.postgresql.org/docs/current/errcodes-appendix.html

/**
 * `message`: this message cannot be loaded, its neighbours can; `retry`: nothing is wrong with the message, the
 * same may succeed later; `person`: no message of this consumer can be loaded until somebody changes something.
 */
export type Verdict = 'message' | 'retry' | 'person'

const byClass: Record<string, Verdict> = {
  '08': 'retry', // connection exception
  '09': 'message', // triggered action exception
  '20': 'message', // case not found, in a trigger
  '21': 'message', // cardinality violation
  '22': 'message', // data exception
  '23': 'message', // integrity constraint violation
  '25': 'retry', // invalid transaction state; read-only after a failover
  '26': 'retry', // prepared statement lost, by a pooler
  '27': 'message', // triggered data change violation
  '28': 'retry', // authorization at connect: credentials may be rotating
  '38': 'message', // external routine exception
  '39': 'message', // external routine invocation exception
  '40': 'retry', // rollback, deadlock, serialization failure
  '44': 'message', // WITH CHECK OPTION violation
  '53': 'retry', // insufficient resources: disk full, too many connections
  '54': 'message', // program limit exceeded: a row too large for its index
  '55': 'retry', // object in use, lock not available
  '57': 'retry', // shutdown, cancel, statement_timeout
  '58': 'retry', // system error: I/O
  P0: 'message', // raised by PL/pgSQL, a trigger refusing a row
  XX: 'retry', // internal error; damaged data too: loud, and never somebody's message
}

const byCode: Record<string, Verdict> = {
  '22P04': 'message', // bad COPY file format
  '42804': 'message', // datatype mismatch, from a conversion inside a trigger
  '55000': 'person', // not in prerequisite state: e.g. a partition is being detached
}

/**
 * While a value is read as its column's type nothing is looked up but what the value itself names: a relation, a role, a
 * function (regclass and its like).
 */
const byClassConverting: Record<string, Verdict> = {
  ...byClass,
  '0A': 'message', // feature not supported: a name with another database's
  '3D': 'message', // no such database
  '3F': 'message', // no such schema
  '42': 'message', // no such relation, role, function; not allowed to look; ambiguous; no name at all
}

/** What PostgreSQL was at: reading a value as its column's type, or anything else. */
export type Step = 'conversion' | 'any'

const classesOf: Record<Step, Record<string, Verdict>> = { any: byClass, conversion: byClassConverting }

/** @param sqlstate five characters, or undefined when the error is not one of PostgreSQL's */
export function verdictOf(sqlstate: string | undefined, step: Step = 'any'): Verdict {
  if (sqlstate === undefined) return 'retry'
  return byCode[sqlstate] ?? classesOf[step][sqlstate.slice(0, 2)] ?? 'person'
}

/** The same decision in SQL, for loops inside the server: whether the SQLSTATE in `expression` is `message`. */
export function messageClauses(expression: string, step: Step = 'any'): string {
  const codes = (verdict: (found: Verdict) => boolean) =>
    Object.entries(byCode).flatMap(([code, found]) => (verdict(found) ? [`'${code}'`] : []))
  const classes = Object.entries(classesOf[step]).flatMap(([name, found]) =>
    found === 'message' ? [`'${name}'`] : [],
  )
  const yes = codes((found) => found === 'message')
  const no = codes((found) => found !== 'message')
  return (
    `(pg_catalog.left(${expression}, 2) IN (${classes.join(', ')}) AND ${expression} NOT IN (${no.join(', ')}))` +
    ` OR ${expression} IN (${yes.join(', ')})`
  )
}
