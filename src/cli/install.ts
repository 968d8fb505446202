// Installing may be repeated: each step looks at what is there, does what is missing and says so.

import { MillraceError } from '../errors.ts'
import { installDialect } from '../postgres/dialect.ts'
import { writeExtensionFiles } from '../postgres/extension.ts'
import { daemonRole, type SchemaChange, upgradeSchema } from '../postgres/schema.ts'
import { dialectNames } from '../postgres/sql-folder.ts'
import { parseOptions } from './command.ts'
import { commands } from './commands.ts'
import { print, withDatabase } from './database-command.ts'
import { exitCodes } from './exit-codes.ts'

export async function install(args: string[], env: NodeJS.ProcessEnv): Promise<number> {
  const options = parseOptions(commands.install, args)
  const known = dialectNames()
  const unknown = options.values('dialect').find((name) => !known.includes(name))
  if (unknown !== undefined) {
    throw new MillraceError('usage', {
      reason: `install: no dialect ${unknown}; there are: ${known.join(', ')}`,
    })
  }
  const dialects = options.has('all') ? known : [...new Set(options.values('dialect'))]
  const folder = options.value('extension-dir')

  await withDatabase('install', options, env, async (client) => {
    print(describe(await upgradeSchema(client)))
    for (const name of dialects) print(`dialect ${name}: ${changes[await installDialect(client, name)]}`)
    const { role, superuser } = await daemonRole(client)
    print(`the daemon works as role ${role}${superuser ? superuserNote : ''}`)
  })
  if (folder !== undefined) {
    for (const path of await writeFiles(folder)) print(`wrote ${path}`)
  }
  return exitCodes.ok
}

const changes = {
  installed: 'installed',
  renewed: 'was installed, renewed',
  extension: 'is there as an extension, left as it is',
}

const superuserNote = ', a superuser: in production let a role without that own the schema'

function describe({ from, to }: SchemaChange): string {
  if (from === null) return `schema millrace: installed, version ${to}`
  return from === to
    ? `schema millrace: up to date, version ${to}`
    : `schema millrace: upgraded from version ${from} to ${to}`
}

async function writeFiles(folder: string): Promise<string[]> {
  try {
    return await writeExtensionFiles(folder)
  } catch (cause) {
    throw new MillraceError('extension-files-unwritable', { folder, cause })
  }
}
