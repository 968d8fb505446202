// What an exit code of any command means, in one place; docs/cli.md is compared with it by a test.

import { type ErrorCode, isMillraceError } from '../errors.ts'

export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  unreachable: 3,
  unsuitable: 4,
} as const

export const exitCodeMeanings: Record<keyof typeof exitCodes, string> = {
  ok: 'Done. `status`: every consumer runs or was stopped on purpose. `run`, `pg2kafka`: stopped as asked.',
  failed:
    'It failed. `status`: a consumer failed or is retrying, consumers, messages or snapshots wait and no daemon is connected, messages wait for a person or a server, a snapshot cannot go on, or the database has to be adopted. `replay`: something was not loaded. `snapshots`: one cannot go on. `try`: something would fail.',
  usage: 'The command line or the configuration is wrong; nothing was done.',
  unreachable: 'PostgreSQL cannot be reached, or does not let this user in.',
  unsuitable:
    'The schema in the database is missing, older or newer, or not for this role; so is a dialect; the database is another one; a pooler is in the way.',
}

const byCode: Partial<Record<ErrorCode, number>> = {
  usage: exitCodes.usage,
  'config-invalid': exitCodes.usage,
  'database-unreachable': exitCodes.unreachable,
  'database-refused': exitCodes.unsuitable,
  'schema-missing': exitCodes.unsuitable,
  'schema-older': exitCodes.unsuitable,
  'schema-newer': exitCodes.unsuitable,
  'schema-taken': exitCodes.unsuitable,
  'dialect-missing': exitCodes.unsuitable,
  'dialect-name-taken': exitCodes.unsuitable,
  'not-daemon-role': exitCodes.unsuitable,
  'identity-changed': exitCodes.unsuitable,
  'pooler-transaction-mode': exitCodes.unsuitable,
}

export function exitCodeOf(error: unknown): number {
  return (isMillraceError(error) ? byCode[error.code] : undefined) ?? exitCodes.failed
}

/** What a shell reports of a process that a signal ended: 130 for SIGINT, 143 for SIGTERM. */
export function exitCodeOfSignal(signalNumber: number): number {
  return 128 + signalNumber
}
