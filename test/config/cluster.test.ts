// Credentials go to the cluster they were written for, and only over the connection that was asked for: a typo
// must not turn TLS off, and a cluster without settings must not borrow another one's.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { clusterConfig, loadConfig } from '../../src/config/config.ts'
import { isMillraceError } from '../../src/errors.ts'
import { certificate, key, otherKey } from './certificate.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-cluster-'))
after(() => rmSync(folder, { recursive: true }))
for (const [name, content] of Object.entries({
  'ca.pem': certificate,
  'key.pem': key,
  'other-key.pem': otherKey,
  'not.pem': 'no certificate',
  password: 'from a file\n',
  empty: '\n',
})) {
  writeFileSync(join(folder, name), content)
}

const env = { DATABASE_URL: 'postgres://localhost/d' }
let files = 0

function load(clusters: unknown, variables: Record<string, string> = {}) {
  const file = join(folder, `${++files}.json`)
  writeFileSync(file, JSON.stringify({ clusters }))
  return loadConfig({ env: { ...env, ...variables }, file })
}

function problemsOf(clusters: unknown, variables: Record<string, string> = {}): string[] {
  try {
    load(clusters, variables)
  } catch (error) {
    assert.ok(isMillraceError(error, 'config-invalid'), String(error))
    const lines = error.message.split('\n').slice(1)
    return lines.map((line) => line.trim().replaceAll(` in ${join(folder, `${files}.json`)}`, ''))
  }
  return []
}

const sasl = { mechanism: 'SCRAM-SHA-256', username: 'u', password: 'p' }

describe('a cluster', () => {
  test('without settings is spoken to in the clear', () => {
    const config = load({ east: { tls: true } })
    assert.deepEqual(clusterConfig(config, 'west'), { tls: null, sasl: null })
    assert.deepEqual(clusterConfig(config, 'EAST'), { tls: null, sasl: null })
    assert.notEqual(clusterConfig(config, 'east').tls, null)
  })

  test('has TLS as soon as one of its settings says so', () => {
    for (const tls of [true, {}, { ca: 'ca.pem' }, { serverName: 'broker.example' }]) {
      assert.equal(clusterConfig(load({ default: { tls } }), 'default').tls?.rejectUnauthorized, true)
    }
    const off = load({ default: { tls: { ca: 'ca.pem' } } }, { MILLRACE_KAFKA_TLS: 'false' })
    assert.equal(clusterConfig(off, 'default').tls, null)
  })

  test('has the contents of the files, whose paths start at the configuration file', () => {
    const { tls } = clusterConfig(load({ c: { tls: { ca: 'ca.pem', cert: 'ca.pem', key: 'key.pem' } } }), 'c')
    assert.equal(tls?.ca, certificate)
    assert.equal(tls?.cert, certificate)
    assert.equal(tls?.key?.reveal(), key)
  })

  test('is configured by the environment: the default one as MILLRACE_KAFKA_, others by name', () => {
    const config = loadConfig({
      env: {
        ...env,
        MILLRACE_KAFKA_CLIENT_ID: 'c',
        MILLRACE_KAFKA_TLS_SERVER_NAME: 'broker',
        MILLRACE_CLUSTER_EU_WEST_SASL_MECHANISM: 'plain',
        MILLRACE_CLUSTER_EU_WEST_SASL_USERNAME: 'u',
        MILLRACE_CLUSTER_EU_WEST_SASL_PASSWORD_FILE: join(folder, 'password'),
        MILLRACE_CLUSTER_EU_WEST_TLS_CA: join(folder, 'ca.pem'),
      },
    })
    assert.equal(clusterConfig(config, 'default').tls?.serverName, 'broker')
    for (const name of ['eu-west', 'eu.west', 'EU_WEST']) {
      const found = clusterConfig(config, name)
      assert.equal(found.sasl?.mechanism, 'PLAIN')
      assert.equal(found.sasl?.password.reveal(), 'from a file')
      assert.equal(found.tls?.ca, certificate)
    }
    assert.equal(clusterConfig(config, 'eu').sasl, null)
    assert.equal(config.kafka.clientId, 'c')
  })

  test('takes each setting from the environment over the file', () => {
    const config = load(
      { 'eu-west': { tls: true, sasl } },
      { MILLRACE_CLUSTER_EU_WEST_SASL_PASSWORD: 'rotated' },
    )
    const found = clusterConfig(config, 'eu-west')
    assert.equal(found.sasl?.username, 'u')
    assert.equal(found.sasl?.password.reveal(), 'rotated')
    assert.notEqual(found.tls, null)
    const fromFile = load(
      { default: { sasl } },
      { MILLRACE_KAFKA_SASL_PASSWORD_FILE: join(folder, 'password') },
    )
    assert.equal(clusterConfig(fromFile, 'default').sasl?.password.reveal(), 'from a file')
  })

  test('whose variables could mean two clusters of the file is refused', () => {
    const both = { 'a-b': { tls: true }, 'a.b': { tls: true } }
    assert.deepEqual(problemsOf(both), [])
    assert.deepEqual(problemsOf(both, { MILLRACE_CLUSTER_A_B_TLS: 'true' }), [
      'MILLRACE_CLUSTER_A_B_*: may mean any of the clusters a-b, a.b',
    ])
  })

  for (const [what, clusters, problems] of [
    ['is no object', { c: true }, ['clusters.c: must be an object']],
    ['is a list', [], ["clusters: must be an object with the clusters' names as keys"]],
    [
      'has TLS that is neither',
      { c: { tls: 'yes please' } },
      ['clusters.c.tls: "yes please" is neither true nor false'],
    ],
    ['has SASL as text', { c: { sasl: 'sentinel' } }, ['clusters.c.sasl: must be an object']],
    [
      'has a password only',
      { c: { sasl: { password: 'p' } } },
      ['cluster c: sasl.mechanism and sasl.username not given'],
    ],
    [
      'lacks a password',
      { c: { sasl: { mechanism: 'PLAIN', username: 'u' } } },
      ['cluster c: sasl.password or sasl.passwordFile not given'],
    ],
    [
      'has two passwords',
      { c: { sasl: { ...sasl, passwordFile: 'password' } } },
      ['clusters.c.sasl.password and clusters.c.sasl.passwordFile: give one of them'],
    ],
    [
      'has an unknown mechanism',
      { c: { sasl: { ...sasl, mechanism: 'GSSAPI' } } },
      [
        'clusters.c.sasl.mechanism: "GSSAPI" is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512',
        'cluster c: sasl.mechanism not given',
      ],
    ],
    [
      'has an empty password file',
      { c: { sasl: { mechanism: 'PLAIN', username: 'u', passwordFile: 'empty' } } },
      ['clusters.c.sasl.passwordFile: the file is empty'],
    ],
    [
      'names a file that is not there',
      { c: { tls: { ca: 'missing.pem' } } },
      [`clusters.c.tls.ca: ${join(folder, 'missing.pem')} cannot be read (ENOENT)`],
    ],
    [
      'trusts what is no certificate',
      { c: { tls: { ca: 'not.pem' } } },
      [`clusters.c.tls.ca: ${join(folder, 'not.pem')} does not hold the certificate in PEM form`],
    ],
    [
      'has a certificate without its key',
      { c: { tls: { cert: 'ca.pem' } } },
      ['cluster c: tls.cert and tls.key need each other'],
    ],
    [
      'has the key of another certificate',
      { c: { tls: { cert: 'ca.pem', key: 'other-key.pem' } } },
      [
        `clusters.c.tls.key: ${join(folder, 'other-key.pem')} does not hold the unencrypted key of the certificate in PEM form`,
      ],
    ],
  ] as const) {
    test(`that ${what} is refused`, () => assert.deepEqual(problemsOf(clusters), problems))
  }

  test('whose variable is misspelled is refused, with the right name', () => {
    for (const [given, meant] of [
      ['MILLRACE_KAFKA_SASL_PASSWRD', 'MILLRACE_KAFKA_SASL_PASSWORD'],
      ['MILLRACE_CLUSTER_EU_WEST_SASL_PASSWRD', 'MILLRACE_CLUSTER_EU_WEST_SASL_PASSWORD'],
      ['MILLRACE_CLUSTER_EU_WEST_TSL_CA', 'MILLRACE_CLUSTER_EU_WEST_TLS_CA'],
      ['MILLRACE_CLUSTER_DEFAULT_TLS', 'MILLRACE_KAFKA_TLS'],
    ] as const) {
      assert.deepEqual(problemsOf({}, { [given]: 'sentinel' }), [
        `${given}: no such setting (did you mean ${meant}?)`,
      ])
    }
    for (const given of ['MILLRACE_CLUSTER_TLS', 'MILLRACE_CLUSTER__', 'MILLRACE_']) {
      assert.match(problemsOf({}, { [given]: 'true' }).join(), new RegExp(`^${given}: no such setting`))
    }
  })

  test('that is open to eavesdroppers or impostors works, with a warning', () => {
    const plain = { mechanism: 'PLAIN', username: 'u', password: 'p' }
    assert.deepEqual(load({ c: { sasl: plain } }).warnings, [
      'cluster c: SASL PLAIN without TLS sends the password in the clear',
    ])
    assert.deepEqual(load({ c: { sasl: plain, tls: true } }).warnings, [])
    assert.deepEqual(load({ c: { tls: { rejectUnauthorized: false } } }).warnings, [
      'cluster c: tls.rejectUnauthorized is false, so any server is taken for the broker',
    ])
  })
})
