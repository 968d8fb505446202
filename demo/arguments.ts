import { parseArgs } from 'node:util'
import { programArguments } from '../stack/arguments.ts'
import { StackProblem } from '../stack/problem.ts'

export interface DemoArguments {
  /** Until Ctrl-C when undefined. */
  seconds: number | undefined
  brokers: string | undefined
  database: string | undefined
  /** Messages a second. */
  rate: number
}

export const usage =
  'npm run demo [-- [--seconds N] [--rate ROWS-PER-SECOND] [--brokers HOST:PORT,...] [--database URL]]'

export function readArguments(): DemoArguments {
  try {
    const { values } = parseArgs({
      args: programArguments(),
      options: {
        seconds: { type: 'string' },
        rate: { type: 'string', default: '5000' },
        brokers: { type: 'string' },
        database: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    })
    if (values.help) {
      console.log(usage)
      process.exit(0)
    }
    return {
      seconds: values.seconds === undefined ? undefined : positive('--seconds', values.seconds),
      rate: positive('--rate', values.rate),
      brokers: values.brokers,
      database: values.database,
    }
  } catch (error) {
    throw new StackProblem(`${(error as Error).message}\n${usage}`)
  }
}

function positive(name: string, text: string): number {
  const value = Number(text)
  if (!(value > 0 && value < 1e9)) throw new Error(`${name} takes a number above 0`)
  return value
}
