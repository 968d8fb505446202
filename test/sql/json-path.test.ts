// A path that SQL takes is one that the daemon can read, and the other way round.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseJsonPath } from '../../src/formats/json-path.ts'
import { ownedDatabase } from '../support/owned-database.ts'

test('is_json_path agrees with the daemon’s parser', async (t) => {
  const { superuser } = await ownedDatabase(t)
  const piece = fc.constantFrom(
    ...[
      '$',
      '.',
      'a',
      'b1',
      '-',
      '_',
      '[',
      ']',
      '*',
      '[*]',
      '.*',
      "['a b']",
      '["x.y"]',
      "'",
      '"',
      '\\',
      ' ',
      '(',
      'é',
      '0',
      '.a',
      '?',
      '@',
    ],
  )
  const readable = (path: string): boolean => {
    try {
      parseJsonPath(path)
      return true
    } catch {
      return false
    }
  }
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(piece, { maxLength: 7 }), { minLength: 50, maxLength: 50 }),
      async (made) => {
        const paths = made.map((pieces) => pieces.join(''))
        const taken = await superuser.column('SELECT millrace.is_json_path(p) FROM unnest($1::text[]) AS p', [
          paths,
        ])
        assert.deepEqual(
          paths.filter((path, at) => taken[at] !== readable(path)),
          [],
        )
      },
    ),
    { numRuns: 100 },
  )
})
