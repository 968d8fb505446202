// How far something is: on a terminal one line that is written over, elsewhere a line whenever it has changed, once a
// second at the most.

import { plain } from './table.ts'

const width = 30

/** Milliseconds between two lines where nothing is written over. */
const quiet = 1000

export class Progress {
  readonly #out: Pick<NodeJS.WriteStream, 'write' | 'isTTY'>
  #last = ''
  #lastAt = -Infinity

  constructor(out: Pick<NodeJS.WriteStream, 'write' | 'isTTY'>) {
    this.#out = out
  }

  /** @param remark what it waits for  @param unit what is counted, where that is not plain */
  show(done: number, of: number, failed: number, remark = '', unit = ''): void {
    const text = [
      `${done} of ${of}${unit ? ` ${unit}` : ''}`,
      ...(failed > 0 ? [`${failed} failed`] : []),
      ...(remark ? [plain(remark)] : []),
    ]
    const line = text.join(', ')
    if (line === this.#last) return
    if (this.#out.isTTY) this.#out.write(`\r\x1b[K${bar(done, of)} ${line}`)
    else if (performance.now() - this.#lastAt < quiet) return
    else this.#out.write(`${line}\n`)
    this.#last = line
    this.#lastAt = performance.now()
  }

  /** Leaves the line. */
  end(): void {
    if (this.#out.isTTY && this.#last !== '') this.#out.write('\n')
  }
}

function bar(done: number, of: number): string {
  const filled = of === 0 ? width : Math.floor((Math.min(done, of) / of) * width)
  return `[${'#'.repeat(filled)}${'.'.repeat(width - filled)}]`
}
