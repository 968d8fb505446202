// The environment variables of pg2kafka, which mean what they meant there. DATABASE_URL is a setting of the daemon, too.

import type { Environment } from './environment.ts'
import { boolean } from './value.ts'

export interface Pg2kafkaVariables {
  /** host or host:port. */
  brokers: string[]
  /** Empty: none. */
  namespace: string
  migrate: boolean
  dryRun: boolean
  problems: string[]
}

/** What a broker looks like in millrace.broker; librdkafka also takes the protocol before it. */
const address = /^(?:PLAINTEXT:\/\/)?((?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?)$/i

const otherProtocol = /^[A-Za-z_]+:\/\//

export function readPg2kafkaVariables(env: Environment): Pg2kafkaVariables {
  const problems: string[] = []
  const isOn = (variable: string): boolean => {
    const raw = env[variable]
    if (!raw) return false
    const reading = boolean.read(raw)
    if ('value' in reading) return reading.value as boolean
    problems.push(`${variable}: ${reading.problem}`)
    return false
  }
  const [migrate, dryRun] = [isOn('PERFORM_MIGRATIONS'), isOn('DRY_RUN')]
  const brokers: string[] = []
  for (const given of (env.KAFKA_BROKER ?? '').split(',')) {
    const broker = given.trim()
    const [, plain] = address.exec(broker) ?? []
    if (plain !== undefined) brokers.push(plain)
    else if (otherProtocol.test(broker)) {
      problems.push('KAFKA_BROKER: host:port alone; TLS and passwords have settings (docs/configuration.md)')
    } else if (broker !== '') problems.push('KAFKA_BROKER: must be host:port')
  }
  if (brokers.length === 0 && problems.length === 0 && !dryRun)
    problems.push('KAFKA_BROKER: set it to host:port')
  return { brokers, namespace: env.TOPIC_NAMESPACE ?? '', migrate, dryRun, problems }
}
