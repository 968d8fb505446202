// Only what is written out is reachable from elsewhere.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { listenAddress } from '../../src/config/listen-address.ts'

const read = (raw: unknown) => listenAddress.read(raw)

test('addresses that are taken', () => {
  const taken: [raw: unknown, host: string, port: number][] = [
    ['9187', '127.0.0.1', 9187],
    [9187, '127.0.0.1', 9187],
    ['0', '127.0.0.1', 0],
    [' 127.0.0.1:9187 ', '127.0.0.1', 9187],
    ['localhost:80', 'localhost', 80],
    ['0.0.0.0:9187', '0.0.0.0', 9187],
    ['[::1]:9187', '::1', 9187],
    ['[::]:65535', '::', 65535],
    ['metrics.internal-1:9187', 'metrics.internal-1', 9187],
  ]
  for (const [raw, host, port] of taken) assert.deepEqual(read(raw), { value: { host, port } }, String(raw))
  for (const off of ['off', 'OFF', 'false', 'no', false]) assert.deepEqual(read(off), { value: null })
})

test('addresses that are refused', () => {
  const refused: [raw: unknown, problem: RegExp][] = [
    [':9187', /0\.0\.0\.0:9187 or \[::\]:9187/],
    ['*:9187', /0\.0\.0\.0:9187/],
    ['::1:9187', /names no address/],
    ['[1.2.3.4]:1', /names no address/],
    ['[::1', /names no address/],
    ['host', /is no port/],
    ['65536', /more than 65535/],
    ['127.0.0.1:99999', /more than 65535/],
    ['127.0.0.1:', /is no port/],
    ['-1', /is no port/],
    [1.5, /is no port/],
    [true, /is no port/],
    [null, /is no port/],
    [{}, /is no port/],
    ['http://127.0.0.1:9187', /names no address/],
    ['a b:9187', /names no address/],
  ]
  for (const [raw, problem] of refused) {
    const reading = read(raw)
    assert.ok('problem' in reading, String(raw))
    assert.match(reading.problem, problem)
  }
})
