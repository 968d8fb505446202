// The rows of a batch: what its snapshot sees and the one before did not. Whoever was under way in the one before, or
// began after it, is looked for by the index; the snapshot itself decides.

import { literal } from '../postgres/literal.ts'
import { rowsOf } from './outbox-row.ts'

/** Sequential scans would be of everything that is not truncated yet; work_mem is for sorting a backlog. */
const settings = "SET LOCAL enable_seqscan = off; SET LOCAL work_mem = '64MB'"

/**
 * @param sent snapshot of what is sent  @param batch snapshot of the batch  @param from the last id that is passed
 * @param segments in which the batch is
 */
export function batchQuery(
  cluster: string,
  { sent, batch, segments }: { sent: string; batch: string; segments: number[] },
  from: string,
): string {
  const [, later, late] = sent.split(':') as [string, string, string]
  const fresh = [
    `xid >= ${literal(later)}::xid8`,
    ...(late ? [`xid = ANY (${literal(`{${late}}`)}::xid8[])`] : []),
  ]
  const parts = segments.flatMap((segment) =>
    fresh.map(
      (condition) => `${rowsOf(`millrace.outbox_${segment}`)}
       WHERE ${condition} AND cluster = ${literal(cluster)} AND id > ${BigInt(from)}
         AND pg_catalog.pg_visible_in_snapshot(xid, ${literal(batch)})`,
    ),
  )
  return copy(`${parts.join('\nUNION ALL\n')} ORDER BY id`)
}

/** @param condition on millrace.outbox_waiting */
export function waitingQuery(cluster: string, condition: string, most: number): string {
  return copy(`${rowsOf('millrace.outbox_waiting')}
    WHERE cluster = ${literal(cluster)} AND ${condition} ORDER BY id LIMIT ${most}`)
}

function copy(query: string): string {
  return `BEGIN READ ONLY; ${settings}; COPY (${query}) TO STDOUT (FORMAT binary); COMMIT`
}
