// An error says what a person may know: a stable code, facts, a hint, a cause. A message value or a secret never
// becomes a fact, and what a client library hangs on its errors (rows, URLs) is shown nowhere.

import { inspect } from 'node:util'
import { type ErrorCode, errorCodes } from './error-codes.ts'
import { scrub } from './secret.ts'

export { type ErrorCode, errorCodes, isErrorCode } from './error-codes.ts'

export type Facts = Record<string, unknown>

// Characters. PostgreSQL repeats a refused value in full in its message; the beginning is enough to recognise it.
const longestReason = 500

const deepestCause = 5

/** A failure with a stable code, the facts around it (topic, partition, ...), a hint for the operator and its cause. */
export class MillraceError extends Error {
  readonly code: ErrorCode
  readonly facts: Facts
  readonly hint: string

  constructor(code: ErrorCode, facts: { cause?: unknown; [fact: string]: unknown } = {}) {
    const { cause, ...rest } = facts
    const why = rest.reason ?? cause
    const reason = why === undefined ? undefined : reasonOf(why)
    super(
      scrub(fill(errorCodes[code].message, { ...rest, reason })),
      cause === undefined ? undefined : { cause },
    )
    this.name = 'MillraceError'
    this.code = code
    this.facts = rest
    this.hint = errorCodes[code].hint
  }

  /** The same failure with more facts, from someone further up who knows the topic or the offset. */
  with(facts: Facts): MillraceError {
    const fuller = new MillraceError(this.code, { ...this.facts, ...facts, cause: this.cause })
    fuller.stack = this.stack
    return fuller
  }

  toJSON(): ErrorDescription {
    return describeError(this)
  }

  [inspect.custom](): string {
    const { stack, ...rest } = describeError(this)
    return `${stack} ${inspect(rest, { depth: 6 })}`
  }
}

export function isMillraceError(error: unknown, code?: ErrorCode): error is MillraceError {
  return error instanceof MillraceError && (code === undefined || error.code === code)
}

/** What an error says, whatever was thrown (that of a connection refused by two addresses has no message itself). */
export function reasonOf(error: unknown): string {
  if (error instanceof MillraceError) return error.message
  if (!(error instanceof Error)) return clean(String(error ?? 'unknown'))
  const inner = error instanceof AggregateError ? error.errors.map(reasonOf).join('; ') : ''
  return clean(error.message || inner || String((error as { code?: unknown }).code ?? error.name))
}

/** What may be shown of an error. Everything else that a client library hangs on one (rows, URLs) is left out. */
export interface ErrorDescription {
  type: string
  code?: string
  message: string
  sqlstate?: string
  hint?: string
  facts?: Facts
  stack?: string
  cause?: ErrorDescription
}

export function describeError(error: unknown, depth = 0): ErrorDescription {
  if (!(error instanceof Error)) return { type: typeof error, message: reasonOf(error) }
  const description: ErrorDescription = { type: error.name, message: reasonOf(error) }
  if (error instanceof MillraceError) {
    description.code = error.code
    description.hint = error.hint
    if (Object.keys(error.facts).length > 0) description.facts = shownFacts(error.facts)
  } else {
    const { code, severity } = error as { code?: unknown; severity?: unknown }
    // The other fields of PostgreSQL's errors (detail, where, ...) repeat the values of rows.
    if (severity !== undefined) description.sqlstate = String(code)
    else if (code !== undefined) description.code = String(code)
  }
  if (error.stack !== undefined) description.stack = stackOf(error, description.message)
  if (error.cause !== undefined && depth < deepestCause)
    description.cause = describeError(error.cause, depth + 1)
  return description
}

function stackOf(error: Error, message: string): string {
  const frames = (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line))
  return [`${error.name}: ${message}`, ...frames].join('\n')
}

function shownFacts(facts: Facts): Facts {
  const show = (value: unknown): unknown => {
    if (typeof value === 'bigint') return String(value)
    return typeof value === 'string' ? clean(value) : value
  }
  return Object.fromEntries(Object.entries(facts).map(([name, value]) => [name, show(value)]))
}

function fill(template: string, facts: Facts): string {
  const put = (part: string): string => part.replace(/\{(\w+)\}/g, (_, name) => String(facts[name] ?? '?'))
  const complete = (part: string): boolean =>
    [...part.matchAll(/\{(\w+)\}/g)].every(([, name]) => (facts[String(name)] ?? null) !== null)
  return template
    .split(/(\[[^\]]*\])/)
    .map((part) => (part.startsWith('[') ? (complete(part) ? put(part.slice(1, -1)) : '') : put(part)))
    .join('')
}

function clean(text: string): string {
  // A value can be megabytes long; scrubbing twenty times as much as is kept is enough.
  const scrubbed = scrub(text.slice(0, 20 * longestReason))
  return scrubbed.length > longestReason ? `${scrubbed.slice(0, longestReason)}…` : scrubbed
}
