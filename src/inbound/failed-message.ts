// Messages that fail one by one come from the server in blocks, each a few values however many messages it has.

/** A message that failed by itself. */
export interface FailedMessage {
  tag: number
  sqlstate: string
  reason: string
}

/** Of as many messages as have tags one after the other. */
export const messagesOfBlock = 512

/** Characters of PostgreSQL's message that are kept. */
export const longestReason = 2000

/** Of functions that take messages one by one: of each that fails. */
export const failedTable = 'millrace_failed_tag bigint, millrace_sqlstate text, millrace_reason text'
export const failedColumns = `millrace_failed_tag AS tag, millrace_sqlstate AS sqlstate,
  pg_catalog.left(millrace_reason, ${longestReason}) AS reason`

/** Messages in order; one with several rows that fail is there several times. */
export interface FailedBlock extends Record<string, unknown> {
  tags: number[]
  sqlstates: string[]
  reasons: string[]
}

/** In the order of the messages. Of one with several rows that fail, the first reason counts. */
export function failedMessages(blocks: FailedBlock[]): FailedMessage[] {
  const failed: FailedMessage[] = []
  let last = -1
  for (const { tags, sqlstates, reasons } of blocks) {
    for (const [index, tag] of tags.entries()) {
      if (tag === last) continue
      last = tag
      failed.push({ tag, sqlstate: sqlstates[index] as string, reason: reasons[index] as string })
    }
  }
  return failed
}
