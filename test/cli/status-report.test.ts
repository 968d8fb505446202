// A status is read by a tired person and by a script: everything lines up, nothing is hidden, and no digit is lost.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { statusJson, statusText } from '../../src/cli/status-report.ts'
import { errorCodes } from '../../src/errors.ts'
import type { SnapshotStatus } from '../../src/postgres/snapshot.ts'
import type { ConsumerStatus, PartitionStatus } from '../../src/postgres/status.ts'

const now = new Date('2025-11-21T08:30:00Z')

function partition(number: number, given: Partial<PartitionStatus> = {}): PartitionStatus {
  return {
    partition: number,
    position: '10',
    low: '0',
    high: '12',
    lag: '2',
    reportedAt: now,
    age: 0.4,
    ...given,
  }
}

function consumer(given: Partial<ConsumerStatus> = {}): ConsumerStatus {
  return {
    id: '1',
    cluster: 'default',
    topic: 'orders',
    target: 'public.orders',
    owner: 'shop',
    state: 'running',
    messages: '10',
    skipped: '0',
    lag: '2',
    rowsPerSecond: 3.14,
    movedAt: now,
    warning: null,
    error: null,
    partitions: [partition(0)],
    ...given,
  }
}

function snapshot(given: Partial<SnapshotStatus> = {}): SnapshotStatus {
  return {
    id: '3',
    relation: 'public.large',
    state: 'running',
    rows: '3500',
    blocksDone: '500',
    blocks: '1143',
    waitsFor: null,
    errorCode: null,
    errorMessage: null,
    ...given,
  }
}

const text = (...consumers: ConsumerStatus[]): string =>
  statusText({ daemonConnected: true, identityChanged: null, consumers, outbox: [], snapshots: [] })

test('there is nothing to show', () => {
  assert.equal(text(), 'No consumers.\n')
  const alone = statusText({
    daemonConnected: false,
    identityChanged: null,
    consumers: [],
    outbox: [],
    snapshots: [],
  })
  assert.equal(alone, 'No consumers.\n\nNo daemon is connected to this database.\n')
})

test('partitions stand below each other, under the titles', () => {
  const far = partition(1, { position: '9007199254740993', high: '9007199254740999', lag: '6', age: 75 })
  const shown = text(
    consumer({ partitions: [partition(0), far] }),
    consumer({ topic: 'new', partitions: [], lag: null }),
  )
  assert.equal(
    shown,
    `
CLUSTER  TOPIC   TARGET         STATE    ROWS/S  PARTITION          POSITION               END  LAG     SEEN
default  orders  public.orders  running     3.1          0                10                12    2   0s ago
                                                         1  9007199254740993  9007199254740999    6  75s ago
default  new     public.orders  running     3.1          -                 -                 -    -        -
`.slice(1),
  )
})

test('what stopped a consumer is told in full, with what to do', () => {
  const error = {
    code: 'message-rejected',
    message: 'invalid input syntax for type integer: "x"',
    sqlstate: '22P02',
    partition: 0,
    offset: '42',
    at: now,
  }
  const shown = text(consumer({ state: 'failed', rowsPerSecond: null, error, warning: 'began at 7' }))
  const [, , ...remarks] = shown.split('\n')
  assert.deepEqual(remarks, [
    '',
    'orders into public.orders: warning: began at 7',
    '',
    'orders into public.orders: failed: message-rejected, SQLSTATE 22P02, partition 0, offset 42, 2025-11-21T08:30:00.000Z',
    '  invalid input syntax for type integer: "x"',
    '  hint: Correct the table and begin the consumer again. A start_offset past the message passes over it, and counts for every partition of the topic (docs/operations.md).',
    '',
  ])
})

test('an error of a version to come is shown without a hint', () => {
  const error = { code: 'unheard-of', message: 'm', sqlstate: null, partition: null, offset: null, at: null }
  assert.match(text(consumer({ state: 'retrying', error })), /retrying: unheard-of\n {2}m\n$/)
})

test('each partition says how old what is known of it is', () => {
  const ages = {
    0: '0s',
    119.9: '119s',
    120: '2m',
    7199: '119m',
    7200: '2h',
    172799: '47h',
    172800: '2d',
    [-1]: '0s',
  }
  for (const [age, shown] of Object.entries(ages)) {
    const partitions = [partition(0, { age: Number(age) }), partition(1, { age: null, lag: null })]
    const [, first, second] = text(consumer({ partitions })).split('\n')
    assert.ok(first!.endsWith(` 2  ${shown} ago`), first)
    assert.match(second!, / - +-$/)
  }
})

test('names and messages cannot leave their place', () => {
  const error = {
    code: 'x',
    message: 'a\x1b[2J\nb\u2028c',
    sqlstate: null,
    partition: null,
    offset: null,
    at: null,
  }
  const shown = text(consumer({ topic: 'a\nb', target: '"\x9b1m"', error, warning: 'w\rw' }))
  assert.doesNotMatch(shown, /[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028]/)
  assert.ok(shown.includes('a b  '))
})

test('JSON keeps numbers as numbers, with every digit', () => {
  const partitions = [partition(0, { position: '9007199254740993', high: null, lag: null })]
  const json = statusJson({
    daemonConnected: true,
    identityChanged: null,
    outbox: [],
    snapshots: [snapshot({ rows: '9007199254740993' })],
    consumers: [consumer({ partitions })],
  })
  assert.match(json, /"position": 9007199254740993,\n/)
  const parsed = JSON.parse(json)
  assert.match(json, /"rows": 9007199254740993,\n/)
  assert.deepEqual(
    [parsed.snapshots[0].id, parsed.snapshots[0].blocksDone, parsed.snapshots[0].blocks],
    [3, 500, 1143],
  )
  assert.equal(parsed.consumers[0].messages, 10)
  assert.equal(parsed.consumers[0].partitions[0].high, null)
  assert.equal(parsed.consumers[0].movedAt, now.toISOString())
})

test('what of the outbox is not sent, and why', () => {
  const shown = statusText({
    daemonConnected: true,
    identityChanged: null,
    consumers: [],
    snapshots: [],
    outbox: [
      {
        cluster: 'default',
        backlog: '9007199254740993',
        oldestUnsent: now,
        oldestAge: 200,
        waiting: '3',
        waitingKeys: '1',
        waitingId: '17',
        waitingCode: 'message-refused',
        waitingMessage: 'it is too large',
        deadLetters: '2',
        errorCode: null,
        errorMessage: null,
        leaseAge: null,
      },
    ],
  })
  assert.equal(
    shown,
    `No consumers.

outbox for default: 9007199254740993 not sent, the oldest for 3m, 3 waiting (keys: 1)
  2 dead letters (millrace.outbox_dead_letters)
  no daemon sends
  message 17 waits: message-refused
    it is too large
  hint: ${errorCodes['message-refused'].hint}
`,
  )
})

test('snapshots of tables that are not over: how far, what they wait for, what is wrong', () => {
  const waits = snapshot({
    id: '12',
    relation: 'public."a\nb"',
    state: 'waiting',
    waitsFor: 'the outbox to be sent',
  })
  const failing = { errorCode: 'snapshot-failed', errorMessage: 'permission denied' }
  const shown = statusText({
    daemonConnected: true,
    identityChanged: null,
    consumers: [],
    outbox: [],
    snapshots: [snapshot(), waits, snapshot({ id: '13', state: 'failing', ...failing })],
  })
  assert.equal(
    shown,
    `No consumers.

Snapshots of tables:
ID  TABLE         STATE    ROWS  BLOCKS    OF
 3  public.large  running  3500     500  1143
12  public."a b"  waiting  3500     500  1143
13  public.large  failing  3500     500  1143

public."a b": waits for the outbox to be sent

public.large: snapshot-failed: permission denied
  hint: ${errorCodes['snapshot-failed'].hint}
`,
  )
})
