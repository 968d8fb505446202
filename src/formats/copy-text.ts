// One field of COPY's text format at a time, made of JSON: the field means exactly the value that the JSON says. The
// caller makes room first: a byte of JSON becomes at most two bytes, or four inside an array.

import type { ChunkWriter } from './chunk-writer.ts'
import type { ColumnType } from './format.ts'
import {
  backslash,
  closeBracket,
  codeUnit,
  comma,
  openBrace,
  openBracket,
  quote,
  space,
} from './json-scanner.ts'

const semicolon = 0x3b

/** What follows the backslash that a byte is escaped with; 0: it stands for itself. */
export const copyEscapes = new Uint8Array(256)
for (const [byte, letter] of ['\\\\', '\tt', '\nn', '\rr'].map((pair) => Buffer.from(pair))) {
  copyEscapes[byte!] = letter!
}

/** What a letter after a backslash stands for in JSON; u apart. */
const jsonEscapes = new Uint8Array(256)
for (const [letter, byte] of ['""', '\\\\', '//', 'b\b', 'f\f', 'n\n', 'r\r', 't\t'].map((pair) =>
  Buffer.from(pair),
)) {
  jsonEscapes[letter!] = byte!
}

/** Bytes as they are. */
export function writeBytes(out: ChunkWriter, bytes: Buffer, start: number, end: number): void {
  let p = start
  for (;;) {
    const from = p
    while (p < end && copyEscapes[bytes[p]!] === 0) p++
    out.copy(bytes, from, p - from)
    if (p === end) return
    writeByte(out, bytes[p++]!, false)
  }
}

/** The text that a JSON string stands for. @param start after its opening quote @param end at its closing quote */
export function writeString(
  out: ChunkWriter,
  bytes: Buffer,
  start: number,
  end: number,
  inArray: boolean,
): void {
  for (let p = start; ; ) {
    const from = p
    while (p < end && bytes[p] !== backslash) p++
    out.copy(bytes, from, p - from)
    if (p === end) return
    if (bytes[p + 1] === 0x75) {
      p = writeCodePoint(out, bytes, p, end, inArray)
    } else {
      writeByte(out, jsonEscapes[bytes[p + 1]!]!, inArray)
      p += 2
    }
  }
}

/**
 * A JSON array as PostgreSQL's array literal. Objects in it are their JSON text.
 * @param type in a json-array strings are JSON text too; the boxes of a box-array are separated by semicolons
 */
export function writeArray(
  out: ChunkWriter,
  bytes: Buffer,
  start: number,
  end: number,
  type: ColumnType,
): void {
  const json = type === 'json-array'
  const separator = type === 'box-array' ? semicolon : comma
  for (let p = start; p < end; ) {
    const byte = bytes[p]!
    if (byte <= space) {
      p++
    } else if (byte === openBracket || byte === closeBracket) {
      // the brace is 0x20 after the bracket, for both
      out.chunk[out.position++] = byte + 0x20
      p++
    } else if (byte === quote) {
      const stop = stringEnd(bytes, p)
      out.chunk[out.position++] = quote
      if (json) writeInArray(out, bytes, p, stop)
      else writeString(out, bytes, p + 1, stop - 1, true)
      out.chunk[out.position++] = quote
      p = stop
    } else if (byte === openBrace) {
      const stop = objectEnd(bytes, p)
      out.chunk[out.position++] = quote
      writeInArray(out, bytes, p, stop)
      out.chunk[out.position++] = quote
      p = stop
    } else if (byte === 0x6e) {
      for (const letter of [0x4e, 0x55, 0x4c, 0x4c]) out.chunk[out.position++] = letter
      p += 4
    } else if (byte === comma) {
      out.chunk[out.position++] = separator
      p++
    } else {
      // a number, true, false
      out.chunk[out.position++] = byte
      p++
    }
  }
}

/** Bytes as they are, between the quotes of an array's element. */
function writeInArray(out: ChunkWriter, bytes: Buffer, start: number, end: number): void {
  for (let p = start; p < end; p++) writeByte(out, bytes[p]!, true)
}

function writeByte(out: ChunkWriter, byte: number, inArray: boolean): void {
  const chunk = out.chunk
  const letter = copyEscapes[byte]!
  if (letter === 0) {
    if (inArray && byte === quote) {
      chunk[out.position++] = backslash
      chunk[out.position++] = backslash
    }
    chunk[out.position++] = byte
    return
  }
  if (inArray && byte === backslash) {
    chunk[out.position++] = backslash
    chunk[out.position++] = backslash
  }
  chunk[out.position++] = backslash
  chunk[out.position++] = letter
}

/** A \uXXXX, or two that are a surrogate pair. @returns what follows */
function writeCodePoint(out: ChunkWriter, bytes: Buffer, p: number, end: number, inArray: boolean): number {
  const unit = codeUnit(bytes, p, end)
  if (unit < 0x80) {
    writeByte(out, unit, inArray)
    return p + 6
  }
  const pair = unit >= 0xd800 && unit <= 0xdbff
  const point = pair ? 0x10000 + ((unit - 0xd800) << 10) + (codeUnit(bytes, p + 6, end) - 0xdc00) : unit
  const chunk = out.chunk
  if (point < 0x800) {
    chunk[out.position++] = 0xc0 | (point >> 6)
  } else {
    if (point < 0x10000) {
      chunk[out.position++] = 0xe0 | (point >> 12)
    } else {
      chunk[out.position++] = 0xf0 | (point >> 18)
      chunk[out.position++] = 0x80 | ((point >> 12) & 0x3f)
    }
    chunk[out.position++] = 0x80 | ((point >> 6) & 0x3f)
  }
  chunk[out.position++] = 0x80 | (point & 0x3f)
  return p + (pair ? 12 : 6)
}

/** After the string that begins at `p`, which is valid. */
function stringEnd(bytes: Buffer, p: number): number {
  p++
  while (bytes[p] !== quote) p += bytes[p] === backslash ? 2 : 1
  return p + 1
}

/** After the object that begins at `p`, which is valid. */
function objectEnd(bytes: Buffer, p: number): number {
  let depth = 0
  do {
    const byte = bytes[p]!
    if (byte === quote) {
      p = stringEnd(bytes, p)
      continue
    }
    if (byte === openBrace) depth++
    else if (byte === openBrace + 2) depth--
    p++
  } while (depth > 0)
  return p
}
