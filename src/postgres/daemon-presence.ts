// Whoever waits for something that the daemon does waits as long as a daemon is there, and a restart of it longer.

import { setTimeout } from 'node:timers/promises'
import type pg from 'pg'
import { MillraceError } from '../errors.ts'

/** Milliseconds between two looks. */
const interval = 200

/** Milliseconds without any daemon after which nobody waits on: a restart takes less. */
const patience = 20_000

export async function isDaemonConnected(client: pg.ClientBase): Promise<boolean> {
  const { rows } = await client.query<{ connected: boolean }>(
    'SELECT millrace.daemon_connected() AS connected',
  )
  return rows[0]?.connected ?? false
}

/** @param consequence for whoever asked */
export function noDaemon(consequence: string): MillraceError {
  return new MillraceError('no-daemon', { reason: `no daemon is connected to this database; ${consequence}` })
}

/**
 * @param look tells whether it is over  @param consequence of there being no daemon
 * @throws MillraceError no-daemon
 */
export async function lookUntilOver(
  client: pg.ClientBase,
  look: () => Promise<boolean>,
  consequence: string,
): Promise<void> {
  let seen = performance.now()
  while (!(await look())) {
    if (await isDaemonConnected(client)) seen = performance.now()
    if (performance.now() - seen > patience) throw noDaemon(consequence)
    await setTimeout(interval)
  }
}
