import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { environment } from '../support/millrace.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

test('the bootstrap passes arguments and the exit code, and runs the Node of the project', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-test-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const program = join(folder, 'program.mts')
  writeFileSync(
    program,
    `const given: string[] = process.argv.slice(2)
     console.log(JSON.stringify({ given, version: process.version }))
     process.exit(7)`,
  )
  const args = ['--env-file', '/nowhere', '', 'two words', "it's", '--', '-x']
  const run = spawnSync(join(root, 'scripts', 'start'), [relative(root, program), ...args], {
    env: environment(),
    encoding: 'utf8',
  })
  assert.equal(run.status, 7, run.stderr)
  const { given, version } = JSON.parse(run.stdout)
  assert.deepEqual(given, ['--', ...args])
  assert.equal(version.split('.')[0], 'v24')
})
