// Status tells a person and a script the same: the exit code is 0 only when every consumer runs, is on its way
// to, or was stopped on purpose, no message for Kafka waits for a person, a server or a daemon, and
// every snapshot of a table goes on.

import { readStatus } from '../postgres/status.ts'
import { parseOptions } from './command.ts'
import { commands } from './commands.ts'
import { withDatabase } from './database-command.ts'
import { exitCodes } from './exit-codes.ts'
import { statusJson, statusText } from './status-report.ts'

const worrying = ['failed', 'retrying', 'no-daemon']

export async function status(args: string[], env: NodeJS.ProcessEnv): Promise<number> {
  const options = parseOptions(commands.status, args)
  const found = await withDatabase('status', options, env, readStatus)
  process.stdout.write(options.has('json') ? statusJson(found) : statusText(found))
  const worry =
    found.identityChanged !== null ||
    found.consumers.some(({ state }) => worrying.includes(state)) ||
    found.outbox.some(
      ({ backlog, leaseAge, waitingCode, errorCode }) =>
        waitingCode !== null || errorCode !== null || (leaseAge === null && backlog !== '0'),
    ) ||
    found.snapshots.some(({ state }) => state === 'failing' || !found.daemonConnected)
  return worry ? exitCodes.failed : exitCodes.ok
}
