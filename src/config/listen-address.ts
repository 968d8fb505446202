// An address to listen on. Whoever gives only a port gets this machine's own loopback: being reachable from elsewhere
// has to be written out.

import { isIP, isIPv6 } from 'node:net'
import type { Reading, ValueType } from './value.ts'

export interface ListenAddress {
  host: string
  port: number
}

const loopback = '127.0.0.1'
const highestPort = 65_535

/** Null: off. */
export const listenAddress: ValueType = {
  name: 'off, a port, or address:port',
  read(raw): Reading {
    const text = typeof raw === 'number' ? String(raw) : typeof raw === 'string' ? raw.trim() : ''
    if (/^(off|false|no)$/i.test(text) || raw === false) return { value: null }
    const parts = /^(?:(?<host>.*):)?(?<port>\d{1,5})$/s.exec(text)
    if (!parts) return { problem: `${JSON.stringify(raw)} is no port, no address:port and not off` }
    const port = Number(parts.groups?.port)
    if (port > highestPort) return { problem: `port ${port} is more than ${highestPort}` }
    const given = parts.groups?.host
    if (given === undefined) return { value: { host: loopback, port } }
    const host = hostOf(given)
    if (host === null) {
      return {
        problem: `${JSON.stringify(raw)} names no address; all of this machine's are 0.0.0.0:${port} or [::]:${port}`,
      }
    }
    return { value: { host, port } }
  },
}

/** An IPv6 address stands in brackets, which are taken off; null: neither an address nor a name. */
function hostOf(given: string): string | null {
  const bracketed = /^\[(.*)\]$/s.exec(given)?.[1]
  if (bracketed !== undefined) return isIPv6(bracketed) ? bracketed : null
  return isIP(given) === 4 || /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i.test(given) ? given : null
}
