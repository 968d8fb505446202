// Reporting goes on beside reconciling, a few times a second, and only where anything may run. What could not be told
// is told later; a server that is silent holds up nobody else.

import type { Config } from '../config/config.ts'
import type { Logger } from '../log.ts'
import { pause } from '../pipeline/interruption.ts'
import type { Reports } from './reports.ts'
import type { Whereabouts } from './whereabouts.ts'
import type { Work } from './work.ts'

export interface ReportingParts {
  reports: Reports
  work: Work
  whereabouts: Whereabouts
  settings: Config['daemon']
  log: Logger
  signal: AbortSignal
}

/** Runs until the signal; never throws. */
export async function keepReporting(parts: ReportingParts): Promise<void> {
  const { reports, work, whereabouts, settings, log, signal } = parts
  let quiet = false
  while (!signal.aborted) {
    await pause(settings.reportInterval, signal)
    if (!whereabouts.known) continue
    const { reporters, pipelines } = work
    if (reporters.length === 0 && quiet) continue
    try {
      await reports.write(reporters, settings.reconcileInterval)
      // not waited for: a broker that is silent must not keep the database from hearing that it is
      for (const pipeline of pipelines) void pipeline.mirrorOffsets()
    } catch (error) {
      quiet = true
      log.debug({ err: error }, 'the reports could not be written; tried again later')
      continue
    }
    quiet = false
  }
}
