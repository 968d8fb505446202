// PostgreSQL's own errors carry a severity; by its code alone a socket's EPIPE would pass for a SQLSTATE.

/** @returns undefined for what is not an error of PostgreSQL's */
export function sqlstateOf(error: unknown): string | undefined {
  const { severity, code } = (error ?? {}) as { severity?: string; code?: string }
  return severity === undefined ? undefined : code
}
