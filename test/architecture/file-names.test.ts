// A document names a file to be found: whatever it names exists. A name without a folder is that of one of the files
// named before it in the same document, or of a file beside one of them.
import assert from 'node:assert/strict'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const folders = ['bench', 'bin', 'demo', 'docs', 'extension', 'scripts', 'sql', 'src', 'stack', 'test']

/** Results of benchmarks are not kept; these stand for names that somebody chooses. */
const exempt = (path: string) => path.startsWith('bench/results') || /[A-Z]{4}/.test(path)

/** Names in code marks that are of this project's files and do not exist. */
function missingIn(text: string): string[] {
  const missing: string[] = []
  const known = new Set<string>()
  for (const [, name = ''] of text.matchAll(/`([\w./*-]+)`/g)) {
    const isPath = folders.includes(name.split('/')[0] ?? '') && name.includes('/')
    if (isPath && !exempt(name)) {
      if (name.includes('*') ? globSync(name, { cwd: root }).length === 0 : !existsSync(join(root, name)))
        missing.push(name)
      known.add(name.endsWith('/') ? name : `${dirname(name)}/`)
    }
    if (/^[\w-]+\.ts$/.test(name) && ![...known].some((folder) => existsSync(join(root, folder, name))))
      missing.push(name)
  }
  return missing
}

suite('file names in documents', () => {
  const documents = globSync(['*.md', 'docs/*.md'], { cwd: root })

  test('there are documents', () => {
    assert.ok(documents.map((path) => basename(path)).includes('how-it-works.md'))
  })

  for (const document of documents) {
    test(`${document}: every file that it names exists`, () => {
      assert.deepEqual(missingIn(readFileSync(join(root, document), 'utf8')), [])
    })
  }

  test('a name of no file is seen', () => {
    assert.deepEqual(missingIn('`src/inbound/pump.ts`, `src/nowhere/`, `test/*/none.ts`'), [
      'src/inbound/pump.ts',
      'src/nowhere/',
      'test/*/none.ts',
    ])
    assert.deepEqual(missingIn('`src/inbound/claim.ts`, `stream.ts`, `pump.ts`'), ['pump.ts'])
    assert.deepEqual(
      missingIn('`src/inbound/`, `claim.ts`, `sql/core/NNNN-name`, `bench/results/`, `a.b`'),
      [],
    )
  })
})
