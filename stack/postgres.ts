// One PostgreSQL on a free port of 127.0.0.1, with everything it writes in one temporary folder. It comes
// back on the same port with the same data after stop() and after kill(), and leaves nothing after remove().
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chown, copyFile, cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { removeFolder, temporaryFolder } from './folder.ts'
import { freePort } from './port.ts'
import { installedBinaries, readableBinaries } from './postgres-binaries.ts'
import { ServerProcess, tail } from './server-process.ts'
import { holdsFor, type Identity, unprivilegedIdentity } from './unprivileged.ts'

const projectFolder = dirname(dirname(fileURLToPath(import.meta.url)))

export interface PostgresOptions {
  /** Kept by remove(); made by initdb when it is empty or absent. Default: inside the temporary folder. */
  dataDirectory?: string
  port?: number
  /** Parameters of postgresql.conf, such as { fsync: 'off' }. */
  settings?: Record<string, string>
  /** A folder with bin/, lib/ and share/ of another PostgreSQL. Default: the one the project depends on. */
  binaries?: string
}

export interface PostgresServer {
  /** Of the database `postgres`, as superuser, over TCP. */
  readonly url: string
  readonly port: number
  readonly dataDirectory: string
  /** Folder of the unix socket, where no password is asked for. */
  readonly socketDirectory: string
  readonly logFile: string
  /** Holds the `extension/` folder that extension_control_path points at. */
  readonly shareDirectory: string
  urlOf(database: string): string
  /** Process id of the postmaster; throws when the server is down. */
  pid(): number
  /** Fast shutdown. */
  stop(): Promise<void>
  /** SIGKILL of the postmaster and of everything it started. */
  kill(): Promise<void>
  /** Again, on the same port with the same data. */
  start(): Promise<void>
  /** Brings the copy of the project's extension files up to date where PostgreSQL cannot read the originals. */
  refreshExtensions(): Promise<void>
  /** Resolves when the process that runs now has ended, however it came to that. */
  whenEnded(): Promise<void>
  /** Ends the server at once and removes everything it wrote. */
  remove(): Promise<void>
}

const defaults: Record<string, string> = {
  listen_addresses: '127.0.0.1',
  wal_level: 'logical',
  max_connections: '200',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_line_prefix: '%m [%p] %q%u@%d ',
}

export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const identity = unprivilegedIdentity()
  const folder = await temporaryFolder('postgres', identity)
  try {
    const server = new Server(options, folder, identity, options.port ?? (await freePort()))
    await server.prepare()
    await server.start()
    return server
  } catch (error) {
    await removeFolder(folder)
    throw error
  }
}

class Server implements PostgresServer {
  readonly port: number
  readonly dataDirectory: string
  readonly socketDirectory: string
  readonly logFile: string
  readonly #folder: string
  readonly #options: PostgresOptions
  readonly #identity: Identity | undefined
  #binaries = ''
  #password = ''
  #process: ServerProcess | undefined
  #shareDirectory = projectFolder

  constructor(options: PostgresOptions, folder: string, identity: Identity | undefined, port: number) {
    this.#options = options
    this.#folder = folder
    this.#identity = identity
    this.port = port
    this.dataDirectory = options.dataDirectory ?? join(folder, 'data')
    this.socketDirectory = folder
    this.logFile = join(folder, 'postgres.log')
  }

  get url(): string {
    return this.urlOf('postgres')
  }

  get shareDirectory(): string {
    return this.#shareDirectory
  }

  urlOf(database: string): string {
    return `postgres://postgres:${this.#password}@127.0.0.1:${this.port}/${encodeURIComponent(database)}`
  }

  pid(): number {
    if (!this.#process?.running) throw new Error('PostgreSQL is down')
    return this.#process.pid
  }

  async whenEnded(): Promise<void> {
    await this.#process?.whenEnded()
  }

  /** Everything that is done once: binaries, data directory, extension files. */
  async prepare(): Promise<void> {
    this.#binaries = await readableBinaries(
      this.#options.binaries ?? installedBinaries(),
      this.#folder,
      this.#identity,
    )
    await this.#initialise()
    const extensions = join(projectFolder, 'extension')
    const probe = existsSync(extensions) ? extensions : projectFolder
    if (!holdsFor(this.#identity, '-x', probe)) {
      this.#shareDirectory = join(this.#folder, 'share')
      await this.refreshExtensions()
    }
  }

  async #initialise(): Promise<void> {
    const kept = join(this.dataDirectory, 'millrace-password')
    if (existsSync(kept)) {
      this.#password = await readFile(kept, 'utf8')
      return
    }
    this.#password = randomBytes(12).toString('hex')
    const passwordFile = join(this.#folder, 'password')
    await mkdir(this.dataDirectory, { recursive: true, mode: 0o700 })
    await writeFile(passwordFile, this.#password, { mode: 0o600 })
    for (const path of this.#identity ? [this.dataDirectory, passwordFile] : []) {
      await chown(path, this.#identity!.uid, this.#identity!.gid)
    }
    const initdb = spawnSync(
      join(this.#binaries, 'bin', 'initdb'),
      [
        ...['-D', this.dataDirectory, '-U', 'postgres', `--pwfile=${passwordFile}`, '--no-sync'],
        ...['--auth-local=trust', '--auth-host=scram-sha-256', '--encoding=UTF8', '--locale=C'],
      ],
      { cwd: this.#folder, env: environment(), encoding: 'utf8', ...this.#identity },
    )
    if (initdb.status !== 0) {
      throw new Error(`initdb failed: ${initdb.stderr || initdb.error?.message || initdb.signal}`)
    }
    // Beside the data, for whoever starts a server on the same data directory later.
    await copyFile(passwordFile, kept)
    if (this.#identity) await chown(kept, this.#identity.uid, this.#identity.gid)
    await rm(passwordFile)
  }

  async refreshExtensions(): Promise<void> {
    if (this.#shareDirectory === projectFolder) return
    const copy = join(this.#shareDirectory, 'extension')
    await rm(copy, { recursive: true, force: true })
    await mkdir(copy, { recursive: true })
    const source = join(projectFolder, 'extension')
    if (existsSync(source)) await cp(source, copy, { recursive: true })
    spawnSync('chmod', ['-R', 'a+rX', this.#shareDirectory])
  }

  async start(): Promise<void> {
    if (this.#process?.running) return
    const deadline = Date.now() + 15_000
    for (;;) {
      try {
        return await this.#startOnce()
      } catch (error) {
        // A backend of the killed postmaster that is not gone yet still holds its shared memory.
        const again = tail(this.logFile, 3).includes('pre-existing shared memory block')
        if (!again || Date.now() > deadline) throw error
      }
    }
  }

  async #startOnce(): Promise<void> {
    const settings = {
      ...defaults,
      unix_socket_directories: this.#folder.length < 80 ? this.#folder : '',
      ...((await this.#majorVersion()) >= 18
        ? { extension_control_path: `${this.#shareDirectory}:$system` }
        : {}),
      ...this.#options.settings,
    }
    this.#process = await ServerProcess.start({
      name: 'PostgreSQL',
      file: join(this.#binaries, 'bin', 'postgres'),
      args: [
        ...['-D', this.dataDirectory, '-p', String(this.port)],
        ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
      ],
      env: environment(),
      cwd: this.#folder,
      logFile: this.logFile,
      identity: this.#identity,
    })
    try {
      await this.#process.ready(() => this.#answers(), 60_000)
    } catch (error) {
      await this.#process.end(['SIGQUIT', 5_000])
      throw error
    }
  }

  async #answers(): Promise<void> {
    const client = new pg.Client({ connectionString: this.url, connectionTimeoutMillis: 5_000 })
    client.on('error', () => {})
    try {
      await client.connect()
      await client.query('SELECT 1')
    } finally {
      await client.end().catch(() => {})
    }
  }

  async #majorVersion(): Promise<number> {
    return Number.parseInt(await readFile(join(this.dataDirectory, 'PG_VERSION'), 'utf8'), 10)
  }

  async stop(): Promise<void> {
    await this.#process?.end(['SIGINT', 20_000], ['SIGQUIT', 5_000])
  }

  async kill(): Promise<void> {
    const postmaster = this.#process
    if (!postmaster?.running) return
    // a backend that is forked after its siblings were counted would live on, and keep the shared memory
    postmaster.signal('SIGSTOP')
    const backends = await childrenOf(postmaster.pid)
    postmaster.signal('SIGKILL')
    for (const pid of backends) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It ended in between.
      }
    }
    await postmaster.end(['SIGKILL', 10_000])
  }

  async remove(): Promise<void> {
    await this.#process?.end(['SIGQUIT', 5_000])
    await removeFolder(this.#folder)
  }
}

/** Messages in English whatever the caller's language is, and none of the caller's PG* variables. */
function environment(): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !/^(PG|LC_|LANG)/.test(name))
  return { ...Object.fromEntries(own), LC_ALL: 'C' }
}

async function childrenOf(parent: number): Promise<number[]> {
  if (process.platform !== 'linux') {
    const { stdout } = spawnSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' })
    const rows = stdout.split('\n').map((line) => line.trim().split(/\s+/).map(Number))
    return rows.filter((row) => row[1] === parent).map((row) => row[0]!)
  }
  const children: number[] = []
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    const stat = await readFile(`/proc/${entry}/stat`, 'utf8').catch(() => '')
    // The second field is the command in parentheses and may hold anything; the parent is the second after it.
    if (Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === parent) children.push(Number(entry))
  }
  return children
}
