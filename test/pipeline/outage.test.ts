// What everybody meets is said once; what one consumer meets, for that consumer.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MillraceError } from '../../src/errors.ts'
import { Outages, outageOf, postgresAway } from '../../src/pipeline/outage.ts'

test('an outage is news once, and over when the last one is past it', () => {
  const outages = new Outages()
  assert.equal(outages.begin(postgresAway, 'daemon'), true)
  assert.equal(outages.begin(postgresAway, 'daemon'), false)
  assert.equal(outages.begin(postgresAway, '1'), false)
  assert.deepEqual(outages.end('daemon'), [])
  assert.equal(outages.begin(postgresAway, 'daemon'), false)
  assert.deepEqual(outages.end('2'), [])
  assert.deepEqual(outages.end('1'), [])
  assert.deepEqual(outages.end('daemon'), ['PostgreSQL'])
  assert.deepEqual(outages.end('daemon'), [])
  assert.equal(outages.begin(postgresAway, '1'), true)
})

const nameOf = (error: unknown, cluster = 'c'): string => outageOf(error, 'code', cluster, 'a into b').name
const ofServer = (code: string) => Object.assign(new Error('m'), { code, severity: 'ERROR' })

test('what PostgreSQL says when it goes, and what its connections say, is one outage', () => {
  const away = [
    new MillraceError('database-unreachable'),
    new MillraceError('server-changed'),
    ...['57P01', '57P02', '57P03', '08006'].map(ofServer),
    new Error('Connection terminated unexpectedly'),
    new Error('the connection ended'),
    new Error('Client has encountered a connection error and is not queryable'),
    Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }),
  ]
  for (const error of away) assert.equal(nameOf(error), 'PostgreSQL', String(error))
  for (const code of ['55P03', '53100', '57014', '40P01'])
    assert.equal(nameOf(ofServer(code)), 'a into b: code')
})

test('a server that is there and cannot be worked with is another outage, for everybody too', () => {
  for (const code of ['server-standby', 'identity-changed'] as const) {
    const outage = outageOf(new MillraceError(code), code, 'c', 'a into b')
    assert.deepEqual([outage.name, outage.personal], [`PostgreSQL: ${code}`, false])
  }
})

test('a cluster is away by its name, whoever finds out how', () => {
  const away = new MillraceError('kafka-unreachable')
  assert.equal(nameOf(away), 'Kafka cluster c: kafka-unreachable')
  assert.equal(nameOf(new MillraceError('group-lost', { cause: away })), nameOf(away))
  assert.notEqual(nameOf(away, 'd'), nameOf(away))
  assert.notEqual(nameOf(new MillraceError('broker-authentication')), nameOf(away))
  assert.equal(nameOf(new MillraceError('group-lost')), 'Kafka cluster c: code')
  assert.equal(nameOf(new MillraceError('broker-authorization')), 'a into b: code')
})
