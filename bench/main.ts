// npm run bench [-- NAME...]: each bench/NAME.bench.ts measures something beside its limit in the same run. Its
// results go to bench/results/NAME.json and, as a table, to the terminal; the exit code tells whether all hold.
import { globSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { programArguments } from '../stack/arguments.ts'
import { reportAndExit, StackProblem } from '../stack/problem.ts'
import { shutdownBySignal } from '../stack/shutdown.ts'

export interface Measurement {
  case: string
  value: number
  /** Of `value`: s, ms, MB, %, ... */
  unit: string
  /** The limit's value by this one's where there is a limit: 1 is as good as the limit. */
  ratio?: number | null
  /** What `ratio`, or `value` where there is no ratio, has to reach or to stay under. */
  target?: number | null
  /** Left out by a figure that is only for information. */
  holds?: boolean
}

const folder = fileURLToPath(new URL('.', import.meta.url))
const ending = '.bench.ts'

shutdownBySignal()
  .unlessRequested(main())
  .then((holds) => process.exit(holds ? 0 : 1), reportAndExit)

async function main(): Promise<boolean> {
  const present = globSync(`*${ending}`, { cwd: folder })
    .map((file) => basename(file, ending))
    .sort()
  const asked = programArguments()
  const unknown = asked.find((name) => !present.includes(name))
  if (unknown !== undefined)
    throw new StackProblem(`no benchmark ${unknown}; there is: ${present.join(', ')}`)
  let holds = true
  for (const name of asked.length > 0 ? asked : present) {
    console.log(`benchmark ${name}`)
    const { run }: { run: () => Promise<Measurement[]> } = await import(`./${name}${ending}`)
    const results = (await run()).map(complete)
    const file = join(folder, 'results', `${name}.json`)
    await mkdir(join(folder, 'results'), { recursive: true })
    await writeFile(file, `${JSON.stringify(results, null, 2)}\n`)
    console.log(`\n${table(results)}\n\nwritten to ${file}\n`)
    holds &&= results.length > 0 && results.every((result) => result.holds)
  }
  return holds
}

/** Every result is written with the same properties in the same order. */
function complete({ case: name, value, unit, ratio, target, holds }: Measurement): Required<Measurement> {
  return { case: name, value, unit, ratio: ratio ?? null, target: target ?? null, holds: holds ?? true }
}

function table(results: Required<Measurement>[]): string {
  const header = ['case', 'value', 'unit', 'ratio', 'target', '']
  const rows = results.map((result) => [
    result.case,
    figure(result.value),
    result.unit,
    figure(result.ratio),
    figure(result.target),
    result.target === null ? '' : result.holds ? 'holds' : 'MISSED',
  ])
  const widths = header.map((_, column) => Math.max(...[header, ...rows].map((row) => row[column]!.length)))
  const numeric = [1, 3, 4]
  const line = (row: string[]): string =>
    row
      .map((cell, column) =>
        numeric.includes(column) ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!),
      )
      .join('  ')
      .trimEnd()
  return [header, ...rows].map(line).join('\n')
}

function figure(value: number | null): string {
  if (value === null) return ''
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)))
}
