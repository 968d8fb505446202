// JSON as all sorts of producers write it: any order of keys, any whitespace, any way to escape.
import fc from 'fast-check'

/** A number is its text: JavaScript would round it. */
export type Json = null | boolean | string | { number: string } | Json[] | { object: [string, Json][] }

/** Chooses among `n`, differently each time. */
export type Choose = (n: number) => number

export const choices: fc.Arbitrary<Choose> = fc
  .array(fc.nat(1000), { minLength: 1, maxLength: 50 })
  .map((numbers) => {
    let i = 0
    return (n) => numbers[i++ % numbers.length]! % n
  })

export const strings = fc.string({ unit: fc.constantFrom(...'abN01 ,{}[]":\\/\b\f\n\r\t\'é€😀\u2028') })

export const numbers = fc.oneof(
  fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n).map(String),
  fc.tuple(fc.bigInt(-(10n ** 40n), 10n ** 40n), fc.bigInt(0n, 10n ** 20n)).map(([a, b]) => `${a}.${b}`),
  fc.constantFrom('0', '-0', '0.0', '1e10', '-1.5E-3', '1E+2'),
)

export const anything: fc.Arbitrary<Json> = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, depthIdentifier: 'json' },
    fc.constantFrom(null, true, false),
    strings,
    numbers.map((number) => ({ number })),
    fc.array(tie('value'), { maxLength: 3, depthIdentifier: 'json' }),
    fc
      .array(fc.tuple(strings, tie('value')), { maxLength: 3, depthIdentifier: 'json' })
      .map((object) => ({ object })),
  ),
})).value

export function textOf(value: Json, choose: Choose): string {
  if (value === null || typeof value === 'boolean') return String(value)
  if (typeof value === 'string') return stringText(value, choose)
  if ('number' in value) return value.number
  if (Array.isArray(value))
    return enclose(
      '[',
      value.map((item) => textOf(item, choose)),
      ']',
      choose,
    )
  const members = value.object.map(
    ([key, item]) => stringText(key, choose) + gap(choose) + ':' + gap(choose) + textOf(item, choose),
  )
  return enclose('{', members, '}', choose)
}

function enclose(open: string, items: string[], close: string, choose: Choose): string {
  return open + gap(choose) + items.map((item) => item + gap(choose)).join(',' + gap(choose)) + close
}

/** Usually nothing. */
function gap(choose: Choose): string {
  return ['', '', '', '', ' ', '\n', '\t', ' \r\n '][choose(8)]!
}

function stringText(text: string, choose: Choose): string {
  const letters: Record<string, string> = { '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't' }
  const units = text.split('').map((unit) => {
    const code = unit.charCodeAt(0)
    const must = code < 0x20 || unit === '"' || unit === '\\'
    const how = choose(8)
    if (how === 0) return `\\u${code.toString(16).padStart(4, '0')}`
    if (how === 1 && code < 0x80) return `\\u${code.toString(16).toUpperCase().padStart(4, '0')}`
    if (letters[unit]) return `\\${letters[unit]}`
    return must || (unit === '/' && how === 2) ? `\\${unit}` : unit
  })
  // half of a pair may be escaped only if the other half is, too
  return `"${units.join('').replace(/[\ud800-\udbff]\\u[dD][c-fC-F]..|\\u[dD][89abAB]..[\udc00-\udfff]/g, '😀')}"`
}
