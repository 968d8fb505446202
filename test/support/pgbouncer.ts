// PgBouncer between a daemon and a server, in the mode that a test wants. It is part of no package of the project's:
// where it is not installed, the tests that need it are skipped.
import { spawnSync } from 'node:child_process'
import { chown, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { removeFolder, temporaryFolder } from '../../stack/folder.ts'
import { freePort } from '../../stack/port.ts'
import { ServerProcess } from '../../stack/server-process.ts'
import { unprivilegedIdentity } from '../../stack/unprivileged.ts'
import { afterwards, type Cleanup } from './cleanup.ts'

/** Why there is none, or false: the option `skip` of a test. */
export const noPgBouncer: string | false = program()
  ? false
  : 'PgBouncer is not installed (Debian: apt-get install pgbouncer)'

function program(): string | undefined {
  // where Debian puts programs of the system is not on every user's path
  return ['pgbouncer', '/usr/sbin/pgbouncer'].find(
    (file) => spawnSync(file, ['--version'], { stdio: 'ignore' }).status === 0,
  )
}

/** @returns the URL of the same database by way of the pooler */
export async function pgBouncerFor(
  t: Cleanup,
  url: string,
  mode: 'session' | 'transaction' | 'statement',
  poolSize = 20,
): Promise<string> {
  const identity = unprivilegedIdentity()
  const folder = await temporaryFolder('pgbouncer', identity)
  afterwards(t, () => removeFolder(folder))
  const { hostname, port, username, password, pathname } = new URL(url)
  const own = await freePort()
  const configuration = join(folder, 'pgbouncer.ini')
  await writeFile(
    configuration,
    `[databases]
${pathname.slice(1)} = host=${hostname} port=${port} user=${username} password=${password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${own}
unix_socket_dir =
auth_type = any
pool_mode = ${mode}
default_pool_size = ${poolSize}
ignore_startup_parameters = extra_float_digits
`,
    { mode: 0o600 },
  )
  if (identity) await chown(configuration, identity.uid, identity.gid)
  const server = await ServerProcess.start({
    name: 'PgBouncer',
    file: program()!,
    args: [configuration],
    cwd: folder,
    logFile: join(folder, 'pgbouncer.log'),
    identity,
  })
  afterwards(t, () => server.end(['SIGTERM', 5_000]))
  const pooled = new URL(url)
  pooled.hostname = '127.0.0.1'
  pooled.port = String(own)
  await server.ready(async () => {
    const client = new pg.Client({ connectionString: pooled.href, connectionTimeoutMillis: 5_000 })
    client.on('error', () => {})
    await client.connect()
    await client.end()
  }, 20_000)
  return pooled.href
}
