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
import { type Column, plain, table } from './table.ts'

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
    for (const line of linesOf(found)) print(line)
    const connected = await isDaemonConnected(client)
    if (!connected && found.some(isOpen)) print('\nNo daemon is connected to this database.')
    const worry = found.some((one) => one.state === 'failing' || (isOpen(one) && !connected))
    return worry ? exitCodes.failed : exitCodes.ok
  })
}

const columns: readonly Column[] = [
  { title: 'ID', align: 'right' },
  { title: 'TABLE', align: 'left' },
  { title: 'STATE', align: 'left' },
  { title: 'ROWS', align: 'right' },
  { title: 'BLOCKS', align: 'right' },
  { title: 'OF', align: 'right' },
]

function linesOf(found: SnapshotStatus[]): string[] {
  if (found.length === 0) return ['No snapshots.']
  return [
    ...table(
      columns,
      found.map(({ id, relation, state, rows, blocksDone, blocks }) => [
        ...[id, relation, state, rows, blocksDone, blocks],
      ]),
    ),
    ...found.flatMap((one) => {
      const remark = remarkOn(one)
      return remark === '' ? [] : ['', plain(`${one.relation}: ${remark}`)]
    }),
  ]
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

function remarkOn({ waitsFor, errorCode, errorMessage }: SnapshotStatus): string {
  if (errorCode !== null) return `${errorCode}: ${errorMessage}`
  return waitsFor === null ? '' : `waits for ${waitsFor}`
}
