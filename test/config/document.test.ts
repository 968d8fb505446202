// docs/configuration.md shows exactly the settings that are read.

import { test } from 'node:test'
import { clusterSettings, type Setting, settings } from '../../src/config/settings.ts'
import { checkDocumentPart, documentTable } from '../support/document-part.ts'

function tableOf(title: string, rows: readonly Setting[], variable: (name: string) => string): string {
  const cells = rows.map(({ path, env, type, default: preset, about }) => [
    `\`${path}\``,
    env.map((name) => `\`${variable(name)}\``).join(' or '),
    type.name,
    preset === null ? '' : `\`${preset}\``,
    about,
  ])
  return documentTable([title, 'variable', 'value', 'default', ''], cells)
}

test('docs/configuration.md has the table of settings', () => {
  checkDocumentPart(
    'configuration.md',
    'settings',
    tableOf('setting', settings, (name) => name),
  )
})

test('docs/configuration.md has the table of cluster settings', () => {
  const table = tableOf('setting of a cluster', clusterSettings, (name) => `MILLRACE_KAFKA_${name}`)
  checkDocumentPart('configuration.md', 'clusters', table)
})
