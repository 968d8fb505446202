// Snapshots are written by the daemon; here somebody looks how far they are, or watches until they are done.

import { MillraceError } from '../errors.ts'
import { isDaemonConnected } from '../postgres/daemon-presence.ts'
import { checkSchema } from '../postgres/schema.ts'
import { followSnapshots, isOpen, readSnapshots, type SnapshotStatus } from '../postgres/snapshot.ts'
import { parseOptions } from './command.ts'
import { commands } from './commands.ts'
import { print, withDatabase } from './database-command.ts'
import { exitCodes } from './exit-codes.ts'
import { Progress } from './progress.ts'
import { remarkOn, snapshotLines } from './snapshot-report.ts'

export async function snapshots(args: string[], env: NodeJS.ProcessEnv): Promise<number> {
  const options = parseOptions(commands.snapshots, args)
  if (options.values('id').some((id) => !/^[0-9]{1,18}$/.test(id)))
    throw new MillraceError('usage', { reason: 'snapshots: --id takes a number' })
  const ids = options.has('id') ? options.values('id') : null
  return withDatabase('snapshots', options, env, async (client) => {
    await checkSchema(client)
    if (options.has('wait')) {
      const progress = new Progress(process.stdout)
      await followSnapshots(client, ids, (followed) => showProgress(progress, followed)).finally(() =>
        progress.end(),
      )
    }
    const found = await readSnapshots(client, ids)
    const lines = found.length === 0 ? ['No snapshots.'] : snapshotLines(found)
    for (const line of lines) print(line)
    const connected = await isDaemonConnected(client)
    if (!connected && found.some(isOpen)) print('\nNo daemon is connected to this database.')
    const worry = found.some((one) => one.state === 'failing' || (isOpen(one) && !connected))
    return worry ? exitCodes.failed : exitCodes.ok
  })
}

function showProgress(progress: Progress, followed: SnapshotStatus[]): void {
  if (followed.length === 0) return
  const sum = (column: 'blocksDone' | 'blocks' | 'rows') =>
    followed.reduce((total, one) => total + Number(one[column]), 0)
  const remarks = [...new Set(followed.map(remarkOn).filter((remark) => remark !== ''))]
  progress.show(
    sum('blocksDone'),
    sum('blocks'),
    0,
    [`${sum('rows')} rows`, ...remarks.slice(0, 1)].join(', '),
    'blocks',
  )
}
