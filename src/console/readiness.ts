// /readyz: whether the daemon does its work, and for which consumers it does not. A consumer that failed does not
// make the daemon unready: the others are loaded, and taking the daemon away would mend nothing. Codes and names are
// shown, messages are not: anybody who reaches the port can read this.

import { errorCodes, isErrorCode } from '../errors.ts'
import { scrub } from '../secret.ts'
import type { DaemonView } from './view.ts'

/** States that somebody should look at. */
const worrying: readonly string[] = ['failed', 'retrying', 'waiting-for-topic']

/** Consumers that are listed; the others are only counted. */
const mostListed = 100

export interface Readiness {
  ready: boolean
  body: string
}

export function readiness(daemon: DaemonView): Readiness {
  const checks = daemon.checks()
  const missing = checks.filter(({ ok }) => !ok)
  const ready = missing.length === 0
  const consumers = daemon.consumers()
  const byState = Map.groupBy(consumers, ({ state }) => state)
  const worried = consumers.filter(({ state }) => worrying.includes(state))
  const answer = {
    ready,
    ...(!ready && { missing: missing.map(({ name, code }) => ({ what: name, ...explained(code) })) }),
    checks: Object.fromEntries(checks.map(({ name, ok }) => [name, ok])),
    consumers: {
      total: consumers.length,
      states: Object.fromEntries([...byState].map(([state, those]) => [state, those.length])),
      attention: worried.slice(0, mostListed).map(({ id, cluster, topic, target, state, code }) => ({
        id,
        cluster,
        topic,
        target,
        state,
        code,
      })),
      ...(worried.length > mostListed && { more: worried.length - mostListed }),
    },
    sending: {
      leads: daemon.sending.leads,
      clusters: daemon.sending.clusters.map(({ cluster, state, code, backlog }) => ({
        cluster,
        state,
        code,
        backlog: backlog?.messages ?? null,
        waiting: backlog?.waiting ?? null,
      })),
    },
  }
  return { ready, body: `${scrub(JSON.stringify(answer, null, 2))}\n` }
}

function explained(code: string | undefined): { code?: string; hint?: string } {
  if (code === undefined) return {}
  return isErrorCode(code) ? { code, hint: errorCodes[code].hint } : { code }
}
