// A server that is away is said to be away once, whoever meets it first, and to be back once, when the last of those
// who met it is past it. What concerns one consumer alone is said for that consumer.

import { isMillraceError } from '../errors.ts'

export interface Outage {
  /** The same for everybody who meets the same. */
  name: string
  message: string
  /** Whether it matters whose consumer met it. */
  personal: boolean
}

export const postgresAway: Outage = {
  name: 'PostgreSQL',
  message: 'PostgreSQL is away; trying again',
  personal: false,
}

/** What is wrong with a cluster, whichever of its topics is read. */
const clusterCodes: readonly string[] = ['kafka-unreachable', 'broker-authentication']

/** There is a server, and not one to work with. */
const unsuitable: readonly string[] = ['server-standby', 'identity-changed', 'pooler-transaction-mode']

/** Administrator shutdown, crash shutdown, starting up; connection exceptions. */
const awayStates = /^(57P0[123]|08...)$/

/** What the driver says of a connection that has ended; it gives these errors no code. */
const endedConnection = /^(Connection terminated|the connection ended|Client (was closed|has encountered))/

/** Of a socket. Those of Kafka's come as kafka-unreachable. */
const socketCodes: readonly string[] = ['ECONNRESET', 'ECONNREFUSED', 'EPIPE', 'ETIMEDOUT']

/** @param consumer that met the error, in words */
export function outageOf(error: unknown, code: string, cluster: string, consumer: string): Outage {
  const lost = isMillraceError(error, 'group-lost')
  const inner = lost ? error.cause : error
  if (isMillraceError(inner) && clusterCodes.includes(inner.code)) {
    const message = inner.code === 'kafka-unreachable' ? 'Kafka is away; trying again' : 'trying again'
    return { name: `Kafka cluster ${cluster}: ${inner.code}`, message, personal: false }
  }
  // A coordinator that was away has forgotten all its members.
  if (lost) return { name: `Kafka cluster ${cluster}: ${code}`, message: 'trying again', personal: true }
  return databaseOutage(error) ?? { name: `${consumer}: ${code}`, message: 'trying again', personal: true }
}

/** Null where the error says nothing about the server as a whole. */
export function databaseOutage(error: unknown): Outage | null {
  if (isMillraceError(error) && unsuitable.includes(error.code))
    return { ...postgresAway, name: `PostgreSQL: ${error.code}` }
  return isPostgresAway(error) ? postgresAway : null
}

function isPostgresAway(error: unknown): boolean {
  // a server that was started again is another one at first, for whoever connects before the daemon has looked at it
  if (isMillraceError(error)) return error.code === 'database-unreachable' || error.code === 'server-changed'
  if (!(error instanceof Error)) return false
  const { code, severity } = error as { code?: unknown; severity?: unknown }
  if (severity !== undefined) return awayStates.test(String(code))
  return socketCodes.includes(String(code)) || endedConnection.test(error.message)
}

export class Outages {
  readonly #affected = new Map<string, Set<string>>()

  /** @returns whether it is news: nobody was affected yet */
  begin({ name }: Outage, who: string): boolean {
    const affected = this.#affected.get(name) ?? new Set()
    this.#affected.set(name, affected)
    const news = affected.size === 0
    affected.add(who)
    return news
  }

  /** @returns the names of those outages that nobody is affected by any more */
  end(who: string): string[] {
    const over: string[] = []
    for (const [name, affected] of this.#affected) {
      if (!affected.delete(who) || affected.size > 0) continue
      this.#affected.delete(name)
      over.push(name)
    }
    return over
  }
}
