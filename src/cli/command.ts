// A command line is understood completely before anything is done. What is not understood is named by its
// option only: the argument after it may be a URL with a password in it.

import { parseArgs } from 'node:util'
import { didYouMean } from '../config/suggest.ts'
import { MillraceError } from '../errors.ts'

export interface Option {
  /** What stands for the value in the help; none: the option is a switch. */
  value?: string
  multiple?: boolean
  about: string
}

export interface Command {
  name: string
  about: string
  /** Paragraphs for `--help`, after the options. */
  details?: string
  /** What has to be given without an option, in order. */
  arguments?: readonly string[]
  options: Readonly<Record<string, Option>>
  run(args: string[], env: NodeJS.ProcessEnv): Promise<number>
}

export class ParsedOptions {
  /** As many as the command takes. */
  readonly arguments: string[] = []
  readonly #values = new Map<string, string[]>()

  add(name: string, value: string): void {
    this.#values.set(name, [...this.values(name), value])
  }

  has(name: string): boolean {
    return this.#values.has(name)
  }

  value(name: string): string | undefined {
    return this.#values.get(name)?.at(-1)
  }

  values(name: string): string[] {
    return this.#values.get(name) ?? []
  }
}

/**
 * @throws MillraceError usage
 */
export function parseOptions(
  { name: command, options, arguments: wanted = [] }: Pick<Command, 'name' | 'options' | 'arguments'>,
  args: string[],
) {
  const kinds = Object.entries(options).map(([name, { value }]) => [
    name,
    { type: value === undefined ? 'boolean' : 'string' } as const,
  ])
  const { tokens } = parseArgs({ args, strict: false, tokens: true, options: Object.fromEntries(kinds) })
  const parsed = new ParsedOptions()
  for (const token of tokens) {
    if (token.kind !== 'option') continue
    const option = Object.hasOwn(options, token.name) ? options[token.name] : undefined
    const problem = option === undefined ? unknown(token.rawName, options) : misuse(token, option, parsed)
    if (problem !== null) throw new MillraceError('usage', { reason: `${command}: ${problem}` })
    parsed.add(token.name, token.value ?? '')
  }
  for (const token of tokens) if (token.kind === 'positional') parsed.arguments.push(token.value)
  const missing = wanted[parsed.arguments.length]
  if (missing !== undefined) {
    const form = [command, ...wanted].join(' ')
    throw new MillraceError('usage', { reason: `${command}: no ${missing} (millrace ${form})` })
  }
  const others = parsed.arguments.length - wanted.length
  if (others > 0) {
    const reason = `${command}: ${others === 1 ? 'an argument that belongs' : `${others} arguments that belong`} to no option`
    throw new MillraceError('usage', { reason })
  }
  return parsed
}

interface Token {
  name: string
  value?: string | undefined
  inlineValue?: boolean | undefined
}

function misuse(token: Token, option: Option, parsed: ParsedOptions): string | null {
  if (!option.multiple && parsed.has(token.name)) return `--${token.name} is given twice`
  if (option.value === undefined) return token.value === undefined ? null : `--${token.name} takes no value`
  const missing = !token.value || (!token.inlineValue && token.value.startsWith('-'))
  return missing ? `--${token.name} needs a value (--${token.name} ${option.value})` : null
}

function unknown(given: string, options: Readonly<Record<string, Option>>): string {
  const names = [...Object.keys(options), 'help'].map((name) => `--${name}`)
  return `no option ${given}${didYouMean(given, names)}`
}
