// pg2kafka's executable: whoever starts it with the variables that it had gets the same, from the daemon of Millrace. What
// has to be there is made first, and servers that are away are waited for.

import { setTimeout } from 'node:timers/promises'
import { type Config, loadConfig } from '../config/config.ts'
import { describeDatabase } from '../config/database-url.ts'
import { type Pg2kafkaVariables, readPg2kafkaVariables } from '../config/pg2kafka.ts'
import { startDaemon } from '../daemon/daemon.ts'
import { isMillraceError } from '../errors.ts'
import { createLog, type Logger } from '../log.ts'
import { DryRun } from '../outbound/dry-run.ts'
import { Backoff } from '../pipeline/backoff.ts'
import { databaseOutage, type Outage, postgresAway } from '../pipeline/outage.ts'
import { connect } from '../postgres/connection.ts'
import { preparePg2kafka } from '../postgres/pg2kafka.ts'
import { Session } from '../postgres/session.ts'
import { sqlstateOf } from '../postgres/sqlstate.ts'
import { parseOptions } from './command.ts'
import { commands } from './commands.ts'
import { serve } from './serve.ts'

export async function pg2kafka(args: string[], env: NodeJS.ProcessEnv): Promise<number> {
  const options = parseOptions(commands.pg2kafka, args)
  const variables = readPg2kafkaVariables(env)
  const config = loadConfig({ env, file: options.value('config'), problems: variables.problems })
  const toStderr = { write: (line: string) => void process.stderr.write(line) }
  // what is shown goes to standard output alone
  const log = createLog({ ...config.log, ...(variables.dryRun && toStderr) })
  for (const warning of config.warnings) log.warn(warning)
  const start = async () => {
    await prepare(config, variables, log)
    return variables.dryRun ? startDryRun(config, log) : startDaemon(config, log)
  }
  return serve(start, config.daemon.shutdownTimeout, log)
}

/** @throws what no waiting mends */
async function prepare(config: Config, variables: Pg2kafkaVariables, log: Logger): Promise<void> {
  const { migrate, brokers, namespace, dryRun } = variables
  const backoff = new Backoff(config.retry.min, config.retry.max)
  let said = ''
  for (;;) {
    try {
      const client = await connect(config.database.url.reveal(), connectOptions(config))
      try {
        const wanted = { migrate, brokers: dryRun ? [] : brokers, namespace }
        const { migrated, added, removed } = await preparePg2kafka(client, wanted)
        if (migrated) log.info(migrated, 'the schema and the dialect are there')
        if (removed.length > 0) log.warn({ removed, added }, 'KAFKA_BROKER is another one than it was')
        else if (added.length > 0) log.info({ added }, 'the cluster has another broker')
        return
      } finally {
        await client.end().catch(() => {})
      }
    } catch (error) {
      const outage = outageOf(error)
      if (outage === null) throw error
      if (said !== outage.name) log.warn({ err: error }, outage.message)
      said = outage.name
      await setTimeout(backoff.next())
    }
  }
}

/** PostgreSQL's own error is the cause of what preparing throws; on a standby nothing can be prepared yet. */
function outageOf(error: unknown): Outage | null {
  if (isMillraceError(error, 'pooler-transaction-mode')) return null
  const { cause } = error as Error
  return sqlstateOf(cause) === readOnly ? postgresAway : (databaseOutage(error) ?? databaseOutage(cause))
}

const readOnly = '25006'

function startDryRun(config: Config, log: Logger): DryRun {
  log.info('nothing is sent: DRY_RUN')
  return new DryRun({
    openSession: () => Session.open(config.database.url.reveal(), connectOptions(config), {}),
    show: (value) => void process.stdout.write(`${value}\n`),
    source: 'pg2kafka ',
    retry: config.retry,
    log,
  })
}

function connectOptions({ database }: Config) {
  return {
    applicationName: 'millrace pg2kafka',
    connectTimeout: database.connectTimeout,
    database: describeDatabase(database.url.reveal()),
  }
}
