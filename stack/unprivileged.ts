// PostgreSQL refuses to run as root, so root runs it as a user that exists already: no user is created on
// the machine, and what that user cannot read is copied to where it can.
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { StackProblem } from './problem.ts'

export interface Identity {
  uid: number
  gid: number
}

/** The user to run PostgreSQL as; undefined when we are an ordinary user ourselves. */
export function unprivilegedIdentity(): Identity | undefined {
  if (process.getuid?.() !== 0) return undefined
  const users = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
  for (const name of ['postgres', 'nobody']) {
    const user = users.find((fields) => fields[0] === name)
    if (user) return { uid: Number(user[2]), gid: Number(user[3]) }
  }
  throw new StackProblem(
    'PostgreSQL does not run as root: start this as another user, or create the user "nobody"',
  )
}

/** Whether a test of the shell's `test` command, such as ['-r', path], holds for that user. */
export function holdsFor(identity: Identity | undefined, ...test: string[]): boolean {
  return spawnSync('/bin/sh', ['-c', 'test "$@"', 'sh', ...test], { cwd: '/', ...identity }).status === 0
}
