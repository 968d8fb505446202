// How many snapshots of tables are open, for the console. All daemons share the work, so each of them tells all of it; only
// PostgreSQL knows, and is asked now and then by a daemon that somebody may look at.

import type { OpenSnapshots } from '../console/view.ts'
import type { Logger } from '../log.ts'
import type { Session } from '../postgres/session.ts'
import { openStates, type SnapshotState } from '../postgres/snapshot.ts'

/** Milliseconds from one look to the next. */
const interval = 5000

export interface SnapshotCountParts {
  /** Whether anybody can look. */
  watched: boolean
  log: Logger
}

export class SnapshotCount {
  readonly #parts: SnapshotCountParts
  /** performance.now() before which nobody is asked. */
  #askAt = 0

  constructor(parts: SnapshotCountParts) {
    this.#parts = parts
  }

  /** Tells `note` what there is, if it is time; null: it is not known. */
  async keep(session: Session, note: (found: OpenSnapshots | null) => void): Promise<void> {
    const { watched, log } = this.#parts
    if (!watched || performance.now() < this.#askAt) return
    this.#askAt = performance.now() + interval
    try {
      note(countOf(await session.query<Row>(openQuery, [openStates])))
    } catch (error) {
      note(null)
      log.debug({ err: error }, 'the snapshots could not be counted')
    }
  }
}

interface Row {
  [column: string]: unknown
  state: SnapshotState
  count: number
  done: number
  blocks: number
}

const openQuery = `
  SELECT state, count(*)::integer AS count, sum(blocks_done)::float8 AS done, sum(blocks)::float8 AS blocks
    FROM millrace.snapshots WHERE state = ANY ($1) GROUP BY state`

function countOf(rows: Row[]): OpenSnapshots {
  const sum = (column: 'done' | 'blocks') => rows.reduce((total, row) => total + row[column], 0)
  return {
    states: openStates.map((state) => [state, rows.find((row) => row.state === state)?.count ?? 0]),
    blocksDone: sum('done'),
    blocks: sum('blocks'),
  }
}
