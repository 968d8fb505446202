// What a record's time and headers look like in a column.

import { isUtf8 } from 'node:buffer'
import type { Header } from './message.ts'

const dayMs = 86_400_000

/**
 * As timestamptz reads it, in UTC: 2026-01-01 00:00:00.123+00. A time after the year 294276 is refused by PostgreSQL.
 * @param timestamp milliseconds since 1970, not negative
 */
export function timestampText(timestamp: number): string {
  const days = Math.floor(timestamp / dayMs)
  const ms = timestamp - days * dayMs
  const { year, month, day } = civil(days)
  const two = (n: number) => String(n).padStart(2, '0')
  const date = `${String(year).padStart(4, '0')}-${two(month)}-${two(day)}`
  const time = `${two(Math.floor(ms / 3_600_000))}:${two(Math.floor(ms / 60_000) % 60)}:${two(Math.floor(ms / 1000) % 60)}`
  return `${date} ${time}.${String(ms % 1000).padStart(3, '0')}+00`
}

/** The date of a day counted from 1970-01-01, in the Gregorian calendar: also beyond what Date can hold. */
function civil(days: number): { year: number; month: number; day: number } {
  // counted from 1 March of the year 0, in cycles of 400 years, so that a leap day is the last of its year
  const shifted = days + 719_468
  const era = Math.floor(shifted / 146_097)
  const dayOfEra = shifted - era * 146_097
  const yearOfEra = Math.floor(
    (dayOfEra -
      Math.floor(dayOfEra / 1460) +
      Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / 146_096)) /
      365,
  )
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  const shiftedMonth = Math.floor((5 * dayOfYear + 2) / 153)
  const day = dayOfYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
  return { year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day }
}

/**
 * An array in the order of the record, in which nothing is lost: {"name":"a","value":"b"}, a value null, and "hex"
 * instead of "value" where the bytes are no text that jsonb can hold. A name that is none is "name_hex".
 * @param ascii other characters are written as \u escapes, for a COPY in another encoding than UTF-8
 */
export function headersJson(headers: Header[], ascii: boolean): Buffer {
  const items = headers.map(([name, value]) => `{${member('name', name)},${member('value', value)}}`)
  const json = `[${items.join(',')}]`
  if (!ascii) return Buffer.from(json)
  const escaped = (c: string) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`
  return Buffer.from(json.replace(/[\u0080-\uffff]/g, escaped))
}

function member(key: 'name' | 'value', bytes: Buffer | null): string {
  if (bytes === null) return `"${key}":null`
  // JSON can say a NUL, jsonb cannot hold one
  if (isUtf8(bytes) && !bytes.includes(0)) return `"${key}":${JSON.stringify(bytes.toString())}`
  return `"${key === 'name' ? 'name_hex' : 'hex'}":"${bytes.toString('hex')}"`
}
