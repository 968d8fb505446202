// A suggestion is for a slip of the hand. One that is far off would send its reader the wrong way.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { suggest } from '../../src/config/suggest.ts'

const known = ['log.level', 'log.format', 'retry.min', 'daemon.memoryBudget']

for (const [given, meant] of [
  ['log.levle', 'log.level'],
  ['logLevel', 'log.level'],
  ['LOG_LEVEL', 'log.level'],
  ['log.leve', 'log.level'],
  ['deamon.memoryBudget', 'daemon.memoryBudget'],
  ['rety.mni', 'retry.min'],
  ['colour', null],
  ['', null],
  ['x', null],
] as const) {
  test(`${given || 'nothing'} means ${meant}`, () => assert.equal(suggest(given, known), meant))
}
