// Dead letters as `salvage` takes them: each is a span of one record batch of one record. Two that stand at the same
// offset (after a seek back) are never in one batch: what fails is told by its place.

import type { RecordBatch } from '../kafka/record-batch.ts'
import { recordBatchOf } from '../kafka/stored-message.ts'
import type { Session } from '../postgres/session.ts'
import type { FetchedSpan } from './walk.ts'

/** At the most so many letters and, where there is more than one, so many bytes are loaded in one transaction. */
const most = { letters: 1000, bytes: 8 * 1024 * 1024 }

export interface LetterBatch {
  spans: FetchedSpan[]
  /** Of each span. */
  ids: string[]
  /** That their keys, values and headers have. */
  bytes: number
}

interface LetterRow {
  [column: string]: unknown
  id: string
  partition: number
  offset: string
  timestamp: string | null
  key: Buffer | null
  value: Buffer | null
  headers: (Buffer | null)[] | null
}

/** Those after `after`, locked in the open transaction; none are left where there are no spans. */
export async function takeLetters(
  session: Session,
  request: string,
  consumer: string,
  after: string,
): Promise<LetterBatch> {
  const rows = await session.query<LetterRow>(nextLetters, [
    request,
    consumer,
    after,
    most.letters,
    most.bytes,
  ])
  const places = new Set<string>()
  const repeated = rows.findIndex(
    ({ partition, offset }, index) => places.add(`${partition}/${offset}`).size <= index,
  )
  const taken = repeated < 0 ? rows : rows.slice(0, repeated)
  const batches = taken.map(batchOf)
  return {
    spans: taken.map(({ partition, offset }, index) => {
      const from = BigInt(offset)
      return { partition, from, to: from + 1n, leaderEpoch: -1, batches: [batches[index] as RecordBatch] }
    }),
    ids: taken.map(({ id }) => id),
    bytes: batches.reduce((sum, { payload }) => sum + payload.length, 0),
  }
}

function batchOf({ offset, timestamp, key, value, headers }: LetterRow): RecordBatch {
  return recordBatchOf({
    offset: BigInt(offset),
    timestamp: timestamp === null ? -1 : Number(timestamp),
    key,
    value,
    headers: headers ?? [],
  })
}

/** A window and a lock do not go together. */
const nextLetters = `
  WITH next AS (
    SELECT d.id, coalesce(octet_length(d.key), 0) + coalesce(octet_length(d.value), 0) AS bytes
      FROM millrace.dead_letter AS d
     WHERE d.replay_id = $1 AND d.consumer_id = $2 AND d.id > $3
     ORDER BY d.id LIMIT $4),
  sized AS (SELECT n.id, n.bytes, sum(n.bytes) OVER (ORDER BY n.id) AS total FROM next AS n)
  SELECT d.id, d.partition, d."offset", d.key, d.value, d.headers,
         pg_catalog.round(EXTRACT(epoch FROM d."timestamp") * 1000)::int8 AS timestamp
    FROM millrace.dead_letter AS d
   WHERE d.replay_id = $1 AND d.consumer_id = $2 AND d.id > $3
     AND d.id <= (SELECT max(s.id) FROM sized AS s WHERE s.total <= $5 OR s.total = s.bytes)
   ORDER BY d.id FOR UPDATE`
