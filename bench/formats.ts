// What a format costs per message, apart from everything else: the bytes of two million like messages, as they lie in
// record batches, through an encoder. Beside each stands the limit: copying the same bytes and nothing more.
//
// node bench/formats.ts [messages]

import { ChunkPool } from '../src/formats/chunk-pool.ts'
import { createFormat } from '../src/formats/create-format.ts'
import type { Column, Format, FormatOptions, PrefixField } from '../src/formats/format.ts'

interface Case {
  name: string
  /** ns per message */
  target: number | null
  options: Partial<FormatOptions>
  columns?: Column[]
  message: (i: number) => string
}

const messages = Number(process.argv[2] ?? 500_000)
const rounds = 9
const batch = 50_000
/** Bytes of a record around its value: attributes, deltas, lengths. */
const recordOverhead = 9
const pool = new ChunkPool()

const column = (name: string, type: Column['type'] = 'other'): Column => ({ name, type, hasDefault: false })
const five = ['id', 'name', 'city', 'price', 'at'].map((name) => column(name))
const at = '2024-05-06 07:08:09'
/** What a staging table has before each row. */
const staging: PrefixField[] = [
  { field: 'tag', column: 'tag' },
  { field: 'row', column: 'row' },
  { field: 'absent', column: 'absent' },
]

const cases: Case[] = [
  {
    name: 'text',
    target: 60,
    options: { format: 'text' },
    message: (i) => `${10_000_000 + i}\tname ${i % 1000}\tRotterdam\t${i / 8}\t${at}`,
  },
  {
    name: 'csv',
    target: 60,
    options: { format: 'csv' },
    message: (i) => `${10_000_000 + i},name ${i % 1000},Rotterdam,${i / 8},${at}`,
  },
  {
    name: 'csv, a quoted field',
    target: 180,
    options: { format: 'csv' },
    message: (i) => `${10_000_000 + i},"name ${i % 1000}",Rotterdam,${i / 8},${at}`,
  },
  {
    name: 'csv, CRLF inside quotes',
    target: 180,
    options: { format: 'csv' },
    message: (i) => `${10_000_000 + i},"name\r\n${i % 1000}",Rotterdam,${i / 8},${at}\r\n`,
  },
  {
    name: 'json into 5 columns',
    target: 350,
    options: { format: 'json' },
    columns: five,
    message: (i) =>
      JSON.stringify({ id: 10_000_000 + i, name: `name ${i % 1000}`, city: 'Rotterdam', price: i / 8, at }),
  },
  {
    name: 'json into 5 columns, escapes',
    target: null,
    options: { format: 'json' },
    columns: five,
    message: (i) =>
      JSON.stringify({ id: 10_000_000 + i, name: `"name" ${i % 1000}`, city: 'a\\b', price: i / 8, at }),
  },
  {
    name: 'json whole',
    target: null,
    options: { format: 'json' },
    columns: [column('document', 'jsonb')],
    message: (i) =>
      JSON.stringify({ id: 10_000_000 + i, name: `name ${i % 1000}`, city: 'Rotterdam', price: i / 8, at }),
  },
  {
    name: 'json into 5 columns, staged',
    target: null,
    options: { format: 'json', prefix: staging },
    columns: five,
    message: (i) =>
      JSON.stringify({ id: 10_000_000 + i, name: `name ${i % 1000}`, city: 'Rotterdam', price: i / 8, at }),
  },
  {
    name: 'csv, staged',
    target: null,
    options: { format: 'csv', prefix: staging.slice(0, 2) },
    message: (i) => `${10_000_000 + i},name ${i % 1000},Rotterdam,${i / 8},${at}`,
  },
]

for (const { name, target, options, columns = five, message } of cases) {
  const format = createFormat({
    format: 'text',
    delimiter: null,
    quote: null,
    escape: null,
    encoding: null,
    serverVersion: 180000,
    target: { schema: 'public', name: 'bench', columns },
    ...options,
  })
  const { bytes, bounds } = layOut(message)
  const spent: number[] = []
  const limit: number[] = []
  for (let round = 0; round < rounds; round++) {
    limit.push(time(() => copyAll(bytes, bounds)))
    spent.push(time(() => encodeAll(format, bytes, bounds)))
  }
  const length = (bytes.length / messages - recordOverhead).toFixed(0)
  const verdict =
    target === null ? '' : fastest(spent) <= target ? `(target ${target})` : `(MISSES ${target})`
  console.log(
    `${name.padEnd(30)} ${length.padStart(4)} bytes ${fastest(spent).toFixed(0).padStart(5)} ns`,
    `${verdict.padEnd(14)} copying alone ${fastest(limit).toFixed(0)} ns`,
  )
}

function layOut(message: (i: number) => string): { bytes: Buffer; bounds: Int32Array } {
  const values = Array.from({ length: messages }, (_, i) => Buffer.from(message(i)))
  const bytes = Buffer.alloc(values.reduce((sum, value) => sum + value.length + recordOverhead, 0))
  const bounds = new Int32Array(messages * 2)
  let p = 0
  for (const [i, value] of values.entries()) {
    bounds[2 * i] = p += recordOverhead
    bounds[2 * i + 1] = p += value.copy(bytes, p)
  }
  return { bytes, bounds }
}

function encodeAll(format: Format, bytes: Buffer, bounds: Int32Array): void {
  for (let first = 0; first < messages; first += batch) {
    const next = Math.min(first + batch, messages)
    const encoder = format.encoder(pool)
    for (let i = first; i < next; i++) encoder.append(bytes, bounds[2 * i]!, bounds[2 * i + 1]!, i)
    const encoded = encoder.finish()
    if (encoded.messages !== next - first)
      throw new Error(`message ${encoded.bad?.tag}: ${encoded.bad?.reason}`)
    for (const segment of encoded.segments) for (const chunk of segment.chunks) pool.give(chunk)
  }
}

function copyAll(bytes: Buffer, bounds: Int32Array): void {
  const chunk = Buffer.allocUnsafe(256 * 1024)
  let position = 0
  for (let i = 0; i < messages; i++) {
    const start = bounds[2 * i]!
    const end = bounds[2 * i + 1]!
    if (position + end - start + 1 > chunk.length) position = 0
    bytes.copy(chunk, position, start, end)
    position += end - start
    chunk[position++] = 10
  }
}

/** @returns ns per message */
function time(run: () => void): number {
  const start = process.hrtime.bigint()
  run()
  return Number(process.hrtime.bigint() - start) / messages
}

/** What else the machine does only ever adds to a time. */
function fastest(values: number[]): number {
  return Math.min(...values)
}
