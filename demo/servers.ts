// Servers that were given are used and left as they were; the others are started and removed.
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import pg from 'pg'
import { Admin } from '../src/kafka/library.ts'
import { removeFolder, temporaryFolder } from '../stack/folder.ts'
import { type KafkaServer, startKafka } from '../stack/kafka.ts'
import { type PostgresServer, startPostgres } from '../stack/postgres.ts'
import { StackProblem } from '../stack/problem.ts'
import type { DemoArguments } from './arguments.ts'

export interface DemoServers {
  databaseUrl: string
  /** For people to type: without the password of a database that was given, which they know. */
  shownUrl: string
  brokers: string
  topic: string
  table: string
  daemonLog: string
  /** Both servers are the demo's own. */
  disposable: boolean
  remove(): Promise<void>
}

export async function demoServers(
  { brokers, database }: DemoArguments,
  say: (line: string) => void,
): Promise<DemoServers> {
  const folder = await temporaryFolder('demo')
  const started: (PostgresServer | KafkaServer)[] = []
  const remove = async (): Promise<void> => {
    await Promise.all(started.map((server) => server.remove()))
    await removeFolder(folder)
  }
  const keep = async <Server extends PostgresServer | KafkaServer>(
    start: Promise<Server>,
  ): Promise<Server> => {
    const server = await start
    started.push(server)
    return server
  }
  try {
    if (!brokers) say('starting Kafka')
    if (!database) say('starting PostgreSQL')
    const outcomes = await Promise.allSettled([
      brokers ? checkKafka(brokers) : keep(startKafka({ say })).then((kafka) => kafka.brokers),
      database ? checkDatabase(database) : keep(startPostgres()).then(createDatabase),
    ])
    const [kafka, postgres] = outcomes
    if (kafka.status === 'rejected') throw kafka.reason
    if (postgres.status === 'rejected') throw postgres.reason
    // On servers of somebody else's, names that nobody has taken.
    const name = brokers || database ? `millrace_demo_${randomBytes(3).toString('hex')}` : undefined
    return {
      databaseUrl: postgres.value,
      shownUrl: database ? withoutPassword(database) : postgres.value,
      brokers: kafka.value,
      topic: name ?? 'my_topic',
      table: name ?? 'my_table',
      daemonLog: join(folder, 'daemon.log'),
      disposable: name === undefined,
      remove,
    }
  } catch (error) {
    await remove()
    throw error
  }
}

async function createDatabase(server: PostgresServer): Promise<string> {
  const client = new pg.Client({ connectionString: server.url })
  await client.connect()
  await client.query('CREATE DATABASE demo')
  await client.end()
  return server.urlOf('demo')
}

async function checkDatabase(url: string): Promise<string> {
  try {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 })
    await client.connect()
    await client.end()
    return url
  } catch (error) {
    throw new StackProblem(`the database given with --database cannot be reached: ${reasonOf(error)}`)
  }
}

async function checkKafka(brokers: string): Promise<string> {
  const list = brokers.split(',').map((broker) => (/:\d+$/.test(broker) ? broker : `${broker}:9092`))
  const admin = new Admin({ clientId: 'millrace-demo', bootstrapBrokers: list, retries: 1 })
  try {
    await admin.metadata({ topics: [] })
    return list.join(',')
  } catch (error) {
    throw new StackProblem(`the Kafka given with --brokers cannot be reached: ${reasonOf(error)}`)
  } finally {
    await admin.close()
  }
}

function withoutPassword(url: string): string {
  return url.replace(/^(\w+:\/\/[^:@/]*):[^@/]*@/, '$1@')
}

/** The innermost message: the client library wraps what the system said. */
function reasonOf(error: unknown): string {
  const { message, errors, cause } = error as Error & { errors?: unknown[] }
  const inner = errors?.[0] ?? cause
  return (inner ? reasonOf(inner) : message) || 'no answer'
}
