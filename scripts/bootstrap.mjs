// Runs a TypeScript program of this project from whatever Node started this: installs what the lock file names
// when it is missing or different, then runs the program with the project's own Node. Plain JavaScript that
// Node 18 understands, and nothing but Node's own modules: nothing else is there yet.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const node = join(root, 'node_modules', '.bin', 'node')
// Each argument comes behind an equals sign: see the script `start`.
const [entry, ...args] = process.argv.slice(2).map((argument) => argument.slice(1))

if (!isInstalled()) install()
run()

/** Whether node_modules holds the versions that the lock file names, and a Node that starts. */
function isInstalled() {
  const wanted = readLock('package-lock.json')
  const present = readLock('node_modules/.package-lock.json')
  if (!wanted || !present || !existsSync(node)) return false
  const differs = Object.entries(wanted.packages).some(([path, { version, optional }]) => {
    if (path === '') return false
    const there = present.packages[path]
    return there ? there.version !== version : !optional
  })
  return !differs && spawnSync(node, ['--version']).status === 0
}

function readLock(path) {
  try {
    return JSON.parse(readFileSync(join(root, path), 'utf8'))
  } catch {
    return undefined
  }
}

function install() {
  console.error('installing the dependencies')
  // npm must not run with the very Node that it is about to replace.
  const ours = join(root, 'node_modules', '.bin')
  const path = (process.env.PATH || '').split(delimiter).filter((folder) => folder !== ours)
  const npm = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    env: { ...process.env, PATH: path.join(delimiter) },
    // Standard output belongs to the program.
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  })
  if (npm.status === 0 && existsSync(node)) return
  if (npm.error) console.error(`npm did not start: ${npm.error.message}`)
  else if (npm.status === 0)
    console.error('npm ci brought no Node: its install scripts did not run (ignore-scripts?)')
  process.exit(npm.status || 1)
}

function run() {
  const child = spawn(node, [join(root, entry), '--', ...args], {
    // The fourth channel tells the program that this script has gone, however it went.
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
  })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  // npm passes on SIGINT and SIGTERM, but nobody passes on the SIGKILL of npm.
  const parent = process.ppid
  const watch = () => process.ppid !== parent && child.kill('SIGTERM')
  if (process.env.npm_lifecycle_event) setInterval(watch, 500).unref()
  child.once('error', (error) => {
    console.error(`${node} did not start: ${error.message}`)
    process.exit(1)
  })
  child.once('exit', (code, signal) => {
    if (signal === null) process.exit(code)
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
  })
}
