// The rows of the inbound benchmark: about 55 bytes each (bigint, text, text, double precision, timestamp), the
// same ones for every format and for the limit.

export const rowCount = 2_000_000

export const rowTable = 'id bigint, account text, note text, amount double precision, at timestamp'

export type RowFormat = 'text' | 'csv' | 'json'

export function row(format: RowFormat, i: number): string {
  const account = `account-${String(i % 5000).padStart(5, '0')}`
  const note = `note ${i % 97}`
  const amount = (i % 1_000_003) / 8
  const at = `2026-03-${String(1 + (i % 28)).padStart(2, '0')} 12:${String(i % 60).padStart(2, '0')}:00`
  if (format === 'json') {
    return `{"id":${i},"account":"${account}","note":"${note}","amount":${amount},"at":"${at}"}`
  }
  return [i, account, note, amount, at].join(format === 'csv' ? ',' : '\t')
}
