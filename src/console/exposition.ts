// Prometheus' text format, written in slices: with a thousand consumers there are tens of thousands of lines, and
// the event loop, which also feeds COPY, is left alone every millisecond or two. (The usual client library writes them
// in one go: 100 ms and more.)
//
// https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format

import { setImmediate } from 'node:timers/promises'
import { scrub } from '../secret.ts'
import type { Histogram } from './histogram.ts'
import type { Metric } from './metrics.ts'

export const contentType = 'text/plain; version=0.0.4; charset=utf-8'

/** Milliseconds after which others get their turn. */
const sliceMilliseconds = 1

/** Calls of `pace` from one look at the clock to the next. */
const callsPerLook = 20

export class Exposition {
  readonly #clock: () => number
  readonly #chunks: Buffer[] = []
  #text = ''
  #calls = 0
  #since: number

  /** @param clock milliseconds */
  constructor(clock: () => number = () => performance.now()) {
    this.#clock = clock
    this.#since = clock()
  }

  /** Begins a family; its samples follow, and none of another. */
  begin({ name, type, help }: Metric): void {
    this.#text += `# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}\n# TYPE ${name} ${type}\n`
  }

  /** @param labels as `labelText` writes them; empty: none */
  sample(name: string, labels: string, value: number | bigint): void {
    this.#text += `${name}${labels === '' ? '' : `{${labels}}`} ${numberText(value)}\n`
  }

  histogram(name: string, values: Histogram): void {
    const { bounds, cumulative, count, sum } = values
    for (const [index, bound] of bounds.entries()) {
      this.sample(`${name}_bucket`, `le="${bound}"`, cumulative[index]!)
    }
    this.sample(`${name}_bucket`, 'le="+Inf"', count)
    this.sample(`${name}_sum`, '', sum)
    this.sample(`${name}_count`, '', count)
  }

  /** To be awaited between samples: lets others run when it is time. */
  pace(): Promise<void> | undefined {
    if (++this.#calls % callsPerLook !== 0) return undefined
    if (this.#clock() - this.#since < sliceMilliseconds) return undefined
    this.#flush()
    return setImmediate().then(() => {
      this.#since = this.#clock()
    })
  }

  /** All of it. */
  finish(): Buffer[] {
    this.#flush()
    return this.#chunks
  }

  #flush(): void {
    this.#chunks.push(Buffer.from(this.#text))
    this.#text = ''
  }
}

/** `a="x",b="y"`. The names of topics and relations are other people's: what may not be shown is taken out. */
export function labelText(labels: Record<string, string>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${escapeLabel(scrub(value))}"`)
    .join(',')
}

const escapes: Record<string, string> = { '\\': '\\\\', '"': '\\"', '\n': '\\n' }

function escapeLabel(value: string): string {
  return value.replace(/[\\"\n]/g, (character) => escapes[character] as string)
}

function numberText(value: number | bigint): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf'
  if (value === Number.NEGATIVE_INFINITY) return '-Inf'
  return String(value)
}
