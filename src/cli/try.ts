// A try loads the last messages of a topic and takes that back; here somebody asks for it and reads what came of it.

import { MillraceError } from '../errors.ts'
import { asking, callTry } from '../postgres/request.ts'
import { type ParsedOptions, parseOptions } from './command.ts'
import { commands } from './commands.ts'
import { print, withDatabase } from './database-command.ts'
import { exitCodes } from './exit-codes.ts'
import { failureLines } from './failure-report.ts'

/** Lists in SQL; separated by commas here. */
const lists: readonly string[] = ['columns', 'key_columns']

const connection: readonly string[] = ['database', 'config', 'messages']

export async function tryLoad(args: string[], env: NodeJS.ProcessEnv): Promise<number> {
  // as they are written in SQL, too
  const dashed = args.map((arg) => arg.replace(/^--[a-z_]+/, (name) => name.replaceAll('_', '-')))
  const options = parseOptions(commands.try, dashed)
  const [topic, relation] = options.arguments as [string, string]
  const messages = options.value('messages') ?? '100'
  if (!/^[1-9][0-9]{0,4}$/.test(messages))
    throw new MillraceError('usage', { reason: 'try: --messages takes a number from 1 to 99999' })
  return withDatabase('try', options, env, (client) =>
    asking(client, async () => {
      const named = new Map<string, string | string[]>([
        ['topic', topic],
        ['into', relation],
        ['messages', messages],
      ])
      for (const [name, value] of given(options)) named.set(name, value)
      const { result } = await callTry(client, named)
      const { loaded = 0, failed = 0, skipped = 0, messages: read = 0, reasons = [] } = result ?? {}
      if (read === 0) print(`topic ${topic} has no messages`)
      else
        print(
          `of the last ${read} messages of ${topic}, ${loaded} would be loaded into ${relation}, ${failed} would fail`,
        )
      if (skipped > 0) print(`${skipped} have no value and would be passed over`)
      for (const line of failureLines(reasons, failed)) print(line)
      print('Nothing was kept; sequences may have advanced.')
      return failed === 0 ? exitCodes.ok : exitCodes.failed
    }),
  )
}

function* given(options: ParsedOptions): Generator<[string, string | string[]]> {
  for (const name of Object.keys(commands.try.options)) {
    const value = options.value(name)
    if (value === undefined || connection.includes(name)) continue
    const sqlName = name.replaceAll('-', '_')
    yield [sqlName, lists.includes(sqlName) ? value.split(',').map((part) => part.trim()) : value]
  }
}
