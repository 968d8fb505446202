// From where a consumer has begun, been moved to and stands now follows what it has read, how often and in which order. Where
// it stood when it was moved only the database knows: that is taken from there, and proven by what the table then holds.
import type { Entry, TopicLog } from './topic-log.ts'

/** A recorded start or move of a partition, as millrace.batch has it. */
export interface Move {
  kind: string
  from: number
  to: number
}

/** Offsets read one after the other; `to` is exclusive. */
export interface Pass {
  partition: number
  from: number
  to: number
}

export interface Standing {
  moves: Move[]
  /** Null: the partition has not been begun. */
  position: number | null
}

/**
 * @param asked where the partition was to be moved to, in this order
 * @param pending whether the last move that was asked for may still be to come
 * @throws Error when what is recorded is not what was asked for
 */
export function passesOf(
  partition: number,
  { moves, position }: Standing,
  asked: number[],
  pending: boolean,
  end: number,
): Pass[] {
  const where = `partition ${partition}, position ${position}, end ${end}, moves ${moves.map(shown).join(' ')}, asked ${asked}`
  if (position === null) {
    if (moves.length > 0) throw new Error(`${where}: moved without a position`)
    return []
  }
  const [start, ...jumps] = moves
  if (start?.kind !== 'start') throw new Error(`${where}: no start`)
  if (jumps.some(({ kind }) => kind !== 'seek')) throw new Error(`${where}: nobody asked for that`)
  if (
    !isAsked(
      start.to,
      jumps.map(({ to }) => to),
      asked,
      pending,
    )
  )
    throw new Error(`${where}: not what was asked for`)
  const passes: Pass[] = []
  let at = start.to
  for (const { from, to } of jumps) {
    passes.push({ partition, from: at, to: from })
    at = to
  }
  passes.push({ partition, from: at, to: position })
  if (passes.some(({ from, to }) => to < from || to > end)) throw new Error(`${where}: went back, or too far`)
  return passes
}

/** A partition begins at its beginning, or where the first move brings it that it has seen. */
function isAsked(start: number, jumps: number[], asked: number[], pending: boolean): boolean {
  const done = pending ? [asked, asked.slice(0, -1)] : [asked]
  return done.some((list) => {
    if (start === 0 && same(jumps, list)) return true
    return list[0] === start && same(jumps, list.slice(1))
  })
}

function same(a: number[], b: number[]): boolean {
  return a.length === b.length && a.every((value, index) => value === b[index])
}

function shown({ kind, from, to }: Move): string {
  return `${kind}:${from}>${to}`
}

export interface Passed {
  partition: number
  offset: number
  entry: Entry
}

/** Everything that was read; a partition's in the order in which it was. */
export function* entriesOf(log: TopicLog, passes: Pass[]): Generator<Passed> {
  for (const { partition, from, to } of passes) {
    const entries = log.partitions[partition]!
    for (let offset = from; offset < to; offset++) yield { partition, offset, entry: entries[offset]! }
  }
}

/** How often each offset was passed that is of this kind, as lines `partition from-to xTimes`. */
export function rangesOf(log: TopicLog, passes: Pass[], kind: Entry['kind']): string[] {
  return linesOf(
    log,
    timesOf(log, passes, ({ entry }) => entry.kind === kind),
  )
}

/** By partition and offset. */
type Times = number[][]

function timesOf(log: TopicLog, passes: Pass[], counts: (passed: Passed, pass: Pass) => boolean): Times {
  const times = log.partitions.map((entries) => entries.map(() => 0))
  for (const pass of passes) {
    for (const passed of entriesOf(log, [pass])) {
      if (counts(passed, pass)) times[passed.partition]![passed.offset]!++
    }
  }
  return times
}

function linesOf(log: TopicLog, times: Times): string[] {
  const lines: string[] = []
  for (const partition of log.partitions.keys()) {
    const row = times[partition]!
    for (let from = 0; from < row.length; ) {
      let to = from + 1
      while (to < row.length && row[to] === row[from]) to++
      if (row[from]! > 0) lines.push(`${partition} ${from}-${to} x${row[from]}`)
      from = to
    }
  }
  return lines.sort()
}

/**
 * The dead letters, as such lines, are those of the bad messages: one for each time that it was passed; where a later message
 * of its key was read in the same pass, it may have been in the same batch, and there is none.
 * @throws Error when they are not
 */
export function checkDeadLetters(what: string, log: TopicLog, passes: Pass[], found: string[]): void {
  const most = timesOf(log, passes, ({ entry }) => entry.kind === 'bad')
  const least = timesOf(
    log,
    passes,
    (passed, pass) => passed.entry.kind === 'bad' && !isSuperseded(log, passed, pass),
  )
  for (const line of found) {
    const [partition, from, to, times] = numbersOf(line)
    for (let offset = from!; offset < to!; offset++) {
      // what may be either way counts as it was found
      const [fewest = 0, many = 0] = [least[partition!]?.[offset], most[partition!]?.[offset]]
      if (fewest <= times! && times! <= many) least[partition!]![offset] = times!
    }
  }
  sameLines(what, found, linesOf(log, least))
}

function isSuperseded(log: TopicLog, { partition, offset, entry }: Passed, { to }: Pass): boolean {
  if (entry.kind !== 'bad' || entry.key === undefined) return false
  const later = log.partitions[partition]!.slice(offset + 1, to)
  return later.some((other) => 'key' in other && other.key === entry.key)
}

function numbersOf(line: string): number[] {
  return /^(\d+) (\d+)-(\d+) x(\d+)$/.exec(line)!.slice(1).map(Number)
}

/** How many times altogether. */
export function sumOf(lines: string[]): number {
  return lines.reduce((sum, line) => {
    const [, from, to, times] = numbersOf(line)
    return sum + (to! - from!) * times!
  }, 0)
}

/**
 * The same lines, of a table.
 * @param offset its column, as SQL
 */
export function rangesQuery(table: string, partition: string, offset: string, condition = 'true'): string {
  return `
    SELECT p || ' ' || min(o) || '-' || max(o) + 1 || ' x' || times AS line FROM (
      SELECT ${partition} AS p, ${offset} AS o, count(*) AS times,
             ${offset} - row_number() OVER (PARTITION BY ${partition}, count(*) ORDER BY ${offset}) AS island
        FROM ${table} WHERE ${condition} GROUP BY 1, 2) AS counted
    GROUP BY p, times, island`
}

/** @throws Error that names what is in only one of the lists */
export function sameLines(what: string, found: string[], expected: string[]): void {
  const [there, wanted] = [new Set(found), new Set(expected)]
  const more = found.filter((line) => !wanted.has(line))
  const less = expected.filter((line) => !there.has(line))
  if (more.length === 0 && less.length === 0 && found.length === expected.length) return
  const some = (lines: string[]) => `${lines.slice(0, 8).join(', ')}${lines.length > 8 ? ', ...' : ''}`
  throw new Error(`${what}: found [${some(more)}], expected [${some(less)}]`)
}
