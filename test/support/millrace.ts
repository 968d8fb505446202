// Tests run the program that users run, as a process of its own.
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { sharedServersVariable } from './servers.ts'

export const launcher = fileURLToPath(new URL('../../bin/millrace', import.meta.url))

export interface Outcome {
  code: number | null
  stdout: string
  stderr: string
}

/** Only what is given: no DATABASE_URL or MILLRACE_* of whoever runs the tests. */
export function environment(given: Record<string, string | undefined> = {}): NodeJS.ProcessEnv {
  const foreign = /^(MILLRACE_|DATABASE_URL$|PG|NODE_TEST|NODE_OPTIONS$)/
  const inherited = Object.entries(process.env).filter(
    ([name]) => !foreign.test(name) && name !== sharedServersVariable,
  )
  return { ...Object.fromEntries(inherited), ...given }
}

/** Runs a command to its end; throws unless it exits with `expect` (default 0; null: any code will do). */
export async function millrace(
  args: string[],
  options: { env?: Record<string, string | undefined>; expect?: number | null; input?: string } = {},
): Promise<Outcome> {
  const child = spawn(process.execPath, [launcher, ...args], { env: environment(options.env) })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text))
  child.stdin.on('error', () => {})
  child.stdin.end(options.input ?? '')
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  const expected = options.expect === undefined ? 0 : options.expect
  if (expected !== null && code !== expected) {
    throw new Error(`millrace ${args[0]} exited with ${code}, not ${expected}:\n${stdout}${stderr}`)
  }
  return { code, stdout, stderr }
}
