// All test files of a run share one PostgreSQL and one Kafka, which test/run.ts starts. A test that kills a
// server starts one of its own.
import { type KafkaOptions, type KafkaServer, startKafka } from '../../stack/kafka.ts'
import type { SecureListener, SecurityVariant } from '../../stack/kafka-security.ts'
import { type PostgresOptions, type PostgresServer, startPostgres } from '../../stack/postgres.ts'
import { afterwards, type Cleanup } from './cleanup.ts'
import type { Template } from './template.ts'

export interface SharedServers {
  /** Of the database `postgres`, as superuser. */
  databaseUrl: string
  /** The databases in which everything is installed, or why it is not. */
  template: Template | { problem: string }
  brokers: string
  /** One listener for each variant of security. */
  secure: Record<SecurityVariant, SecureListener>
}

/** Where the runner leaves the addresses: not MILLRACE_*, which the daemon would take for a wrong setting. */
export const sharedServersVariable = 'TEST_SERVERS'

export function sharedServers(): SharedServers {
  const text = process.env[sharedServersVariable]
  if (!text) throw new Error('no servers: run this file with `npm test -- FILE`')
  return JSON.parse(text)
}

/** A PostgreSQL of the test's own, removed after it. */
export async function postgresFor(t: Cleanup, options?: PostgresOptions): Promise<PostgresServer> {
  const server = await startPostgres(options)
  afterwards(t, () => server.remove())
  return server
}

/** A Kafka of the test's own, removed after it. */
export async function kafkaFor(t: Cleanup, options?: KafkaOptions): Promise<KafkaServer> {
  const server = await startKafka({ brief: true, ...options })
  afterwards(t, () => server.remove())
  return server
}

/** The settings with which a daemon uses such a listener for the cluster `default`. */
export function settingsFor(listener: SecureListener): Record<string, string> {
  const settings: Record<string, string> = {}
  if (listener.caFile) settings.MILLRACE_KAFKA_TLS_CA = listener.caFile
  if (listener.mechanism) {
    settings.MILLRACE_KAFKA_SASL_MECHANISM = listener.mechanism
    settings.MILLRACE_KAFKA_SASL_USERNAME = listener.username!
    settings.MILLRACE_KAFKA_SASL_PASSWORD = listener.password!
  }
  return settings
}
