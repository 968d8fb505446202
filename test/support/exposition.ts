// Reads Prometheus' text format (0.0.4) and takes nothing that the format does not allow: what Prometheus would
// forgive is an error here.
// https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
import assert from 'node:assert/strict'

export interface Sample {
  name: string
  labels: Record<string, string>
  /** As it stands there: positions go past 2^53. */
  text: string
  value: number
}

export interface Family {
  name: string
  type: string
  help: string
  samples: Sample[]
}

/** @throws AssertionError with the line that is wrong */
export function parseExposition(text: string): Map<string, Family> {
  assert.ok(text.endsWith('\n'), 'the last line does not end')
  const families = new Map<string, Family>()
  let family = null as Family | null
  let help = null as { name: string; text: string } | null
  for (const line of text.slice(0, -1).split('\n')) {
    const comment = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line)
    if (comment?.[1] === 'HELP') {
      assert.equal(help, null, `HELP without TYPE before: ${line}`)
      help = { name: comment[2]!, text: comment[3]! }
      assert.match(help.text, /^(?:[^\\]|\\[\\n])*$/, line)
    } else if (comment) {
      const [, , name, type] = comment
      assert.equal(help?.name, name, `TYPE without its HELP: ${line}`)
      assert.ok(['counter', 'gauge', 'histogram', 'summary', 'untyped'].includes(type!), line)
      assert.ok(!families.has(name!), `a second time: ${line}`)
      family = { name: name!, type: type!, help: help!.text, samples: [] }
      families.set(name!, family)
      help = null
    } else {
      assert.ok(family && help === null, `a sample outside of its family: ${line}`)
      const sample = parseSample(line)
      assert.ok(belongs(sample.name, family), `not of ${family.name}: ${line}`)
      family.samples.push(sample)
    }
  }
  assert.equal(help, null)
  for (const one of families.values()) checkFamily(one)
  return families
}

function belongs(name: string, { name: family, type }: Family): boolean {
  if (type !== 'histogram') return name === family
  return ['_bucket', '_sum', '_count'].some((ending) => name === family + ending)
}

const sampleLine =
  /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)+)\})? ([-+]?(?:\d+(?:\.\d+)?(?:e[-+]?\d+)?|Inf)|NaN)$/

function parseSample(line: string): Sample {
  const found = sampleLine.exec(line)
  assert.ok(found, `no sample: ${line}`)
  const [, name, list = '', text] = found
  const labels: Record<string, string> = {}
  let read = 0
  for (const [whole, label, value] of list.matchAll(/([a-zA-Z0-9_]+)="((?:[^"\\]|\\.)*)"(?:,(?=.)|$)/g)) {
    assert.ok(!(label! in labels), `the label ${label} twice: ${line}`)
    read += whole.length
    labels[label!] = value!.replace(/\\(.)/g, (_, escaped) => (escaped === 'n' ? '\n' : escaped))
  }
  assert.equal(read, list.length, `labels: ${line}`)
  return { name: name!, labels, text: text!, value: Number(text!.replace('Inf', 'Infinity')) }
}

function checkFamily({ name, type, samples }: Family): void {
  const keys = samples.map((sample) => JSON.stringify([sample.name, Object.entries(sample.labels).sort()]))
  assert.equal(new Set(keys).size, keys.length, `${name} has a series twice`)
  assert.equal(name.endsWith('_total'), type === 'counter', `${name} is a ${type}`)
  assert.doesNotMatch(name, /_(bucket|sum|count)$/)
  if (type === 'counter') for (const { value } of samples) assert.ok(value >= 0, name)
  if (type !== 'histogram') return
  const buckets = samples.filter((sample) => sample.name.endsWith('_bucket'))
  const bounds = buckets.map(({ labels }) => Number(labels.le!.replace('Inf', 'Infinity')))
  assert.deepEqual(
    bounds,
    bounds.toSorted((a, b) => a - b),
    name,
  )
  assert.equal(bounds.at(-1), Number.POSITIVE_INFINITY, name)
  const counts = buckets.map(({ value }) => value)
  assert.deepEqual(
    counts,
    counts.toSorted((a, b) => a - b),
    name,
  )
  assert.equal(samples.find((sample) => sample.name === `${name}_count`)?.value, counts.at(-1), name)
  assert.ok(
    samples.some((sample) => sample.name === `${name}_sum`),
    name,
  )
}

/** The one sample of the name with these labels. */
export function sampleOf(
  families: Map<string, Family>,
  name: string,
  labels: Record<string, string> = {},
): Sample {
  const found = samplesOf(families, name, labels)
  assert.equal(found.length, 1, `${name} ${JSON.stringify(labels)}: ${found.length} series`)
  return found[0]!
}

export function samplesOf(
  families: Map<string, Family>,
  name: string,
  labels: Record<string, string> = {},
): Sample[] {
  const wanted = Object.entries(labels)
  return [...families.values()]
    .flatMap(({ samples }) => samples)
    .filter((sample) => sample.name === name && wanted.every(([key, value]) => sample.labels[key] === value))
}
