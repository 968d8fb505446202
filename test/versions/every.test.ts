// Each supported version beside the one of all other tests has a file here, so that they run at the same time.
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { test } from 'node:test'
import { otherMajorVersions } from '../../stack/postgres-versions.ts'

test('every supported version is tested', () => {
  const files = readdirSync(new URL('.', import.meta.url)).filter((name) => name.startsWith('postgres-'))
  assert.deepEqual(files.sort(), otherMajorVersions.map((major) => `postgres-${major}.test.ts`).sort())
})
