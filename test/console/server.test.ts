// What the port answers to those who ask properly, and to those who do not.

import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { type ConsoleOptions, ConsoleServer } from '../../src/console/server.ts'
import type { Check, DaemonView } from '../../src/console/view.ts'
import { isMillraceError } from '../../src/errors.ts'
import { createLog } from '../../src/log.ts'
import { afterwards, type Cleanup } from '../support/cleanup.ts'
import { eventually } from '../support/eventually.ts'
import { parseExposition } from '../support/exposition.ts'
import { daemonView } from './daemon-view.ts'

async function serve(t: Cleanup, view: DaemonView = daemonView(), more: Partial<ConsoleOptions> = {}) {
  const lines: string[] = []
  const log = createLog({ write: (line) => lines.push(line) })
  const options = { listen: { host: '127.0.0.1', port: 0 }, partitions: true, ...more }
  const server = await ConsoleServer.open(options, view, log)
  afterwards(t, () => server.close())
  const ask = (path: string, init?: RequestInit) => fetch(`http://${server.address}${path}`, init)
  return { server, ask, lines }
}

/** A connection that says exactly this. */
async function raw(t: Cleanup, address: string, text: string | Buffer) {
  const [host, port] = address.split(':') as [string, string]
  const socket: Socket = connect({ host, port: Number(port) })
  afterwards(t, () => socket.destroy())
  let answer = ''
  let open = true
  socket.setEncoding('utf8').on('data', (data) => (answer += data))
  socket.on('error', () => {})
  socket.on('close', () => (open = false))
  socket.write(text)
  return { socket, answer: () => answer, open: () => open }
}

test('pages, methods and paths', async (t) => {
  const { ask } = await serve(t)
  const alive = await ask('/healthz')
  assert.deepEqual([alive.status, await alive.text()], [200, 'ok\n'])
  const page = await ask('/metrics?name=x')
  assert.equal(page.status, 200)
  assert.equal(page.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8')
  assert.equal(page.headers.get('cache-control'), 'no-store')
  const text = await page.text()
  assert.equal(Number(page.headers.get('content-length')), Buffer.byteLength(text))
  assert.ok(parseExposition(text).size > 20)

  const head = await ask('/metrics', { method: 'HEAD' })
  assert.deepEqual([head.status, await head.text()], [200, ''])
  assert.ok(Number(head.headers.get('content-length')) > 1000)

  for (const path of ['/', '/metrics/', '/METRICS', '/../healthz/x', '/__proto__', '/constructor']) {
    assert.equal((await ask(path)).status, 404, path)
  }
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']) {
    const refused = await ask('/metrics', { method, ...(method !== 'OPTIONS' && { body: 'x' }) })
    assert.equal(refused.status, 405, method)
    assert.equal(refused.headers.get('allow'), 'GET, HEAD')
  }
})

test('ready or not, and why', async (t) => {
  const checks: Check[] = [
    { name: 'postgresql', ok: false, code: 'database-unreachable' },
    { name: 'schema', ok: true },
    { name: 'reconciling', ok: false, code: '57P01' },
  ]
  const { ask } = await serve(t, daemonView(2000, 0, checks))
  const refused = await ask('/readyz')
  assert.equal(refused.status, 503)
  const answer = (await refused.json()) as any
  assert.equal(answer.ready, false)
  assert.deepEqual(answer.checks, { postgresql: false, schema: true, reconciling: false })
  assert.deepEqual(
    answer.missing.map(({ what, code }: { what: string; code: string }) => [what, code]),
    [
      ['postgresql', 'database-unreachable'],
      ['reconciling', '57P01'],
    ],
  )
  assert.match(answer.missing[0].hint, /DATABASE_URL/)
  assert.equal(answer.consumers.total, 2000)
  assert.deepEqual(answer.consumers.states, { failed: 200, running: 1800 })
  assert.deepEqual([answer.consumers.attention.length, answer.consumers.more], [100, 100])
  for (const check of checks) check.ok = true
  const ready = await ask('/readyz')
  assert.equal(ready.status, 200)
  assert.equal(((await ready.json()) as any).ready, true)
  assert.equal((await ask('/readyz', { method: 'HEAD' })).status, 200)
})

test('what is no request is refused, and the next one is answered', async (t) => {
  const { server, ask } = await serve(t)
  const nonsense: [what: string, text: string | Buffer, answer: RegExp][] = [
    ['garbage', Buffer.from([0x16, 3, 1, 0, 200, 0, 0, 255]), /^HTTP\/1.1 400/],
    [
      'a huge header',
      `GET /healthz HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(100_000)}\r\n\r\n`,
      /^HTTP\/1.1 431/,
    ],
    ['a huge path', `GET /${'y'.repeat(100_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, /^HTTP\/1.1 431/],
    [
      'two lengths',
      'GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
      /^HTTP\/1.1 400/,
    ],
    ['no host', 'GET /healthz HTTP/1.1\r\n\r\n', /^HTTP\/1.1 400/],
  ]
  for (const [what, text, expected] of nonsense) {
    const { answer, open } = await raw(t, server.address, text)
    await eventually(`${what} is answered and closed`, () => expected.test(answer()) && !open())
  }
  const connecting = await raw(t, server.address, 'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n')
  await eventually('CONNECT is closed', () => !connecting.open())
  assert.equal((await ask('/healthz')).status, 200)
})

test('a client that is slow to ask is left', async (t) => {
  const { server, ask } = await serve(t, daemonView(), { patience: 300 })
  const asking = await raw(t, server.address, 'GET /healthz HTTP/1.1\r\nHost: x\r\n')
  const silent = await raw(t, server.address, '')
  const head = 'POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx'
  const sending = await raw(t, server.address, head)
  await eventually('all are closed', () => !asking.open() && !silent.open() && !sending.open())
  assert.match(asking.answer(), /^HTTP\/1.1 408/)
  assert.match(sending.answer(), /^HTTP\/1.1 405/)
  assert.equal((await ask('/healthz')).status, 200)
})

test('clients that do not take their answers hold up others only for a while', async (t) => {
  const { server, ask } = await serve(t, daemonView(1000, 12), { patience: 1500 })
  const statusOf = async (path: string) => {
    const response = await ask(path)
    await response.arrayBuffer()
    return response.status
  }
  for (let i = 0; i < 8; i++) {
    const { socket } = await raw(t, server.address, '')
    socket.pause()
    socket.write('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(4))
  }
  await eventually('there are too many', async () => (await statusOf('/metrics')) === 503)
  assert.equal(await statusOf('/healthz'), 200)
  await eventually('they are left', async () => (await statusOf('/metrics')) === 200)
})

test('a defect behind a page is answered with 500 and logged', async (t) => {
  const broken = { ...daemonView(), consumers: () => assert.fail('of this test') }
  const { ask, lines } = await serve(t, broken)
  for (const path of ['/metrics', '/readyz']) {
    const response = await ask(path)
    assert.equal(response.status, 500)
    assert.ok(!(await response.text()).includes('of this test'))
  }
  assert.equal(lines.filter((line) => line.includes('"code":"internal"')).length, 2)
  assert.equal((await ask('/healthz')).status, 200)
})

test('addresses: IPv6, and one that is taken', async (t) => {
  const { server } = await serve(t, daemonView(), { listen: { host: '::1', port: 0 } })
  assert.match(server.address, /^\[::1\]:\d+$/)
  assert.equal((await fetch(`http://${server.address}/healthz`)).status, 200)
  const port = Number(server.address.split(']:')[1])
  await assert.rejects(serve(t, daemonView(), { listen: { host: '::1', port } }), (error) => {
    assert.ok(isMillraceError(error, 'http-listen-failed'))
    assert.match(error.message, new RegExp(`\\[::1\\]:${port}.*EADDRINUSE`))
    return true
  })
})
