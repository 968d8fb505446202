// PostgreSQL's own programs for dumps. They are not in the package with the server: those of the machine are used, with a
// server that they know.
import { spawnSync } from 'node:child_process'
import { binariesOf, otherMajorVersions } from '../../stack/postgres-versions.ts'
import { StackProblem } from '../../stack/problem.ts'

export interface DumpPrograms {
  /** Of a server that they can dump; undefined: of the one that the project depends on. */
  binaries: string | undefined
}

/** @throws StackProblem when there are none for any server that is to be had */
export async function dumpPrograms(): Promise<DumpPrograms> {
  const { stdout } = spawnSync('pg_dump', ['--version'], { encoding: 'utf8' })
  const restores = spawnSync('pg_restore', ['--version']).status === 0
  const major = Number(/\(PostgreSQL\) (\d+)/.exec(stdout ?? '')?.[1])
  if (Number.isNaN(major) || !restores) throw new StackProblem('this machine has no pg_dump and pg_restore')
  const newest = Math.max(...otherMajorVersions)
  return { binaries: major > newest ? undefined : await binariesOf(major) }
}

/** pg_dump and pg_restore, into a database that is empty. @throws Error with what either of them said */
export function dumpInto(fromUrl: string, intoUrl: string, file: string): void {
  run('pg_dump', ['--format=custom', `--file=${file}`, `--dbname=${fromUrl}`])
  run('pg_restore', ['--exit-on-error', `--dbname=${intoUrl}`, file])
}

function run(program: string, args: string[]): void {
  const { status, stderr, error } = spawnSync(program, args, { encoding: 'utf8' })
  if (status !== 0 || stderr !== '') throw new Error(`${program}: ${error?.message ?? stderr}`)
}
