// A value is read the same way whether it comes from the environment (text) or from a file (JSON). A reader
// answers with the value or with what is wrong with it, and never repeats a value that may be a secret.

import { Secret } from '../secret.ts'
import { didYouMean } from './suggest.ts'

export type Reading = { value: unknown } | { problem: string }

export interface ValueType {
  /** What docs and messages call it, with its unit and bounds. */
  name: string
  read(raw: unknown): Reading
}

const longestShown = 40

function shown(raw: unknown): string {
  const text = JSON.stringify(raw) ?? String(raw)
  return text.length > longestShown ? `${text.slice(0, longestShown)}…` : text
}

/** Bounds are in the unit that the value is kept in; `show` writes one as a person would. */
function bounded(
  name: string,
  [min, max]: [min: number, max: number],
  parse: (raw: unknown) => number | null,
  show: (value: number) => string,
): ValueType {
  const full = `${name}, ${show(min)} to ${show(max)}`
  return {
    name: full,
    read(raw) {
      const value = parse(raw)
      if (value === null) return { problem: `${shown(raw)} is not ${full}` }
      if (value < min) return { problem: `${shown(raw)} is less than ${show(min)}` }
      if (value > max) return { problem: `${shown(raw)} is more than ${show(max)}` }
      return { value }
    },
  }
}

export function integer(min: number, max: number): ValueType {
  const parse = (raw: unknown): number | null => {
    const value = typeof raw === 'string' && /^\d+$/.test(raw.trim()) ? Number(raw) : raw
    return typeof value === 'number' && Number.isSafeInteger(value) ? value : null
  }
  return bounded('a whole number', [min, max], parse, String)
}

const durationUnits = { ms: 1, s: 1000, min: 60_000, h: 3_600_000 }
const byteUnits = { B: 1, kB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 }

/** Milliseconds. */
export function duration(min: string, max: string): ValueType {
  const parse = (raw: unknown): number | null => quantity(raw, durationUnits)
  const show = (value: number): string => showQuantity(value, durationUnits)
  return bounded('a time (ms, s, min, h)', [parse(min)!, parse(max)!], parse, show)
}

/** Bytes; kB, MB and GB are powers of 1024, as in PostgreSQL. */
export function byteCount(min: string, max: string): ValueType {
  const parse = (raw: unknown): number | null => quantity(raw, byteUnits)
  const show = (value: number): string => showQuantity(value, byteUnits)
  return bounded('a size (B, kB, MB, GB)', [parse(min)!, parse(max)!], parse, show)
}

/** A number without a unit counts in the smallest one. */
function quantity(raw: unknown, units: Record<string, number>): number | null {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(
    typeof raw === 'number' ? String(raw) : textOf(raw),
  )
  if (match === null) return null
  const [, digits, unit] = match
  const known = Object.entries(units).find(([name]) => name.toLowerCase() === unit!.toLowerCase())
  if (unit !== '' && known === undefined) return null
  const value = Number(digits) * (known?.[1] ?? 1)
  return Number.isSafeInteger(value) ? value : null
}

function showQuantity(value: number, units: Record<string, number>): string {
  const fitting = Object.entries(units).filter(([, size]) => value % size === 0)
  const [unit, size] = fitting.at(-1)!
  return value === 0 ? '0' : `${value / size}${unit}`
}

function textOf(raw: unknown): string {
  return typeof raw === 'string' ? raw : ''
}

export function choice(options: readonly string[]): ValueType {
  const name = options.join(' | ')
  return {
    name,
    read(raw) {
      const found = options.find((option) => option.toLowerCase() === textOf(raw).trim().toLowerCase())
      if (found !== undefined) return { value: found }
      return { problem: `${shown(raw)} is none of ${options.join(', ')}${didYouMean(textOf(raw), options)}` }
    },
  }
}

const booleans: Record<string, boolean> = {
  true: true,
  on: true,
  yes: true,
  1: true,
  false: false,
  off: false,
  no: false,
  0: false,
}

export const boolean: ValueType = {
  name: 'true | false',
  read(raw) {
    const value = typeof raw === 'boolean' ? raw : booleans[textOf(raw).trim().toLowerCase()]
    return value === undefined ? { problem: `${shown(raw)} is neither true nor false` } : { value }
  },
}

export const text: ValueType = {
  name: 'text',
  read: (raw) =>
    typeof raw === 'string' && raw !== '' ? { value: raw } : { problem: 'must be text that is not empty' },
}

/** The path of a file; it is read when the configuration is loaded. */
export const path: ValueType = { name: 'path of a file', read: text.read }

export const secret: ValueType = {
  name: 'text (secret)',
  read(raw) {
    return typeof raw === 'string' && raw !== ''
      ? { value: new Secret(raw) }
      : { problem: 'must be text that is not empty' }
  },
}
