// A disk that is really full: a small file system in memory, which only root can mount.
import { spawnSync } from 'node:child_process'
import { chown, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { removeFolder, temporaryFolder } from '../../stack/folder.ts'
import { unprivilegedIdentity } from '../../stack/unprivileged.ts'
import { afterwards, type Cleanup } from './cleanup.ts'

export interface SmallDisk {
  /** Where it is mounted; the server may write there. */
  folder: string
  /** Fills it up to so many bytes that are left. */
  fill(left: number): Promise<void>
  /** Takes that away again. */
  free(): Promise<void>
}

/** Why there is none, or false: the option `skip` of a test. */
export const noSmallDisk: string | false =
  process.platform === 'linux' && process.getuid?.() === 0 && mayMount()
    ? false
    : 'only root on Linux can mount a small file system'

/** Root of a container usually cannot. */
function mayMount(): boolean {
  return spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0
}

/** @param size bytes */
export async function smallDisk(t: Cleanup, size: number): Promise<SmallDisk> {
  const identity = unprivilegedIdentity()
  const folder = await temporaryFolder('disk', identity)
  afterwards(t, () => removeFolder(folder))
  run('mount', '-t', 'tmpfs', '-o', `size=${size},mode=755`, 'tmpfs', folder)
  afterwards(t, () => run('umount', '--lazy', folder))
  if (identity) await chown(folder, identity.uid, identity.gid)
  const ballast = join(folder, 'ballast')
  return {
    folder,
    fill: async (left) => {
      const free = Number(run('df', '--output=avail', '--block-size=1', folder).split('\n')[1])
      await writeFile(ballast, Buffer.alloc(Math.max(0, free - left), 1))
    },
    free: () => rm(ballast),
  }
}

function run(program: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}`)
  return stdout
}
