// Bytes that COPY refuses whatever they are read into: a NUL, and in UTF-8 what is no character.

import { isUtf8 } from 'node:buffer'
import { rejected } from './field-splitter.ts'
import type { Fault } from './rows.ts'

/** @param isUnicode the encoding is UTF-8; of others only a NUL is known to be wrong. @returns null, or COPY's words */
export function invalidText(bytes: Buffer, encoding: string, isUnicode: boolean): Fault | null {
  const nul = bytes.indexOf(0)
  if (nul < 0 && (!isUnicode || isUtf8(bytes))) return null
  const at = isUnicode ? firstInvalid(bytes) : nul
  const length = isUnicode ? Math.min(lengthOf(bytes[at]!), bytes.length - at) : 1
  const hex = Array.from(bytes.subarray(at, at + length), (byte) => `0x${byte.toString(16).padStart(2, '0')}`)
  return { ...rejected('22021', `invalid byte sequence for encoding "${encoding}": ${hex.join(' ')}`), at }
}

/** Where the first character is that is none. */
function firstInvalid(bytes: Buffer): number {
  for (let at = 0; at < bytes.length; ) {
    const length = lengthOf(bytes[at]!)
    if (bytes[at] === 0 || !isUtf8(bytes.subarray(at, at + length))) return at
    at += length
  }
  return bytes.length
}

/** Bytes of the character that begins with this one, as PostgreSQL counts them. */
function lengthOf(byte: number): number {
  if ((byte & 0xe0) === 0xc0) return 2
  if ((byte & 0xf0) === 0xe0) return 3
  return (byte & 0xf8) === 0xf0 ? 4 : 1
}
