// npm run stack is what demo, tests, benchmarks and strangers' scripts build on: the file it writes is complete
// when it appears, and nothing is left when it ends, however it ends.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { Admin } from '../../src/kafka/library.ts'
import { afterwards } from '../support/cleanup.ts'
import { eventually } from '../support/eventually.ts'
import { environment } from '../support/millrace.ts'

const start = fileURLToPath(new URL('../../scripts/start', import.meta.url))

interface RunningStack {
  process: ChildProcess
  output(): string
  closed: Promise<{ code: number | null; signal: NodeJS.Signals | null }>
}

function startStack(t: TestContext, args: string[], env: Record<string, string> = {}): RunningStack {
  const child = spawn(start, ['stack/main.ts', ...args], { env: environment(env), stdio: 'pipe' })
  let output = ''
  child.stdout.on('data', (chunk) => (output += chunk))
  child.stderr.on('data', (chunk) => (output += chunk))
  const closed = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal }))
  })
  afterwards(t, async () => {
    child.kill('SIGKILL')
    await closed
  })
  return { process: child, output: () => output, closed }
}

function scratchFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-test-'))
  afterwards(t, () => rmSync(folder, { recursive: true, force: true }))
  return folder
}

async function readyFile(stack: RunningStack, file: string): Promise<Record<string, string>> {
  await eventually(`${file} is written`, () => existsSync(file) || stack.process.exitCode !== null, {
    deadline: 90_000,
  })
  assert.equal(stack.process.exitCode, null, stack.output())
  // Read once, at the moment it is seen: it has to be complete by then.
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
  return Object.fromEntries(lines.map((line) => /^(\w+)=(.*)$/.exec(line)!.slice(1, 3)))
}

function foldersNamedIn(output: string): string[] {
  return [...output.matchAll(/(\S*\/millrace-(?:postgres|kafka)-\w+)/g)].map((match) => match[1]!)
}

async function refuses(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port }, () => {
      socket.destroy()
      resolve(false)
    })
    socket.once('error', () => resolve(true))
  })
}

async function assertNothingLeft(stack: RunningStack, variables: Record<string, string>): Promise<void> {
  const folders = foldersNamedIn(stack.output())
  assert.ok(folders.length >= 2, stack.output())
  const { hostname, port } = new URL(variables.DATABASE_URL!)
  const [host, kafkaPort] = variables.KAFKA_BROKERS!.split(':')
  await eventually('the folders are gone', () => !folders.some((folder) => existsSync(folder)))
  await eventually('PostgreSQL is gone', () => refuses(hostname, Number(port)))
  await eventually('Kafka is gone', () => refuses(host!, Number(kafkaPort)))
}

test('npm run stack writes where both servers are, and SIGTERM ends them without a trace', async (t) => {
  const file = join(scratchFolder(t), 'env')
  writeFileSync(file, 'DATABASE_URL=left by an earlier run\n')
  const stack = startStack(t, ['--env-file', file, '--security', 'sasl_plain'])
  await eventually('the file of the earlier run is gone', () => !existsSync(file))
  const variables = await readyFile(stack, file)
  assert.deepEqual(Object.keys(variables).slice(0, 2), ['DATABASE_URL', 'KAFKA_BROKERS'])
  assert.ok(variables.KAFKA_SASL_PLAIN_BROKERS && variables.KAFKA_USERNAME && variables.KAFKA_PASSWORD)

  const client = new pg.Client({ connectionString: variables.DATABASE_URL })
  client.on('error', () => {})
  await client.connect()
  assert.equal((await client.query('SHOW wal_level')).rows[0].wal_level, 'logical')
  const admin = new Admin({ clientId: 'millrace-test', bootstrapBrokers: [variables.KAFKA_BROKERS!] })
  assert.equal((await admin.metadata({ topics: [] })).brokers.size, 1)
  await admin.close()

  assert.doesNotMatch(stack.output(), /has ended/)
  const [, dataDirectory] = /data (\S*millrace-postgres\S*)/.exec(stack.output())!
  process.kill(Number.parseInt(readFileSync(join(dataDirectory!, 'postmaster.pid'), 'utf8'), 10), 'SIGQUIT')
  await eventually('the end of PostgreSQL is told', () => /^PostgreSQL has ended; /m.test(stack.output()))

  // With a client still connected.
  stack.process.kill('SIGTERM')
  assert.deepEqual(await stack.closed, { code: 0, signal: null })
  assert.equal(existsSync(file), false, 'the file has gone with the servers')
  assert.doesNotMatch(stack.output(), /Kafka has ended/)
  await assertNothingLeft(stack, variables)
})

test('the servers do not outlive a stack that is killed', async (t) => {
  const file = join(scratchFolder(t), 'env')
  const stack = startStack(t, ['--env-file', file])
  const variables = await readyFile(stack, file)
  stack.process.kill('SIGKILL')
  await assertNothingLeft(stack, variables)
})

test('without Java one line says what to install', async (t) => {
  const folder = scratchFolder(t)
  const path = pathWithout(folder, 'java')
  const stack = startStack(t, [], { PATH: path, JAVA_HOME: '' })
  assert.deepEqual(await stack.closed, { code: 1, signal: null })
  assert.match(stack.output(), /^Kafka needs Java 17 or later: install it .*, or pass --brokers .*$/m)
  assert.doesNotMatch(stack.output(), /^ +at /m)
})

test('without Maven, when Kafka is not in the cache yet, one line says what to install', async (t) => {
  const folder = scratchFolder(t)
  const path = pathWithout(folder, 'mvn')
  const stack = startStack(t, [], { PATH: path, XDG_CACHE_HOME: join(folder, 'cache') })
  assert.deepEqual(await stack.closed, { code: 1, signal: null })
  assert.match(stack.output(), /^fetching Kafka needs Maven: install it .*, or pass --brokers .*$/m)
  assert.doesNotMatch(stack.output(), /^ +at /m)
})

test('a file that another run has written meanwhile stays', async (t) => {
  const file = join(scratchFolder(t), 'env')
  const stack = startStack(t, ['--env-file', file])
  await readyFile(stack, file)
  writeFileSync(file, 'DATABASE_URL=of another run\n')
  stack.process.kill('SIGTERM')
  assert.deepEqual(await stack.closed, { code: 0, signal: null })
  assert.equal(readFileSync(file, 'utf8'), 'DATABASE_URL=of another run\n')
})

test('--help shows the arguments and starts nothing', async (t) => {
  const stack = startStack(t, ['--help'])
  assert.deepEqual(await stack.closed, { code: 0, signal: null })
  assert.match(stack.output(), /^npm run stack -- \[--env-file FILE\]/)
  assert.match(stack.output(), /VARIANT: all, sasl_plain/)
  assert.doesNotMatch(stack.output(), /starting/)
})

test('a wrong argument is told, with the ones there are', async (t) => {
  const stack = startStack(t, ['--security', 'sasl_magic'])
  assert.deepEqual(await stack.closed, { code: 1, signal: null })
  assert.match(stack.output(), /no security variant 'sasl_magic'/)
  assert.match(stack.output(), /VARIANT: all, sasl_plain/)
})

/** A PATH on which everything is found that these programs use, except one. */
function pathWithout(folder: string, program: string): string {
  for (const needed of ['node', 'sh', 'dirname', 'java', 'rm', 'sleep', 'test', 'chmod']) {
    if (needed === program) continue
    const found = process.env
      .PATH!.split(delimiter)
      .map((place) => join(place, needed))
      .find(existsSync)
    if (found) symlinkSync(found, join(folder, needed))
  }
  return folder
}
