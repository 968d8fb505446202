// Whoever misspells a setting learns so before anything starts, with every other mistake at once. A setting that
// is silently not applied (TLS, a memory bound) would be worse than no setting.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { type ConfigSources, loadConfig } from '../../src/config/config.ts'
import { settings } from '../../src/config/settings.ts'
import { isMillraceError } from '../../src/errors.ts'

const url = 'postgresql://millrace:sentinel-password@db.example:5432/shop'
const env = { DATABASE_URL: url }

const folder = mkdtempSync(join(tmpdir(), 'millrace-config-'))
after(() => rmSync(folder, { recursive: true }))
let files = 0

function fileOf(content: unknown): string {
  const path = join(folder, `${++files}.json`)
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
  return path
}

function problemsOf(sources: ConfigSources): string[] {
  try {
    loadConfig(sources)
  } catch (error) {
    assert.ok(isMillraceError(error, 'config-invalid'), String(error))
    return error.message
      .split('\n')
      .slice(1)
      .map((line) => line.trim())
  }
  return []
}

describe('a configuration', () => {
  test('needs only a database', () => {
    const { database, daemon, group, retry, log, clusters, warnings } = loadConfig({ env })
    assert.equal(database.url.reveal(), url)
    assert.equal(database.maxConnections, 8)
    assert.equal(database.synchronousCommit, 'off')
    assert.equal(daemon.memoryBudget, 64 * 1024 ** 2)
    assert.deepEqual(group, { sessionTimeout: 10_000, heartbeatInterval: 3000 })
    assert.deepEqual(retry, { min: 100, max: 30_000 })
    assert.deepEqual(log, { level: 'info', format: 'auto' })
    assert.equal(clusters.size, 0)
    assert.deepEqual(warnings, [])
  })

  test('says what is missing, and how to give it', () => {
    assert.deepEqual(problemsOf({ env: {} }), ['database.url: give --database or set DATABASE_URL'])
  })

  test('has a value for every setting in the table, at its path', () => {
    const config = loadConfig({ env }) as unknown as Record<string, Record<string, unknown>>
    for (const { path } of settings) {
      const [group, name] = path.split('.') as [string, string]
      assert.notEqual(config[group]?.[name], undefined, path)
    }
    const found = Object.entries(config).flatMap(([group, members]) =>
      ['clusters', 'warnings'].includes(group) ? [] : Object.keys(members).map((name) => `${group}.${name}`),
    )
    assert.deepEqual(found.sort(), settings.map(({ path }) => path).sort())
  })

  test('takes options over the environment, and the environment over the file', () => {
    const file = fileOf({ log: { level: 'debug', format: 'json' }, retry: { min: '1s', max: '10s' } })
    const config = loadConfig({
      env: { ...env, MILLRACE_LOG_LEVEL: 'warn', MILLRACE_RETRY_MIN: '2s' },
      file,
      overrides: { 'log.level': 'error', 'log.format': undefined },
    })
    assert.deepEqual(config.log, { level: 'error', format: 'json' })
    assert.deepEqual(config.retry, { min: 2000, max: 10_000 })
  })

  test('finds its file by MILLRACE_CONFIG, and an explicit one first', () => {
    const named = fileOf({ log: { level: 'warn' } })
    const explicit = fileOf({ log: { level: 'error' } })
    assert.equal(loadConfig({ env: { ...env, MILLRACE_CONFIG: named } }).log.level, 'warn')
    assert.equal(loadConfig({ env: { ...env, MILLRACE_CONFIG: named }, file: explicit }).log.level, 'error')
  })

  test('takes MILLRACE_DATABASE_URL over DATABASE_URL, which belongs to other programs too', () => {
    const own = 'postgres://localhost/own'
    assert.equal(loadConfig({ env: { ...env, MILLRACE_DATABASE_URL: own } }).database.url.reveal(), own)
  })

  test('takes an empty variable for one that is not set', () => {
    assert.equal(
      loadConfig({ env: { ...env, MILLRACE_LOG_LEVEL: '', MILLRACE_NONSENSE: '' } }).log.level,
      'info',
    )
  })

  test('is refused with all of its problems at once', () => {
    const file = fileOf({
      databse: { url },
      logLevel: 'debug',
      log: { level: 'verbose', fromat: 'json' },
      daemon: { memoryBudget: '1kB' },
      retry: 'never',
      clusters: { east: { sasl: { pasword: 'sentinel-2' } } },
    })
    const problems = problemsOf({
      env: {
        DATABASE_URL: 'host=db password=sentinel-3',
        MILLRACE_LOG_LEVL: 'info',
        MILLRACE_RETRY_MAX: '1d',
      },
      file,
    })
    assert.deepEqual(problems, [
      `databse in ${file}: no such setting (did you mean database?)`,
      `logLevel in ${file}: no such setting (did you mean log.level?)`,
      `log.fromat in ${file}: no such setting (did you mean log.format?)`,
      `retry in ${file}: must be an object`,
      `clusters.east.sasl.pasword in ${file}: no such setting (did you mean sasl.password?)`,
      'MILLRACE_LOG_LEVL: no such setting (did you mean MILLRACE_LOG_LEVEL?)',
      'DATABASE_URL: must be a URL such as postgresql://user@host:5432/database; ' +
        'special characters in user and password are written %40 for @, %2F for /, %23 for #',
      `daemon.memoryBudget in ${file}: "1kB" is less than 8MB`,
      'MILLRACE_RETRY_MAX: "1d" is not a time (ms, s, min, h), 1ms to 1h',
      `log.level in ${file}: "verbose" is none of trace, debug, info, warn, error, fatal, silent`,
    ])
  })

  test('is refused when its settings contradict each other', () => {
    assert.deepEqual(problemsOf({ env: { ...env, MILLRACE_RETRY_MIN: '1min' } }), [
      'retry.min: is longer than retry.max',
    ])
    assert.deepEqual(problemsOf({ env: { ...env, MILLRACE_GROUP_HEARTBEAT_INTERVAL: '5s' } }), [
      'group.heartbeatInterval: must be less than half of group.sessionTimeout',
    ])
  })

  // The parser's own message quotes the text around the error.
  test('does not repeat what stands in a file that is no JSON', () => {
    const broken = '{\n  "clusters": {"default": {"sasl": {"password": "sentinel" oops}}}\n}'
    const file = fileOf(broken)
    const [problem, ...others] = problemsOf({ env, file })
    assert.deepEqual(others, [])
    assert.match(problem!, /is not valid JSON \(line 2, column \d+\)$/)
    assert.doesNotMatch(problem!, /sentinel/)
  })

  test('needs a file that is there, and one object in it', () => {
    const missing = join(folder, 'missing.json')
    assert.deepEqual(problemsOf({ env, file: missing }), [`${missing}: cannot be read (ENOENT)`])
    assert.deepEqual(problemsOf({ env, file: folder }), [`${folder}: cannot be read (EISDIR)`])
    for (const content of ['[]', 'null', '"x"', '1']) {
      const file = fileOf(content)
      assert.deepEqual(problemsOf({ env, file }), [`${file}: must hold one JSON object`])
    }
    assert.deepEqual(problemsOf({ env, file: fileOf('\uFEFF{}') }), [])
  })

  test('is not fooled by the names of an object prototype', () => {
    const file = fileOf(
      '{"__proto__": {"log": {"level": "debug"}}, "constructor": 1, "log": {"toString": 1}}',
    )
    assert.deepEqual(problemsOf({ env, file }), [
      `__proto__ in ${file}: no such setting`,
      `constructor in ${file}: no such setting`,
      `log.toString in ${file}: no such setting`,
    ])
  })

  // A service called millrace puts these into the environment of every pod beside it.
  test('passes over what Kubernetes says about a service of the same name', () => {
    const links = {
      MILLRACE_SERVICE_HOST: '10.0.0.1',
      MILLRACE_SERVICE_PORT: '80',
      MILLRACE_SERVICE_PORT_HTTP: '80',
      MILLRACE_PORT: 'tcp://10.0.0.1:80',
      MILLRACE_PORT_80_TCP: 'tcp://10.0.0.1:80',
      MILLRACE_PORT_80_TCP_PROTO: 'tcp',
      MILLRACE_PORT_80_TCP_ADDR: '10.0.0.1',
      MILLRACE_DB_SERVICE_HOST: '10.0.0.2',
    }
    assert.deepEqual(problemsOf({ env: { ...env, ...links } }), [])
    assert.deepEqual(problemsOf({ env: { ...env, MILLRACE_PORT: '80' } }), ['MILLRACE_PORT: no such setting'])
  })
})

describe('a database URL', () => {
  for (const good of [
    'postgres://h/d',
    'postgresql://u:p%40w@[::1]:5433/d?sslmode=require',
    'postgres:///d?host=/run/x',
  ]) {
    test(`${good} is one`, () => assert.deepEqual(problemsOf({ env: { DATABASE_URL: good } }), []))
  }

  for (const bad of ['mysql://h/d', 'h:5432/d', 'dbname=d', 'postgres://u:p@w#x@h:port/d']) {
    test(`${bad} is none, and is not repeated`, () => {
      const problems = problemsOf({ env: {}, overrides: { 'database.url': bad } })
      assert.equal(problems.length, 1)
      assert.match(problems[0]!, /^--database: must be a URL/)
      assert.ok(!problems[0]!.includes(bad))
    })
  }
})
