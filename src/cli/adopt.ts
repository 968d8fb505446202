// A database that is not the one it was stays idle until a person says which it is. Without an option nothing is
// changed: the command says what differs.

import { MillraceError } from '../errors.ts'
import { type Adoption, adopt as adoptDatabase, readDifference } from '../postgres/adoption.ts'
import { parseOptions } from './command.ts'
import { commands } from './commands.ts'
import { print, withDatabase } from './database-command.ts'
import { exitCodes } from './exit-codes.ts'

export async function adopt(args: string[], env: NodeJS.ProcessEnv): Promise<number> {
  const options = parseOptions(commands.adopt, args)
  const [moved, clone] = [options.has('moved'), options.has('clone')]
  if (moved && clone) throw new MillraceError('usage', { reason: 'adopt: either --moved or --clone' })
  if (options.has('keep-running') && !clone) {
    throw new MillraceError('usage', { reason: 'adopt: --keep-running goes with --clone' })
  }
  await withDatabase('adopt', options, env, async (client) => {
    if (moved || clone) {
      const adoption = await adoptDatabase(client, { clone, keepRunning: options.has('keep-running') })
      for (const line of describe(adoption)) print(line)
      return
    }
    const difference = await readDifference(client)
    if (difference !== null) throw new MillraceError('identity-changed', { reason: difference })
    print('this is the database that was recorded: nothing to adopt')
  })
  return exitCodes.ok
}

function describe(adoption: Adoption): string[] {
  const { clone, keptRunning, difference, installation, stopped, discarded, ownGroups } = adoption
  if (!clone) return [difference === null ? 'nothing had changed' : `adopted as the original: ${difference}`]
  const lines = [`adopted as a clone, installation ${installation}`]
  if (difference !== null) lines.push(difference)
  lines.push(
    keptRunning
      ? 'its consumers go on from the positions stored in it'
      : `consumers stopped: ${stopped}; begin those again that this copy should read`,
  )
  if (discarded > 0) lines.push(`messages of the outbox that are the original's to send: ${discarded}`)
  for (const { topic, group } of ownGroups) {
    lines.push(`note: the consumer of topic ${topic} has the group_id ${group}, as the original has`)
  }
  return lines
}
