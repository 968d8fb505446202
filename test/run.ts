// npm test [-- FILE...]: checks, servers, tests, in this order; the last line is `N passed, N failed`, and the exit
// code is 0 only when something passed and nothing failed.
import { existsSync, globSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative, resolve, sep } from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { fileURLToPath } from 'node:url'
import { programArguments } from '../stack/arguments.ts'
import { securityVariants } from '../stack/kafka-security.ts'
import { reportAndExit, StackProblem } from '../stack/problem.ts'
import { shutdownBySignal } from '../stack/shutdown.ts'
import { type Stack, startStack } from '../stack/stack.ts'
import { runChecks } from './support/checks.ts'
import { memoryFolder } from './support/memory-folder.ts'
import { type SharedServers, sharedServersVariable } from './support/servers.ts'
import { installTemplate } from './support/template.ts'

/** The model (test/model) runs for as long as it is told. */
const modelMs = Number(process.env.MODEL_SECONDS ?? 0) * 1000
const wholeRunMs = 40 * 60_000 + modelMs
const oneTestMs = 10 * 60_000 + modelMs

/** The folders whose files take longest come first: what is left at the end is short, and keeps all processors busy. */
const longest = ['model', 'versions', 'faults', 'acceptance', 'outbound', 'integration', 'broker', 'formats']

interface Counts {
  passed: number
  failed: number
}

const root = fileURLToPath(new URL('..', import.meta.url))
const shutdown = shutdownBySignal()

const servers = {
  // Nothing here has to survive the machine; tests about durability start a server of their own. Neither lives long
  // enough to get back what Java's second compiler takes (`brief`).
  postgres: { settings: { fsync: 'off', full_page_writes: 'off', max_connections: '300' } },
  kafka: { security: securityVariants, brief: true, say: console.log },
}

main().then(
  ({ passed, failed }) => {
    console.log(`${passed} passed, ${failed} failed`)
    process.exit(passed > 0 && failed === 0 ? 0 : 1)
  },
  (error) => reportAndExit(error),
)

async function main(): Promise<Counts> {
  process.chdir(root)
  const asked = programArguments()
  const files = asked.length > 0 ? asked.flatMap(testFiles) : testFiles('test')
  // A test file, and each daemon that it starts, is a process that would translate all of the sources again.
  process.env.NODE_COMPILE_CACHE ??= join(root, 'node_modules', '.cache', 'compiled')
  const inMemory = process.env.TMPDIR || modelMs > 0 ? undefined : memoryFolder()
  if (inMemory) process.env.TMPDIR = inMemory
  const [failedChecks, stack] = await shutdown.unlessRequested(
    Promise.all([
      // Somebody who works on one file wants its result now.
      asked.length > 0 ? 0 : runChecks(),
      files.some((file) => needsServers(file)) ? startStack(servers) : undefined,
    ]),
  )
  try {
    if (stack) process.env[sharedServersVariable] = JSON.stringify(await share(stack))
    const tests = await runTests(files)
    return { passed: tests.passed, failed: failedChecks + tests.failed }
  } finally {
    await stack?.remove()
  }
}

function testFiles(asked: string): string[] {
  const path = relative(root, resolve(process.env.INIT_CWD ?? root, asked))
  const there = existsSync(path) ? path : asked
  if (!existsSync(there)) throw new StackProblem(`no test file ${asked}`)
  if (!statSync(there).isDirectory()) return [there]
  return globSync(join(there, '**', '*.test.ts')).sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1))
}

function rank(file: string): number {
  const place = longest.indexOf(file.split(sep)[1]!)
  return place === -1 ? longest.length : place
}

/** Whoever needs a server gets at it through test/support/servers.ts, directly or by way of another file. */
function needsServers(file: string, seen = new Set<string>()): boolean {
  if (file === join('test', 'support', 'servers.ts')) return true
  if (seen.has(file) || !file.startsWith('test') || !existsSync(file)) return false
  seen.add(file)
  const imports = readFileSync(file, 'utf8').matchAll(/^import (?!type)[^'"]*['"](\.[^'"]+)['"]/gm)
  return [...imports].some(([, specifier]) => needsServers(join(dirname(file), specifier!), seen))
}

async function share(stack: Stack): Promise<SharedServers> {
  return {
    databaseUrl: stack.postgres.url,
    template: await installTemplate(stack.postgres),
    brokers: stack.kafka.brokers,
    secure: stack.kafka.secure as SharedServers['secure'],
  }
}

async function runTests(files: string[]): Promise<Counts> {
  const outOfTime = AbortSignal.timeout(wholeRunMs)
  const counts = { passed: 0, failed: 0 }
  const events = run({
    files,
    // many of them wait for a timeout, an election or a restart: two would leave a third of two processors idle
    concurrency: 3,
    timeout: oneTestMs,
    signal: AbortSignal.any([shutdown.signal, outOfTime]),
  })
  events.on('test:summary', ({ file, counts: found }) => {
    // There is a summary for each file, too.
    if (file !== undefined) return
    counts.passed = found.passed
    counts.failed = found.tests - found.passed - found.skipped - found.todo
  })
  for await (const text of events.compose(spec())) process.stdout.write(text)
  if (outOfTime.aborted) counts.failed = Math.max(counts.failed, 1)
  return counts
}
