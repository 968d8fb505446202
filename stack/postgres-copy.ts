// A copy of a running server's data, as a base backup takes it: consistent once the copy has recovered. What it then
// is (a clone, a standby, a server restored to an earlier point) is up to whoever starts it.
import { spawnSync } from 'node:child_process'
import { chown, mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { temporaryFolder } from './folder.ts'
import type { PostgresServer } from './postgres.ts'
import { unprivilegedIdentity } from './unprivileged.ts'

/** @returns a new temporary folder with the data directory `data` in it */
export async function copyData(server: PostgresServer): Promise<string> {
  const identity = unprivilegedIdentity()
  const folder = await temporaryFolder('postgres-copy', identity)
  const data = join(folder, 'data')
  await mkdir(data, { mode: 0o700 })
  const client = new pg.Client({ connectionString: server.url })
  await client.connect()
  try {
    await client.query("SELECT pg_backup_start('copy', true)")
    const wal = ['pg_wal', 'postmaster.pid', 'postmaster.opts']
    const entries = (await readdir(server.dataDirectory)).filter((entry) => !wal.includes(entry))
    copy(entries, server.dataDirectory, data)
    const { rows } = await client.query<{ labelfile: string }>(
      'SELECT labelfile FROM pg_backup_stop(wait_for_archive => false)',
    )
    copy(['pg_wal'], server.dataDirectory, data)
    await place(data, 'backup_label', rows[0]!.labelfile)
    if (identity) await chown(data, identity.uid, identity.gid)
    return folder
  } finally {
    await client.end()
  }
}

/** Writes a file that the server can read into a data directory, such as `standby.signal`. */
export async function place(data: string, name: string, text = ''): Promise<void> {
  const identity = unprivilegedIdentity()
  await writeFile(join(data, name), text)
  if (identity) await chown(join(data, name), identity.uid, identity.gid)
}

/** With owners and rights. A file that goes while it is copied is no part of the backup. */
function copy(entries: string[], from: string, to: string): void {
  const { status, stderr } = spawnSync('cp', ['-a', ...entries.map((entry) => join(from, entry)), to], {
    encoding: 'utf8',
  })
  const trouble = stderr
    .split('\n')
    .filter((line) => line !== '' && !line.includes('No such file or directory'))
  if (status !== 0 && trouble.length > 0) throw new Error(`cp: ${trouble[0]}`)
}
