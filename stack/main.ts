// npm run stack -- --env-file FILE [--security VARIANT,...]: the file appears when both servers answer,
// complete at once, and goes when the servers do. They run until SIGTERM or Ctrl-C.
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { programArguments } from './arguments.ts'
import { type SecurityVariant, securityVariants } from './kafka-security.ts'
import { reportAndExit, StackProblem } from './problem.ts'
import { shutdownBySignal } from './shutdown.ts'
import { type Stack, startStack } from './stack.ts'

const usage = `npm run stack -- [--env-file FILE] [--security VARIANT,...]
VARIANT: all, ${securityVariants.join(', ')}`

const shutdown = shutdownBySignal()
try {
  await main()
} catch (error) {
  reportAndExit(error)
}

async function main(): Promise<void> {
  const { envFile, security } = readArguments()
  const path = envFile && resolve(envFile)
  // Left by an earlier run, it would tell a waiting script of servers that are gone.
  if (path) rmSync(path, { force: true })

  console.log('starting PostgreSQL and Kafka')
  const stack = await shutdown.unlessRequested(startStack({ kafka: { security, say: console.log } }))
  // Keeps this process alive: the servers alone do not.
  const alive = setInterval(() => {}, 60_000)
  const variables = environmentOf(stack)
  if (!shutdown.signal.aborted) {
    if (path) writeAtOnce(path, variables)
    console.log(`\nPostgreSQL  ${stack.postgres.url}\n            data ${stack.postgres.dataDirectory}`)
    console.log(`            log  ${stack.postgres.logFile}`)
    console.log(`Kafka       ${stack.kafka.brokers}\n            data ${stack.kafka.folder}`)
    console.log(`            log  ${stack.kafka.logFile}`)
    for (const [variant, listener] of Object.entries(stack.kafka.secure)) {
      console.log(`            ${variant} ${listener.brokers}`)
    }
    if (path) console.log(`written to  ${path}`)
    console.log('\nCtrl-C stops both and removes what they wrote')
    sayWhenEnded('PostgreSQL', stack.postgres)
    sayWhenEnded('Kafka', stack.kafka)
    await shutdown.requested
  }
  console.log('stopping')
  if (path) removeOwn(path, variables)
  await stack.remove()
  clearInterval(alive)
  // The channel to the bootstrap script would otherwise be all that is left.
  process.exit(0)
}

function readArguments(): { envFile: string | undefined; security: SecurityVariant[] } {
  try {
    const { values } = parseArgs({
      args: programArguments(),
      options: {
        'env-file': { type: 'string' },
        security: { type: 'string', multiple: true },
        help: { type: 'boolean', short: 'h' },
      },
    })
    if (values.help) {
      console.log(usage)
      process.exit(0)
    }
    const asked = (values.security ?? []).flatMap((value) => value.split(','))
    const named = asked.flatMap((name) => (name === 'all' ? securityVariants : [name]))
    const wanted = named.filter((name) => name !== 'plaintext')
    const unknown = wanted.filter((name) => !securityVariants.includes(name as SecurityVariant))
    if (unknown.length > 0) throw new Error(`no security variant '${unknown[0]}'`)
    return { envFile: values['env-file'], security: wanted as SecurityVariant[] }
  } catch (error) {
    throw new StackProblem(`${(error as Error).message}\n${usage}`)
  }
}

function environmentOf({ postgres, kafka }: Stack): Record<string, string> {
  const variables: Record<string, string> = { DATABASE_URL: postgres.url, KAFKA_BROKERS: kafka.brokers }
  for (const [variant, listener] of Object.entries(kafka.secure)) {
    variables[`KAFKA_${variant.toUpperCase()}_BROKERS`] = listener.brokers
    if (listener.username) variables.KAFKA_USERNAME = listener.username
    if (listener.password) variables.KAFKA_PASSWORD = listener.password
    if (listener.caFile) variables.KAFKA_CA_FILE = listener.caFile
  }
  return variables
}

/** The other one goes on: there may be something to look at. */
function sayWhenEnded(name: string, server: { logFile: string; whenEnded(): Promise<void> }): void {
  void server.whenEnded().then(() => {
    if (!shutdown.signal.aborted) console.error(`${name} has ended; its log is ${server.logFile}`)
  })
}

/** Not what a later run has put there. */
function removeOwn(path: string, variables: Record<string, string>): void {
  try {
    if (readFileSync(path, 'utf8') === linesOf(variables)) rmSync(path)
  } catch {
    // Somebody removed it.
  }
}

function linesOf(variables: Record<string, string>): string {
  return Object.entries(variables)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('')
}

/** Whoever waits for the file reads all of it: it is renamed into place. */
function writeAtOnce(path: string, variables: Record<string, string>): void {
  const draft = `${path}.${process.pid}`
  writeFileSync(draft, linesOf(variables), { mode: 0o600 })
  renameSync(draft, path)
}
