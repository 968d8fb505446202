// What becomes of a server in production: it is cloned, followed by a standby, restored to an earlier point.
import { join } from 'node:path'
import { removeFolder, temporaryFolder } from '../../stack/folder.ts'
import type { PostgresServer } from '../../stack/postgres.ts'
import { copyData, place } from '../../stack/postgres-copy.ts'
import { unprivilegedIdentity } from '../../stack/unprivileged.ts'
import { afterwards, type Cleanup } from './cleanup.ts'
import { postgresFor } from './servers.ts'

export interface Backup {
  folder: string
}

/** A base backup of a running server, removed after the test. */
export async function backupOf(t: Cleanup, server: PostgresServer): Promise<Backup> {
  const folder = await copyData(server)
  afterwards(t, () => removeFolder(folder))
  return { folder }
}

/** Starts what was backed up. `as`: a clone on the same timeline, a standby, or restored up to a named point. */
export async function startBackup(
  t: Cleanup,
  { folder }: Backup,
  as: 'clone' | { standbyOf: PostgresServer } | { restoredTo: string; archive: string },
): Promise<PostgresServer> {
  const dataDirectory = join(folder, 'data')
  let settings: Record<string, string> = {}
  if (as !== 'clone' && 'standbyOf' in as) {
    const primary = new URL(as.standbyOf.url)
    await place(dataDirectory, 'standby.signal')
    settings = {
      primary_conninfo: `host=127.0.0.1 port=${primary.port} user=postgres password=${primary.password}`,
      wal_receiver_status_interval: '100ms',
    }
  }
  if (as !== 'clone' && 'restoredTo' in as) {
    await place(dataDirectory, 'recovery.signal')
    settings = {
      restore_command: `cp ${as.archive}/%f %p`,
      recovery_target_name: as.restoredTo,
      recovery_target_action: 'promote',
    }
  }
  return postgresFor(t, { dataDirectory, settings: { fsync: 'off', ...settings } })
}

/** Settings of a server that archives its WAL, and where. */
export async function archiving(t: Cleanup): Promise<{ archive: string; settings: Record<string, string> }> {
  const archive = await temporaryFolder('postgres-archive', unprivilegedIdentity())
  afterwards(t, () => removeFolder(archive))
  return { archive, settings: { fsync: 'off', archive_mode: 'on', archive_command: `cp %p ${archive}/%f` } }
}

/** The URL of the same database on another server that was copied from its own. */
export function sameDatabase(url: string, server: PostgresServer): string {
  const other = new URL(url)
  other.port = String(server.port)
  return other.href
}
