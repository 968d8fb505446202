// Help is made from the table of commands, so it cannot say anything else than what is parsed.

import type { Command, Option } from './command.ts'
import { commands } from './commands.ts'

export function overview(): string {
  const rows = Object.values<Command>(commands).map(({ name, about }) => [name, about] as const)
  return `millrace: Kafka in and out of PostgreSQL, driven from SQL

Usage: millrace COMMAND [OPTION ...]

${columns([...rows, ['help [COMMAND]', 'show this, or the help of a command'], ['version', 'show the version']])}

millrace COMMAND --help shows the options of a command. Settings: docs/configuration.md. Errors: docs/errors.md.
`
}

export function helpFor(command: Command): string {
  const options = Object.entries(command.options).map(
    ([name, option]) => [optionForm(name, option), option.about] as const,
  )
  const paragraphs = [
    `millrace ${command.name}: ${command.about}`,
    `Usage: millrace ${[command.name, ...(command.arguments ?? [])].join(' ')} [OPTION ...]`,
    columns([...options, ['--help', 'show this']]),
  ]
  if (command.details !== undefined) paragraphs.push(command.details)
  return `${paragraphs.join('\n\n')}\n`
}

function optionForm(name: string, { value, multiple }: Option): string {
  return `--${name}${value === undefined ? '' : ` ${value}`}${multiple ? ' ...' : ''}`
}

function columns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([left]) => left.length))
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`).join('\n')
}
