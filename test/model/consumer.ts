// One consumer, what was asked of it, and the comparison of what the database holds with what it must.
import { verifyProblems } from './findings.ts'
import {
  checkDeadLetters,
  type Move,
  type Pass,
  passesOf,
  rangesOf,
  rangesQuery,
  type Standing,
  sameLines,
  sumOf,
} from './passes.ts'
import type { TopicLog } from './topic-log.ts'
import type { Query, Way } from './way.ts'

export class Consumer {
  readonly way: Way
  readonly log: TopicLog
  readonly id: string
  paused = false
  /** A move was asked for and has not been waited for. */
  pending = false
  /** By partition: where it was to be moved to. */
  readonly #asked: number[][]
  /** By partition: the position that no crash may undo, until the next move. */
  readonly #floors = new Map<number, number>()

  constructor(way: Way, log: TopicLog, id: string) {
    this.way = way
    this.log = log
    this.id = id
    this.#asked = log.partitions.map(() => [])
  }

  async addPartition(): Promise<void> {
    await this.log.addPartition()
    this.#asked.push([])
  }

  /** @param partition null: all of them */
  noteMove(partition: number | null, to: number): void {
    this.pending = true
    this.#floors.clear()
    for (const [index, asked] of this.#asked.entries())
      if (partition === null || partition === index) asked.push(to)
  }

  noteFloor(partition: number, position: number): void {
    this.#floors.set(partition, position)
  }

  get moves(): number {
    return this.#asked.reduce((sum, { length }) => sum + length, 0)
  }

  /**
   * In one snapshot: rows and dead letters are what was read, once for each time, and nothing else.
   * @throws Error when they are not
   */
  async check(query: Query): Promise<void> {
    const passes = await this.#passes(query)
    await this.way.check(query, this.log, passes)
    checkDeadLetters(`dead letters of ${this.way.table}`, this.log, passes, await this.#deadLetters(query))
  }

  async #deadLetters(query: Query): Promise<string[]> {
    const own = `consumer_id = ${this.id}`
    const { rows } = await query(rangesQuery('millrace.dead_letter', 'partition', '"offset"', own))
    return rows.map(({ line }) => String(line)).sort()
  }

  /** After it has read everything: what it says of itself is true as well. */
  async checkSettled(query: Query): Promise<void> {
    await this.check(query)
    const { rows: standing } = await query(
      `SELECT partition || ' ' || next_offset AS line FROM millrace.position WHERE consumer_id = $1`,
      [this.id],
    )
    const ends = this.log.partitions.map(({ length }, partition) => `${partition} ${length}`)
    sameLines(
      `positions of ${this.way.table}`,
      standing.map(({ line }) => String(line)),
      ends,
    )
    const problems = await verifyProblems(query, this.id)
    sameLines(`verify of ${this.way.table}`, problems, [])
    await this.#checkCounts(query)
  }

  /** Each commit's counts, which survive merging, add up to what was read. */
  async #checkCounts(query: Query): Promise<void> {
    const passes = await this.#passes(query)
    const offsets = passes.reduce((sum, { from, to }) => sum + to - from, 0)
    const all = (['good', 'tombstone', 'bad', 'empty'] as const).map((kind) =>
      sumOf(rangesOf(this.log, passes, kind)),
    )
    const dead = sumOf(await this.#deadLetters(query))
    const messages = all.reduce((sum, count) => sum + count) - dead
    const { rows } = await query(
      `SELECT coalesce(sum(to_offset - from_offset), 0)::int AS offsets, coalesce(sum(messages + skipped), 0)::int AS messages,
              coalesce(sum(dead_letters), 0)::int AS dead FROM millrace.batch WHERE consumer_id = $1 AND kind = 'load'`,
      [this.id],
    )
    const found = Object.values(rows[0]!).map(String)
    sameLines(
      `offsets, messages and dead letters of the batches of ${this.way.table}`,
      [found.join(' ')],
      [[offsets, messages, dead].join(' ')],
    )
  }

  async #passes(query: Query): Promise<Pass[]> {
    const { rows: states } = await query(
      `SELECT c.start_pending, c.way, f.code, f.message FROM millrace.consumer AS c
         LEFT JOIN millrace.failure AS f ON f.consumer_id = c.id AND f.version = c.version WHERE c.id = $1`,
      [this.id],
    )
    const [state] = states
    if (state?.code) throw new Error(`${this.way.table} failed: ${state.code}: ${state.message}`)
    if (state?.way !== this.way.expected) throw new Error(`${this.way.table} is loaded ${state?.way}`)
    const standing = await this.#standing(query)
    return this.log.partitions.flatMap((entries, partition) => {
      const found = standing.get(partition) ?? { moves: [], position: null }
      const floor = this.#floors.get(partition)
      if (floor !== undefined && (found.position ?? 0) < floor)
        throw new Error(
          `${this.way.table}, partition ${partition}: flushed up to ${floor}, now at ${found.position}`,
        )
      try {
        return passesOf(
          partition,
          found,
          this.#asked[partition]!,
          state.start_pending === true,
          entries.length,
        )
      } catch (error) {
        throw new Error(`${this.way.table}: ${(error as Error).message}`)
      }
    })
  }

  async #standing(query: Query): Promise<Map<number, Standing>> {
    const { rows: moves } = await query(
      `SELECT partition, kind, from_offset::int AS from, to_offset::int AS to FROM millrace.batch
        WHERE consumer_id = $1 AND kind <> 'load' ORDER BY id`,
      [this.id],
    )
    const { rows: positions } = await query(
      'SELECT partition, next_offset::int AS position FROM millrace.position WHERE consumer_id = $1',
      [this.id],
    )
    const standing = new Map<number, Standing>()
    const of = (partition: number): Standing => {
      const present = standing.get(partition) ?? { moves: [], position: null }
      standing.set(partition, present)
      return present
    }
    for (const { partition, ...move } of moves) of(partition as number).moves.push(move as unknown as Move)
    for (const { partition, position } of positions) of(partition as number).position = position as number
    return standing
  }
}
