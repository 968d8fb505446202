// The same facts for a terminal, redrawn in place, and for a file or a pipe, one plain line a second.
import type { Sample } from './sample.ts'

export interface Scene {
  topic: string
  table: string
  /** What to type next. */
  hints: string[]
}

export interface Display {
  /** A line that stays. */
  say(line: string): void
  show(sample: Sample, history: number[]): void
  /** The last picture stays; what is said afterwards comes below it. */
  close(): void
}

const number = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 })
export const grouped = (value: number): string => number.format(value)

export function createDisplay(scene: Scene): Display {
  return process.stdout.isTTY ? new Terminal(scene) : new Lines()
}

class Lines implements Display {
  say(line: string): void {
    console.log(line)
  }

  show(sample: Sample): void {
    const lag = sample.partitions.map((one) => `${one.partition}: ${one.lag ?? '?'}`).join(', ')
    const facts = [
      `${sample.seconds.toFixed(0)} s`,
      `${grouped(sample.rowsPerSecond)} rows/s`,
      `${grouped(sample.rows)} rows`,
      `lag by partition {${lag}}`,
      sample.state,
      ...(sample.problem ? [sample.problem] : []),
    ]
    console.log(facts.join('  '))
  }

  close(): void {}
}

const plain = process.env.NO_COLOR !== undefined && process.env.NO_COLOR !== ''
const paint = (code: number, text: string): string => (plain ? text : `\x1b[${code}m${text}\x1b[0m`)
const bold = (text: string): string => paint(1, text)
const dim = (text: string): string => paint(2, text)
const red = (text: string): string => paint(31, text)
const green = (text: string): string => paint(32, text)
const cyan = (text: string): string => paint(36, text)

const bars = '▁▂▃▄▅▆▇█'

class Terminal implements Display {
  readonly #scene: Scene
  #height = 0

  constructor(scene: Scene) {
    this.#scene = scene
    process.stdout.write('\x1b[?25l')
    process.once('exit', () => process.stdout.write('\x1b[?25h'))
  }

  say(line: string): void {
    console.log(line)
  }

  show(sample: Sample, history: number[]): void {
    const lines = this.#picture(sample, history)
    const columns = process.stdout.columns || 80
    const text = lines.map((line) => `${clip(line, columns)}\x1b[K\n`).join('')
    process.stdout.write(`${this.#up()}${text}\x1b[J`)
    this.#height = lines.length
  }

  close(): void {
    this.#height = 0
    process.stdout.write('\x1b[?25h')
  }

  #up(): string {
    return this.#height > 0 ? `\x1b[${this.#height}A` : ''
  }

  #picture(sample: Sample, history: number[]): string[] {
    const { topic, table, hints } = this.#scene
    const state = sample.state === 'running' ? green('● running') : cyan(`● ${sample.state}`)
    const total = sample.partitions.reduce((sum, one) => sum + (one.lag ?? 0), 0)
    const widest = Math.max(1, ...sample.partitions.map((one) => one.lag ?? 0))
    return [
      '',
      `  ${bold('millrace')}  ${topic} ${dim('──▶')} ${table}   ${sample.problem ? red(`● ${sample.state}`) : state}   ${dim(`${sample.seconds.toFixed(0)} s`)}`,
      '',
      `  ${bold(grouped(sample.rowsPerSecond).padStart(9))} rows/s   ${cyan(sparkline(history))}`,
      `  ${bold(grouped(sample.rows).padStart(9))} rows in ${table}`,
      `  ${bold(grouped(total).padStart(9))} messages behind ${dim(`of ${grouped(sample.sent)} sent`)}`,
      '',
      dim('  partition   next offset       lag'),
      ...sample.partitions.map(({ partition, nextOffset, lag }) => {
        const bar = '▪'.repeat(Math.round(((lag ?? 0) / widest) * (lag ? 12 : 0)))
        const cells = [String(partition).padStart(11), grouped(nextOffset).padStart(14)]
        return `${cells.join('')}${(lag === null ? '?' : grouped(lag)).padStart(10)}  ${dim(bar)}`
      }),
      ...(sample.problem ? ['', `  ${red(sample.problem)}`] : []),
      '',
      dim('  type next, in another terminal:'),
      ...hints.map((hint) => `  ${hint}`),
      '',
      dim('  Ctrl-C ends the demo and removes what it made'),
    ]
  }
}

function sparkline(history: number[]): string {
  const highest = Math.max(1, ...history)
  return history.map((value) => bars[Math.round((value / highest) * (bars.length - 1))]).join('')
}

/** Cuts a line to the terminal's width: a wrapped one would take two lines and spoil the next redraw. */
function clip(line: string, columns: number): string {
  let visible = 0
  let result = ''
  for (const [part] of line.matchAll(/\x1b\[\d+m|./gu)) {
    const colour = part.startsWith('\x1b')
    if (!colour && ++visible > columns) continue
    result += part
  }
  return result
}
