// docs/cli.md shows the help and the exit codes as they are.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { commands } from '../../src/cli/commands.ts'
import { exitCodeMeanings, exitCodes } from '../../src/cli/exit-codes.ts'
import { helpFor, overview } from '../../src/cli/help.ts'
import { checkDocumentPart, documentTable } from '../support/document-part.ts'

const block = (text: string): string => `\`\`\`\n${text}\`\`\`\n`

function exitCodeTable(): string {
  const names = Object.keys(exitCodes) as (keyof typeof exitCodes)[]
  const rows = names.map((name) => [String(exitCodes[name]), exitCodeMeanings[name]])
  rows.push(['130, 143', 'A second SIGINT or SIGTERM ended the daemon at once.'])
  return documentTable(['code', ''], rows)
}

const parts: Record<string, string> = {
  overview: block(overview()),
  'exit codes': exitCodeTable(),
  ...Object.fromEntries(Object.values(commands).map((command) => [command.name, block(helpFor(command))])),
}

for (const [name, text] of Object.entries(parts)) {
  test(`docs/cli.md shows ${name} as it is`, () => checkDocumentPart('cli.md', name, text))
}

test('help fits a terminal of 120 columns', () => {
  for (const text of Object.values(parts)) {
    if (text.startsWith('|')) continue
    for (const line of text.split('\n')) assert.ok(line.length <= 120, line)
  }
})
