// Imports go downwards only, as the design's layout says: a lower layer never knows who uses it, capabilities
// never reach sideways, and each client library has one importer.
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { dirname, join, normalize } from 'node:path'
import { suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

// The name of a folder below src/, or of a file directly in it. Whatever stands on a line may import what
// stands on a later line, and nothing else but its own folder.
const layers: string[][] = [
  ['cli'],
  ['daemon'],
  ['inbound', 'outbound', 'gateway', 'tasks', 'console'],
  ['kafka', 'kinesis', 'postgres'],
  ['pipeline', 'formats'],
  ['config'],
]

/** Known to everybody, knowing nobody above them. */
const bottom = ['errors', 'error-codes', 'failpoint', 'log', 'secret', 'version']

/** Pure: they know no socket, no setting and no log. */
const pure: Record<string, string[]> = { pipeline: ['errors'], formats: ['errors'] }

const libraries: Record<string, string> = { '@platformatic/kafka': 'kafka', pg: 'postgres', pino: 'log' }

/** The one file that imports a library, where what has to be done first is done. */
const doors: Record<string, string> = { '@platformatic/kafka': 'src/kafka/library.ts' }

interface Import {
  from: string
  specifier: string
}

const imports = globSync('src/**/*.ts', { cwd: root })
  .sort()
  .flatMap((from) =>
    specifiersIn(readFileSync(join(root, from), 'utf8')).map((specifier) => ({ from, specifier })),
  )

/** Static imports and re-exports, with or without `type`, and dynamic imports of a literal. */
function specifiersIn(source: string): string[] {
  const statement = /^\s*(?:import|export)\b[^'"`;]*?\bfrom\s*['"]([^'"]+)['"]/gm
  const bare = /^\s*import\s*['"]([^'"]+)['"]/gm
  const dynamic = /\bimport\(\s*['"]([^'"]+)['"]/g
  return [statement, bare, dynamic].flatMap((pattern) =>
    [...source.matchAll(pattern)].map((match) => match[1]!),
  )
}

/** src/kafka/fetch.ts → kafka; src/errors.ts → errors. */
function unitOf(path: string): string {
  return path.split('/')[1]!.replace(/\.ts$/, '')
}

function problemOf({ from, specifier }: Import): string | null {
  return specifier.startsWith('.') ? relativeProblem(from, specifier) : packageProblem(from, specifier)
}

function relativeProblem(from: string, specifier: string): string | null {
  const target = normalize(join(dirname(from), specifier))
  if (!target.startsWith('src/')) return 'leaves src/'
  if (!target.endsWith('.ts')) return 'does not end in .ts'
  const [user, used] = [unitOf(from), unitOf(target)]
  if (user === used) return null
  if (bottom.includes(user)) return bottom.includes(used) ? null : `${user} is at the bottom`
  const userLayer = layers.findIndex((layer) => layer.includes(user))
  if (userLayer < 0) return `${user} has no layer`
  if (pure[user]) return pure[user].includes(used) ? null : `${user} is pure and imports only ${pure[user]}`
  if (bottom.includes(used)) return null
  const usedLayer = layers.findIndex((layer) => layer.includes(used))
  if (usedLayer < 0) return `${used} has no layer`
  if (usedLayer === userLayer) return `${user} and ${used} stand side by side`
  return usedLayer > userLayer ? null : `${used} is above ${user}`
}

function packageProblem(from: string, specifier: string): string | null {
  if (specifier.startsWith('node:')) return null
  if (builtinModules.includes(specifier)) return `write node:${specifier}`
  const name = specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')
  const owner = libraries[name]
  if (!owner) return `${name} is no dependency that src may use`
  const door = doors[name]
  if (door && from !== door) return `${name} is imported by way of ${door}`
  return unitOf(from) === owner ? null : `only ${owner} imports ${name}`
}

suite('imports', () => {
  test('go downwards only', () => {
    const problems = imports.flatMap((one) => {
      const problem = problemOf(one)
      return problem ? [`${one.from} imports ${one.specifier}: ${problem}`] : []
    })
    assert.deepEqual(problems, [])
  })

  test('the rules see what they are meant to see', () => {
    const refused: [from: string, specifier: string][] = [
      ['src/kafka/fetch.ts', '../inbound/pump.ts'],
      ['src/inbound/pump.ts', '../outbound/relay.ts'],
      ['src/kafka/fetch.ts', '../postgres/copy.ts'],
      ['src/formats/csv.ts', '../log.ts'],
      ['src/formats/csv.ts', '../config/settings.ts'],
      ['src/pipeline/state.ts', '../formats/csv.ts'],
      ['src/errors.ts', './config/settings.ts'],
      ['src/inbound/pump.ts', 'pg'],
      ['src/daemon/run.ts', '@platformatic/kafka'],
      ['src/kafka/fetch.ts', '@platformatic/kafka'],
      ['src/cli/run.ts', 'fs'],
      ['src/cli/run.ts', '../../stack/postgres.ts'],
      ['src/cli/run.ts', '../daemon/run'],
      ['src/unheard-of/file.ts', '../errors.ts'],
    ]
    for (const [from, specifier] of refused) {
      assert.notEqual(problemOf({ from, specifier }), null, `${from} imports ${specifier}`)
    }
    const allowed: [from: string, specifier: string][] = [
      ['src/cli/run.ts', '../daemon/run.ts'],
      ['src/cli/run.ts', '../config/settings.ts'],
      ['src/inbound/pump.ts', '../kafka/fetch.ts'],
      ['src/inbound/pump.ts', './position.ts'],
      ['src/postgres/copy.ts', '../log.ts'],
      ['src/postgres/copy.ts', 'pg'],
      ['src/kafka/library.ts', '@platformatic/kafka'],
      ['src/formats/csv.ts', '../errors.ts'],
    ]
    for (const [from, specifier] of allowed) {
      assert.equal(problemOf({ from, specifier }), null, `${from} imports ${specifier}`)
    }
  })

  test('every way of writing an import is seen', () => {
    const source = `
import a from './a.ts'
import type { B } from './b.ts'
import {
  c,
  type D,
} from './c.ts'
import './d.ts'
export { e } from './e.ts'
export type * from './f.ts'
const g = await import('./g.ts')
`
    const found = specifiersIn(source).sort()
    assert.deepEqual(found, ['./a.ts', './b.ts', './c.ts', './d.ts', './e.ts', './f.ts', './g.ts'])
  })

  test('there is something to check', () => {
    assert.ok(imports.length > 0)
  })
})
