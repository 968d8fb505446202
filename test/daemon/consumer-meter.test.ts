// What is counted where: the counts of a consumer, and the histograms that all of them share.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Histogram } from '../../src/console/histogram.ts'
import { ConsumerMeter } from '../../src/daemon/consumer-meter.ts'
import { MillraceError } from '../../src/errors.ts'

const histograms = () => ({
  messages: new Histogram([10]),
  bytes: new Histogram([10]),
  seconds: new Histogram([10]),
})

test('a batch is one, however many partitions it has', () => {
  const shared = histograms()
  const [one, other] = [new ConsumerMeter(shared), new ConsumerMeter(shared)]
  const span = { messages: 3, skipped: 1, bytes: 30 }
  one.loaded([span, span], 0.5)
  other.loaded([span], 0.25)
  assert.deepEqual([one.messages, one.skipped, one.bytes, one.batches, one.loadSeconds], [6, 2, 60, 1, 0.5])
  assert.deepEqual([shared.messages.count, shared.messages.sum], [2, 9])
  assert.deepEqual([shared.bytes.count, shared.bytes.sum], [2, 90])
  assert.deepEqual([shared.seconds.count, shared.seconds.sum], [2, 0.75])
})

test('what could not be loaded is kept or skipped', () => {
  const meter = new ConsumerMeter(histograms())
  meter.rejected(3, true, 5)
  meter.rejected(2, false, 1)
  const { deadLetters, skipped, messages, transactionIds } = meter
  assert.deepEqual([deadLetters, skipped, messages, transactionIds], [3, 2, 0, 6])
})

test("retries are told apart by PostgreSQL's class or by code", () => {
  const meter = new ConsumerMeter(histograms())
  const database = (code: string) => Object.assign(new Error('x'), { code, severity: 'ERROR' })
  const errors = [
    database('53100'),
    database('53200'),
    database('40001'),
    new MillraceError('kafka-unreachable'),
    new MillraceError('database-unreachable', { cause: database('57P03') }),
    Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }),
    new Error('Connection terminated unexpectedly'),
    'no error at all',
  ]
  for (const error of errors) meter.retried(error)
  assert.deepEqual(
    [...meter.retries].map(({ code, sqlstateClass, count }) => [code, sqlstateClass, count]),
    [
      ['', '53', 2],
      ['', '40', 1],
      ['kafka-unreachable', '', 1],
      ['database-unreachable', '', 1],
      ['other', '', 3],
    ],
  )
})

test('milliseconds of throttling become seconds', () => {
  const meter = new ConsumerMeter(histograms())
  meter.fetched(100, 250)
  meter.fetched(50, 0)
  meter.connected()
  assert.deepEqual(
    [meter.fetches, meter.fetchedBytes, meter.throttleSeconds, meter.fetchConnections],
    [2, 150, 0.25, 1],
  )
})
