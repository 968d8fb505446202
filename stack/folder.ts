// Everything a server writes lies in one folder that goes with it.
import { chownSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { guardFolder } from './guard.ts'
import { holdsFor, type Identity } from './unprivileged.ts'

export async function temporaryFolder(name: string, identity?: Identity): Promise<string> {
  // Root's TMPDIR may lie where the unprivileged user cannot go.
  const parent = holdsFor(identity, '-x', tmpdir()) ? tmpdir() : '/tmp'
  const folder = await mkdtemp(join(parent, `millrace-${name}-`))
  guardFolder(folder)
  if (identity) chownSync(folder, identity.uid, identity.gid)
  return folder
}

export async function removeFolder(folder: string): Promise<void> {
  // A process that was killed a moment ago may still hold the folder's last file open for writing.
  await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
}
