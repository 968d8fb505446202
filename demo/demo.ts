// The demo proper, on servers that are there: install, daemon, SQL, and the picture of what happens until the
// time is over; then everything that it made is taken away again.
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { Admin } from '../src/kafka/library.ts'
import { StackProblem } from '../stack/problem.ts'
import type { DemoArguments } from './arguments.ts'
import { createDisplay, grouped } from './display.ts'
import { Generator } from './generator.ts'
import { Installation } from './installation.ts'
import { orderColumns } from './orders.ts'
import { Daemon } from './program.ts'
import { Sampler } from './sample.ts'
import type { DemoServers } from './servers.ts'

/** @returns whether the table held every message once at the end */
export async function runDemo(
  { seconds, rate }: DemoArguments,
  servers: DemoServers,
  interrupted: AbortSignal,
): Promise<boolean> {
  const { databaseUrl, brokers, topic, table } = servers
  const undo: (() => Promise<unknown>)[] = []
  let stopDaemon: () => Promise<unknown>
  const client = new pg.Client({ connectionString: databaseUrl })
  client.on('error', () => {})
  await client.connect()
  try {
    const installation = await Installation.inspect(client, databaseUrl)
    undo.push(() => installation.undo())
    await installation.install(console.log)

    const daemon = installation.daemonRuns ? null : new Daemon(databaseUrl, servers.daemonLog)
    if (daemon) {
      stopDaemon = () => daemon.stop()
      undo.push(stopDaemon)
      await connected(client, daemon)
    }

    await client.query(`CREATE TABLE ${table} (${orderColumns})`)
    undo.push(() => client.query(`DROP TABLE ${table}`))
    await createTopic(brokers, topic)
    undo.push(() => deleteTopic(brokers, topic))

    console.log(`\nin psql, after CREATE TABLE ${table} (...):\n`)
    undo.push(() => installation.removeConsumer(topic, table))
    await installation.runSql(brokers, topic, table, console.log)

    const generator = new Generator(brokers, topic, rate)
    generator.start()
    const sampler = new Sampler(client, topic, table)
    try {
      await show({ sampler, generator, daemon, servers, seconds, interrupted })
    } finally {
      await generator.stop()
    }
    return await conclude(sampler, generator, table, interrupted.aborted ? 3_000 : 10_000)
  } finally {
    console.log('cleaning up')
    // Servers of the demo's own go as a whole; only the daemon has to let go of them first.
    const steps = servers.disposable ? undo.filter((step) => step === stopDaemon) : undo
    for (const step of steps.reverse()) await step().catch((error) => console.error(`  ${error.message}`))
    await client.end().catch(() => {})
  }
}

async function connected(client: pg.Client, daemon: Daemon): Promise<void> {
  let ended = false
  daemon.ended.then(() => (ended = true))
  for (;;) {
    const { rows } = await client.query('SELECT millrace.daemon_connected() AS connected')
    if (rows[0].connected) return
    if (ended) throw new StackProblem(`the daemon ended:\n${daemon.lastWords()}`)
    await delay(50)
  }
}

interface Show {
  sampler: Sampler
  generator: Generator
  daemon: Daemon | null
  servers: DemoServers
  seconds: number | undefined
  interrupted: AbortSignal
}

async function show({ sampler, generator, daemon, servers, seconds, interrupted }: Show): Promise<void> {
  const { shownUrl, topic, table } = servers
  const hints = [
    `psql '${shownUrl}'`,
    `  SELECT country, count(*), sum(price) FROM ${table} GROUP BY country ORDER BY 3 DESC;`,
    '  SELECT * FROM pipeline_kafka.consumer_lag;',
  ]
  const terminal = process.stdout.isTTY
  if (!terminal) console.log(`\ntype next:\n${hints.join('\n')}\n`)
  const display = createDisplay({ topic, table, hints })
  const history: number[] = []
  const startedAt = performance.now()
  const until = startedAt + (seconds ?? Infinity) * 1000
  daemon?.ended.then(() => {
    if (!interrupted.aborted && performance.now() < until) gone = true
  })
  let gone = false
  try {
    while (!interrupted.aborted && performance.now() < until) {
      const begun = performance.now()
      const sample = await sampler.take(generator.sent)
      history.push(sample.rowsPerSecond)
      if (history.length > 40) history.shift()
      display.show(sample, history)
      if (gone) throw new StackProblem(`the daemon ended:\n${daemon!.lastWords()}`)
      if (generator.problem) throw generator.problem
      // Counting a table that has grown large must not become the load that is shown.
      const pause = Math.max(terminal ? 500 : 1000, (performance.now() - begun) * 10)
      const wake = Math.min(begun + pause, until)
      await delay(Math.max(0, wake - performance.now()), undefined, { signal: interrupted }).catch(() => {})
    }
  } finally {
    display.close()
  }
}

/** Waits a moment for what is still on its way, then counts. */
async function conclude(
  sampler: Sampler,
  generator: Generator,
  table: string,
  patienceMs: number,
): Promise<boolean> {
  const deadline = performance.now() + patienceMs
  while ((await sampler.count()) < generator.sent && performance.now() < deadline) await delay(50)
  const { rows, different } = await sampler.census()
  const complete = rows === generator.sent && different === rows
  const verdict = complete ? 'each once' : `${grouped(different)} different ones`
  console.log(`\n${grouped(generator.sent)} messages sent, ${grouped(rows)} rows in ${table}, ${verdict}`)
  return complete
}

async function createTopic(brokers: string, topic: string): Promise<void> {
  await withAdmin(brokers, (admin) => admin.createTopics({ topics: [topic], partitions: 4, replicas: -1 }))
}

async function deleteTopic(brokers: string, topic: string): Promise<void> {
  await withAdmin(brokers, (admin) => admin.deleteTopics({ topics: [topic] }))
}

async function withAdmin(brokers: string, work: (admin: Admin) => Promise<unknown>): Promise<void> {
  const admin = new Admin({ clientId: 'millrace-demo', bootstrapBrokers: brokers.split(','), retries: 3 })
  try {
    await work(admin)
  } finally {
    await admin.close()
  }
}
