// A log line carries facts, never a secret: errors are reduced to what may be shown before they are written,
// and every finished line is scrubbed. JSON, one object a line, unless a person is looking at a terminal.

import { type DestinationStream, destination, type Logger, pino } from 'pino'
import { describeError, type ErrorDescription } from './errors.ts'
import { scrub } from './secret.ts'

export type { Logger } from 'pino'

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const
export type LogLevel = (typeof logLevels)[number]

export const logFormats = ['auto', 'json', 'human'] as const
export type LogFormat = (typeof logFormats)[number]

export interface LogOptions {
  level?: LogLevel
  /** auto: human when standard output is a terminal, JSON otherwise. */
  format?: LogFormat
  /** Where lines go; standard output unless given. */
  write?: (line: string) => void
}

/** Lines are written synchronously, so the last one before an exit is never lost. */
export function createLog(options: LogOptions = {}): Logger {
  const format = options.format ?? 'auto'
  const human =
    format === 'human' || (format === 'auto' && options.write === undefined && process.stdout.isTTY)
  const out = options.write === undefined ? destination({ dest: 1, sync: true }) : { write: options.write }
  const stream: DestinationStream = {
    write: (line) => out.write(scrub(human ? humanLine(JSON.parse(line, exactNumber)) : line)),
  }
  return pino(
    {
      level: options.level ?? 'info',
      base: { pid: process.pid },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (level) => ({ level }) },
      serializers: { err: describeError, error: describeError },
    },
    stream,
  )
}

interface LogEntry {
  level: string
  time: string
  pid: number
  msg?: string
  err?: ErrorDescription
  [fact: string]: unknown
}

const colours: Record<string, string> = {
  warn: '\x1b[33m',
  error: '\x1b[31m',
  fatal: '\x1b[31m',
  debug: '\x1b[2m',
}

function humanLine(entry: LogEntry): string {
  const { level, time, pid: _, msg, err, ...facts } = entry
  const coloured = process.stdout.isTTY && process.env.NO_COLOR === undefined && colours[level] !== undefined
  const label = level.toUpperCase().padEnd(5)
  const words = [time.slice(11, 23), coloured ? `${colours[level]}${label}\x1b[0m` : label, msg ?? '']
  for (const [name, value] of Object.entries(facts)) {
    words.push(`${name}=${typeof value === 'string' && /^\S+$/.test(value) ? value : JSON.stringify(value)}`)
  }
  return `${printable([words.join(' '), ...errorLines(err, msg)].join('\n'))}\n`
}

/** An offset past 2^53 is written by pino with all its digits and must be shown with all of them. */
function exactNumber(_: string, value: unknown, context?: { source?: string }): unknown {
  return typeof value === 'number' && Math.abs(value) > Number.MAX_SAFE_INTEGER ? context?.source : value
}

function errorLines(err: ErrorDescription | undefined, said = '', foreseen = false): string[] {
  if (err === undefined) return []
  const code = err.code ?? err.sqlstate
  const message = said.includes(err.message) ? '' : err.message
  const lines =
    foreseen && message === '' ? [] : [`    ${code === undefined ? '' : `[${code}] `}${message}`.trimEnd()]
  if (err.hint !== undefined) lines.push(`    hint: ${err.hint}`)
  // An error with a hint says enough, and so do its causes; where one came from helps only with a defect.
  const enough = foreseen || (err.hint !== undefined && err.code !== 'internal')
  if (!enough) lines.push(...(err.stack ?? '').split('\n').slice(1))
  return [...lines, ...errorLines(err.cause, err.message, enough)]
}

/** A topic or a message of the server may hold terminal control sequences; only our own colours pass. */
function printable(text: string): string {
  return text.replace(/\x1b(?!\[(?:0|2|31|33)m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f\x9b]/g, '?')
}
