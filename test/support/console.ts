// A daemon whose port is open, and what its pages say.
import assert from 'node:assert/strict'
import type { Cleanup } from './cleanup.ts'
import type { Daemon, DaemonOptions } from './daemon.ts'
import { type Family, parseExposition } from './exposition.ts'
import { promptDaemon } from './flow.ts'

export interface Page {
  status: number
  text: string
}

export interface WatchedDaemon extends Daemon {
  /** `127.0.0.1:port`. */
  address: string
  page(path: string): Promise<Page>
  /** Of /metrics, as a strict reader takes it. */
  metrics(): Promise<Map<string, Family>>
}

export async function watchedDaemon(
  t: Cleanup & { passed?: boolean },
  db: { url: string },
  options: Partial<DaemonOptions> = {},
): Promise<WatchedDaemon> {
  const env = { MILLRACE_HTTP_LISTEN: '0', MILLRACE_LOG_FORMAT: 'json', ...options.env }
  const daemon = await promptDaemon(t, db, { ...options, env })
  await daemon.waitForLog('serving /metrics')
  const address = /"address":"([^"]+)"/.exec(daemon.output())![1]!
  const page = async (path: string): Promise<Page> => {
    const response = await fetch(`http://${address}${path}`)
    return { status: response.status, text: await response.text() }
  }
  const metrics = async (): Promise<Map<string, Family>> => {
    const { status, text } = await page('/metrics')
    assert.equal(status, 200)
    return parseExposition(text)
  }
  return Object.assign(daemon, { address, page, metrics })
}
