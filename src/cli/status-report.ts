// How a status reads: for people one table with a line for each partition, then what is wrong in full; for
// programs JSON in which counts and offsets are numbers with all their digits.

import { errorCodes, isErrorCode, MillraceError } from '../errors.ts'
import type { ConsumerStatus, OutboxStatus, PartitionStatus, Status } from '../postgres/status.ts'
import { snapshotLines } from './snapshot-report.ts'
import { type Column, plain, table } from './table.ts'

const columns: readonly Column[] = [
  { title: 'CLUSTER', align: 'left' },
  { title: 'TOPIC', align: 'left' },
  { title: 'TARGET', align: 'left' },
  { title: 'STATE', align: 'left' },
  { title: 'ROWS/S', align: 'right' },
  { title: 'PARTITION', align: 'right' },
  { title: 'POSITION', align: 'right' },
  { title: 'END', align: 'right' },
  { title: 'LAG', align: 'right' },
  { title: 'SEEN', align: 'right' },
]

export function statusText(status: Status): string {
  const { daemonConnected, identityChanged, consumers, outbox, snapshots } = status
  const lines = consumers.length === 0 ? ['No consumers.'] : table(columns, consumers.flatMap(rowsOf))
  for (const consumer of consumers) lines.push(...remarksOn(consumer))
  for (const one of outbox) lines.push('', ...remarksOnOutbox(one))
  if (snapshots.length > 0) lines.push('', 'Snapshots of tables:', ...snapshotLines(snapshots))
  if (identityChanged !== null) {
    const { message, hint } = new MillraceError('identity-changed', { reason: identityChanged })
    lines.push('', plain(`identity-changed: ${message}`), `  hint: ${hint}`)
  }
  if (!daemonConnected) lines.push('', 'No daemon is connected to this database.')
  return `${lines.join('\n')}\n`
}

function rowsOf(consumer: ConsumerStatus): string[][] {
  const { cluster, topic, target, state, rowsPerSecond, partitions, lag } = consumer
  const first = [cluster, topic, target, state, rowsPerSecond === null ? '-' : rowsPerSecond.toFixed(1)]
  if (partitions.length === 0) return [[...first, '-', '-', '-', lag ?? '-', '-']]
  const rest = first.map(() => '')
  return partitions.map((partition, index) => [...(index === 0 ? first : rest), ...cellsOf(partition)])
}

function cellsOf({ partition, position, high, lag, age }: PartitionStatus): string[] {
  return [String(partition), position, high ?? '-', lag ?? '-', age === null ? '-' : `${ageOf(age)} ago`]
}

/** In the largest unit that it fills twice, so that no more than half of it is cut off. */
function ageOf(seconds: number): string {
  const units = [
    ['d', 86_400],
    ['h', 3600],
    ['m', 60],
  ] as const
  const [unit, length] = units.find(([, length]) => seconds >= 2 * length) ?? ['s', 1]
  return `${Math.max(0, Math.floor(seconds / length))}${unit}`
}

function remarksOn({ topic, target, state, error, warning }: ConsumerStatus): string[] {
  const name = `${topic} into ${target}`
  const lines = warning === null ? [] : ['', plain(`${name}: warning: ${warning}`)]
  if (error === null) return lines
  const { code, sqlstate, partition, offset, at, message } = error
  const place = [
    sqlstate === null ? [] : `SQLSTATE ${sqlstate}`,
    partition === null ? [] : `partition ${partition}`,
    offset === null ? [] : `offset ${offset}`,
    at === null ? [] : at.toISOString(),
  ].flat()
  lines.push('', plain(`${name}: ${state}: ${[code, ...place].join(', ')}`), `  ${plain(message)}`)
  if (isErrorCode(code)) lines.push(`  hint: ${errorCodes[code].hint}`)
  return lines
}

function remarksOnOutbox(status: OutboxStatus): string[] {
  const { cluster, backlog, waiting, waitingKeys, waitingId, waitingCode, waitingMessage } = status
  const { errorCode, errorMessage, deadLetters, oldestAge, leaseAge } = status
  const age = oldestAge === null ? '' : `, the oldest for ${ageOf(oldestAge)}`
  const lines = [
    `outbox for ${plain(cluster)}: ${backlog} not sent${age}, ${waiting} waiting (keys: ${waitingKeys})`,
    ...(deadLetters === '0' ? [] : [`  ${deadLetters} dead letters (millrace.outbox_dead_letters)`]),
    ...(leaseAge === null ? ['  no daemon sends'] : []),
  ]
  if (waitingCode !== null)
    lines.push(`  message ${waitingId} waits: ${waitingCode}`, `    ${plain(waitingMessage ?? '')}`)
  if (errorCode !== null) lines.push(`  ${errorCode}`, `    ${plain(errorMessage ?? '')}`)
  for (const code of [waitingCode, errorCode]) {
    if (code !== null && isErrorCode(code)) lines.push(`  hint: ${errorCodes[code].hint}`)
  }
  return lines
}

// In the JSON of a status these are numbers; PostgreSQL's bigint has more digits than a JavaScript number keeps.
const numbers = new Set(
  'id messages skipped lag position low high offset backlog waiting waitingKeys waitingId deadLetters rows blocksDone blocks'.split(
    ' ',
  ),
)

const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown }

export function statusJson(status: Status): string {
  const exact = (key: string, value: unknown): unknown =>
    numbers.has(key) && typeof value === 'string' ? rawJSON(value) : value
  return `${JSON.stringify(status, exact, 2)}\n`
}
