// What works with a session cannot work through a pooler that hands every transaction to another one: LISTEN hears
// nothing, temporary tables and settings end up with strangers. Such a pooler is found before anything is set in a
// session. A pool in session mode is as good as the server itself.

import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { identifier } from './literal.ts'

/** Milliseconds that a notification may take, of which only a pooler that never passes it on uses all. */
const patience = 2000

/** Verdicts by URL: a second connection for each new one would ask too much of a small pool. */
const known = new Map<string, Promise<boolean>>()

/** Whether this connection is one session of the server's, whatever is in between. */
export async function isSession(client: pg.Client, config: pg.ClientConfig): Promise<boolean> {
  const { rows } = await client.query<{ pid: number }>('SELECT pg_catalog.pg_backend_pid() AS pid')
  // a pooler announces a process of its own making, because the real one changes
  const announced = (client as unknown as { processID: number | null }).processID
  if (announced === rows[0]?.pid) return true
  const key = config.connectionString ?? ''
  const asked = known.get(key) ?? hears(client, config)
  known.set(key, asked)
  // an error is no verdict
  return asked.catch((error) => {
    known.delete(key)
    throw error
  })
}

/** Whether what another session sends arrives here. */
async function hears(client: pg.Client, config: pg.ClientConfig): Promise<boolean> {
  const channel = `millrace ${randomUUID()}`
  const heard = Promise.withResolvers<boolean>()
  client.on('notification', (notification) => {
    if (notification.channel === channel) heard.resolve(true)
  })
  await client.query(`LISTEN ${identifier(channel)}`)
  const other = new pg.Client({ ...config, query_timeout: patience })
  other.on('error', () => {})
  let timer: NodeJS.Timeout | undefined
  try {
    await other.connect()
    await other.query(`NOTIFY ${identifier(channel)}`)
    timer = setTimeout(() => heard.resolve(false), patience)
    return await heard.promise
  } finally {
    clearTimeout(timer)
    void other.end().catch(() => {})
    await client.query(`UNLISTEN ${identifier(channel)}`)
  }
}
