// Sizes and times are what people get wrong by a factor of a thousand: each unit, each bound, and every text
// that only looks like one.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { boolean, byteCount, choice, duration, integer, secret, text } from '../../src/config/value.ts'

const size = byteCount('8MB', '64GB')
const time = duration('100ms', '10min')

describe('a size', () => {
  for (const [raw, bytes] of [
    ['64MB', 67_108_864],
    ['64 mb', 67_108_864],
    ['1GB', 1_073_741_824],
    ['1.5GB', 1_610_612_736],
    ['8192kB', 8_388_608],
    ['8388608', 8_388_608],
    ['8388608B', 8_388_608],
    [8_388_608, 8_388_608],
  ] as const) {
    test(`${JSON.stringify(raw)} is ${bytes} bytes`, () => assert.deepEqual(size.read(raw), { value: bytes }))
  }

  for (const raw of [
    '',
    'MB',
    '-64MB',
    '64MBs',
    '64 M B',
    '1e9',
    '0x10',
    'Infinity',
    'NaN',
    null,
    true,
    [],
    {},
    1.5,
  ]) {
    test(`${JSON.stringify(raw)} is none`, () => {
      const reading = size.read(raw)
      assert.ok('problem' in reading && reading.problem.includes('a size (B, kB, MB, GB), 8MB to 64GB'))
    })
  }

  test('has bounds that are part of it', () => {
    assert.deepEqual(size.read('8MB'), { value: 8 * 1024 ** 2 })
    assert.deepEqual(size.read('64GB'), { value: 64 * 1024 ** 3 })
    assert.deepEqual(size.read('8388607'), { problem: '"8388607" is less than 8MB' })
    assert.deepEqual(size.read('65GB'), { problem: '"65GB" is more than 64GB' })
  })
})

test('a time is in milliseconds unless it says otherwise', () => {
  for (const [raw, milliseconds] of [
    ['250', 250],
    [250, 250],
    ['250ms', 250],
    ['10s', 10_000],
    ['0.5 s', 500],
    ['2min', 120_000],
  ] as const) {
    assert.deepEqual(time.read(raw), { value: milliseconds }, String(raw))
  }
  assert.ok('problem' in time.read('10m'))
  assert.ok('problem' in time.read('99ms'))
})

test('a whole number is one whether text or JSON', () => {
  const count = integer(3, 1000)
  assert.deepEqual(count.read('8'), { value: 8 })
  assert.deepEqual(count.read(8), { value: 8 })
  for (const raw of ['2', 1001, '8.0', 8.5, '0x8', '', ' ', null, true])
    assert.ok('problem' in count.read(raw), String(raw))
})

test('a choice knows its options in any case, and the one that was meant', () => {
  const level = choice(['debug', 'info', 'warn'])
  assert.deepEqual(level.read('WARN'), { value: 'warn' })
  assert.deepEqual(level.read('wran'), {
    problem: '"wran" is none of debug, info, warn (did you mean warn?)',
  })
})

test('true and false have their usual spellings', () => {
  for (const raw of [true, 'true', 'ON', 'yes', '1']) assert.deepEqual(boolean.read(raw), { value: true })
  for (const raw of [false, 'false', 'Off', 'no', '0']) assert.deepEqual(boolean.read(raw), { value: false })
  for (const raw of ['', 'maybe', 2, null]) assert.ok('problem' in boolean.read(raw))
})

test('a reader answers for anything that JSON can hold, and never repeats much of it', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (raw) => {
      for (const type of [size, time, text, boolean, secret, choice(['a', 'b']), integer(0, 9)]) {
        const reading = type.read(raw)
        assert.ok('value' in reading || reading.problem.length < 200)
      }
    }),
  )
})

test('a secret is not repeated when it is malformed', () => {
  for (const raw of [['sentinel'], { password: 'sentinel' }, 12345678]) {
    const reading = secret.read(raw)
    assert.ok('problem' in reading && !/sentinel|12345678/.test(reading.problem))
  }
})
