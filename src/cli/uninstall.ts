// Uninstalling removes what installing made and nothing else: tables of users stay with their rows, and where
// something of theirs depends on the schema nothing is removed at all.

import { removeDialects } from '../postgres/dialect.ts'
import { changing, refuseNewer, removeSchema } from '../postgres/schema.ts'
import { parseOptions } from './command.ts'
import { commands } from './commands.ts'
import { print, withDatabase } from './database-command.ts'
import { exitCodes } from './exit-codes.ts'

export async function uninstall(args: string[], env: NodeJS.ProcessEnv): Promise<number> {
  const options = parseOptions(commands.uninstall, args)
  return withDatabase('uninstall', options, env, async (client) => {
    const removed = await changing(client, async ({ owner, version }) => {
      if (version === null || owner === null) return null
      refuseNewer(version)
      const counts = await client.query<{
        daemon: boolean
        adminRole: boolean
        consumers: number
        brokers: number
      }>(
        `SELECT millrace.daemon_connected() AS daemon,
                EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'millrace_admin') AS "adminRole",
                (SELECT pg_catalog.count(*) FROM millrace.consumer)::integer AS consumers,
                (SELECT pg_catalog.count(*) FROM millrace.broker)::integer AS brokers`,
      )
      const dialects = await removeDialects(client, owner)
      return { ...counts.rows[0]!, dialects, ...(await removeSchema(client, owner)) }
    })
    if (removed === null) {
      print('schema millrace: not in this database, nothing to remove')
      return exitCodes.ok
    }
    for (const { name, how, keptSchema } of removed.dialects) {
      print(`dialect ${name}: removed${how === 'extension' ? ' (it was an extension)' : ''}`)
      if (keptSchema !== null) print(`schema ${keptSchema}: kept, it holds objects of yours`)
    }
    print(`schema millrace: removed (consumers: ${removed.consumers}, brokers: ${removed.brokers})`)
    if (removed.kept) print('schema millrace: kept, it holds objects of yours')
    if (removed.adminRole) print('role millrace_admin: kept, it belongs to the whole server')
    if (removed.daemon)
      print('a daemon is connected to this database: stop it, it has nothing to do any more')
    return exitCodes.ok
  })
}
