// A command is: parse, call, exit code. Whatever a command throws ends here, as one message with its code.

import { didYouMean } from '../config/suggest.ts'
import { describeError, MillraceError } from '../errors.ts'
import { scrub } from '../secret.ts'
import { version } from '../version.ts'
import type { Command } from './command.ts'
import { commands } from './commands.ts'
import { exitCodeOf, exitCodes } from './exit-codes.ts'
import { helpFor, overview } from './help.ts'

/** @returns the exit code */
export async function main(args: string[], env: NodeJS.ProcessEnv): Promise<number> {
  process.stdout.on('error', () => process.exit(exitCodes.failed)) // the reader went away: `| head`
  try {
    return await dispatch(args, env)
  } catch (error) {
    process.stderr.write(scrub(report(error)))
    return exitCodeOf(error)
  }
}

async function dispatch([first, ...rest]: string[], env: NodeJS.ProcessEnv): Promise<number> {
  if (first === undefined) {
    process.stderr.write(overview())
    return exitCodes.usage
  }
  if (['version', '--version', '-V'].includes(first)) return print(`millrace ${version}\n`)
  if (['help', '--help', '-h'].includes(first)) {
    return print(rest[0] === undefined ? overview() : helpFor(find(rest[0])))
  }
  const command = find(first)
  return rest.some((arg) => arg === '--help' || arg === '-h')
    ? print(helpFor(command))
    : command.run(rest, env)
}

function find(name: string): Command {
  if (Object.hasOwn(commands, name)) return commands[name as keyof typeof commands]
  const names = [...Object.keys(commands), 'help', 'version']
  const what = /^-/.test(name) ? 'option' : 'command'
  throw new MillraceError('usage', { reason: `no ${what} ${name.split('=')[0]}${didYouMean(name, names)}` })
}

function print(text: string): number {
  process.stdout.write(text)
  return exitCodes.ok
}

function report(error: unknown): string {
  const { code, message, hint, stack } = describeError(error)
  if (hint === undefined || code === 'internal') return `millrace: internal: ${stack ?? message}\n`
  return `millrace: ${code}: ${message}\nhint: ${hint}\n`
}
