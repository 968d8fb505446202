// How this project reaches a cluster: one place turns settings into the client library's options, and the
// library's errors into codes. Credentials are read at the moment a connection needs them and nowhere else.

import { isIP } from 'node:net'
import { MillraceError } from '../errors.ts'
import type { ConnectionOptions } from './library.ts'

/** What a connection to a cluster needs; `tls` and `sasl` as the client library takes them. */
export interface ClusterAccess {
  name: string
  /** host:port of the brokers to ask first. */
  brokers: string[]
  clientId: string
  /** Milliseconds. */
  connectTimeout: number
  /** Milliseconds; longer than any wait that a request asks the broker for. */
  requestTimeout: number
  tls?: ConnectionOptions['tls']
  tlsServerName?: string
  sasl?: ConnectionOptions['sasl']
}

export function connectionOptions(access: ClusterAccess): ConnectionOptions {
  return {
    connectTimeout: access.connectTimeout,
    requestTimeout: access.requestTimeout,
    ...(access.tls
      ? { tls: access.tls, tlsServerName: access.tlsServerName ?? !access.brokers.some(isAddress) }
      : {}),
    ...(access.sasl ? { sasl: access.sasl } : {}),
  }
}

/** Not a name: TLS knows no server name for it (RFC 6066). */
function isAddress(broker: string): boolean {
  return isIP(broker.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')) !== 0
}

/** What the library throws, as this project's codes. */
export function kafkaError(cause: unknown, access: ClusterAccess): MillraceError {
  if (cause instanceof MillraceError) return cause
  const facts = { cluster: access.name, brokers: access.brokers.join(', '), reason: reasonOf(cause), cause }
  const code = findCause(cause, (error) => error.code === 'PLT_KFK_AUTHENTICATION')
    ? 'broker-authentication'
    : 'kafka-unreachable'
  return new MillraceError(code, facts)
}

interface LibraryError extends Error {
  code?: string
  apiId?: string
  errors?: unknown[]
  response?: unknown
}

export function findCause(error: unknown, test: (error: LibraryError) => boolean): LibraryError | null {
  if (!(error instanceof Error)) return null
  const known = error as LibraryError
  if (test(known)) return known
  for (const inner of [...(known.errors ?? []), known.cause]) {
    const found = findCause(inner, test)
    if (found) return found
  }
  return null
}

/** Whether a Kafka protocol error of this name is anywhere in what the library threw. */
export function hasProtocolError(error: unknown, ...names: string[]): boolean {
  return findCause(error, (inner) => inner.apiId !== undefined && names.includes(inner.apiId)) !== null
}

/** The innermost message: the library wraps each failure in what it was doing. */
export function reasonOf(error: unknown): string {
  const leaf = findCause(error, (inner) => !inner.errors?.length && !(inner.cause instanceof Error))
  return leaf ? leaf.message : String(error)
}
