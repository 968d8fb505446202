// Whatever producers write, compressed, in transactions or without a value: what is committed arrives once, and
// the position passes over the rest.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { Producer } from '../../src/kafka/library.ts'
import type { Cleanup } from '../support/cleanup.ts'
import { databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import {
  addBroker,
  begin,
  consumerOf,
  end,
  positionsOf,
  promptDaemon,
  untilPassed,
  untilRows,
  untilState,
} from '../support/flow.ts'
import { sharedServers } from '../support/servers.ts'
import { produce, topicFor } from '../support/topic.ts'

const all = 'SELECT array_agg(value ORDER BY value) FROM received'

async function setUp(t: Cleanup, options: Parameters<typeof topicFor>[1] = {}) {
  const db = await databaseFor(t)
  await addBroker(db)
  await db.query('CREATE TABLE received (value text)')
  return { db, topic: await topicFor(t, { partitions: 1, ...options }) }
}

function lines(prefix: string, count: number) {
  return Array.from({ length: count }, (_, n) => `${prefix}${String(n).padStart(6, '0')}`)
}

for (const compression of ['gzip', 'snappy', 'lz4', 'zstd'] as const) {
  test(`batches compressed with ${compression}`, async (t) => {
    const { db, topic } = await setUp(t)
    await promptDaemon(t, db)
    const values = lines(`${compression} `, 3000)
    await produce(
      topic,
      values.map((value) => ({ value })),
      { compression },
    )
    await begin(db, topic, 'received', { start_offset: -2 })
    await untilPassed(db, topic, 3000)
    await untilRows(db, all, [[values]])
  })

  const kcat = spawnSync('kcat', ['-V']).status === 0
  test(`batches compressed with ${compression} by librdkafka`, {
    skip: !kcat && 'kcat is not there',
  }, async (t) => {
    const { db, topic } = await setUp(t)
    await promptDaemon(t, db)
    const values = lines(`${compression} `, 3000)
    const args = ['-P', '-b', sharedServers().brokers, '-t', topic, '-p', '0', '-z', compression]
    const sent = spawnSync('kcat', args, { input: values.join('\n') })
    assert.equal(sent.status, 0, String(sent.stderr))
    await begin(db, topic, 'received', { start_offset: -2 })
    await untilPassed(db, topic, 3000)
    await untilRows(db, all, [[values]])
  })
}

test('one topic with batches of every kind, and a position in the middle of a compressed one', async (t) => {
  const { db, topic } = await setUp(t)
  await promptDaemon(t, db)
  const kinds = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const
  const values = kinds.flatMap((kind, index) => lines(`${index} ${kind} `, 100))
  for (const [index, compression] of kinds.entries()) {
    const part = values.slice(index * 100, index * 100 + 100)
    await produce(
      topic,
      part.map((value) => ({ value })),
      { compression },
    )
  }
  await begin(db, topic, 'received', { start_offset: 150 })
  await untilPassed(db, topic, 500)
  await untilRows(db, all, [[values.slice(150)]])
})

test('F12 tombstones and empty messages are counted and passed over', async (t) => {
  const { db, topic } = await setUp(t)
  await promptDaemon(t, db)
  await produce(topic, [
    { key: 'a', value: 'one' },
    { key: 'a', value: null },
    { key: 'b', value: '' },
    { key: 'c', value: 'two', headers: { some: 'header', other: Buffer.alloc(300) } },
    { key: null, value: null },
  ])
  await begin(db, topic, 'received', { start_offset: -2 })
  await untilPassed(db, topic, 5)
  await untilRows(db, all, [[['one', 'two']]])
  const { messages, skipped } = await consumerOf(db, topic)
  assert.deepEqual([messages, skipped], ['2', '3'])
  // nothing but tombstones moves the position, too
  await produce(topic, [{ key: 'a', value: null }])
  await untilPassed(db, topic, 6)
  assert.equal((await consumerOf(db, topic)).skipped, '4')
})

test('F10 aborted transactions are invisible, committed ones arrive, the position passes over both', async (t) => {
  const { db, topic } = await setUp(t)
  await promptDaemon(t, db)
  await begin(db, topic, 'received', { start_offset: -2 })
  await produce(topic, [{ value: 'plain 1' }])
  await produce(
    topic,
    lines('aborted', 50).map((value) => ({ value })),
    { transaction: 'abort' },
  )
  await produce(topic, [{ value: 'committed 1' }, { value: 'committed 2' }], { transaction: 'commit' })
  await produce(
    topic,
    lines('aborted', 5).map((value) => ({ value })),
    { transaction: 'abort' },
  )
  await produce(topic, [{ value: 'plain 2' }])
  // a marker ends each transaction
  await untilPassed(db, topic, 1 + 51 + 3 + 6 + 1)
  await untilRows(db, all, [[['committed 1', 'committed 2', 'plain 1', 'plain 2']]])
  const { messages, skipped } = await consumerOf(db, topic)
  assert.deepEqual([messages, skipped], ['4', '0'])
})

test('F10 a backlog of transactions read at once', async (t) => {
  const { db, topic } = await setUp(t)
  await promptDaemon(t, db)
  const expected: string[] = []
  for (let round = 0; round < 12; round++) {
    const values = lines(`${String(round).padStart(2, '0')} `, 20)
    const transaction = round % 3 === 0 ? 'abort' : 'commit'
    if (transaction === 'commit') expected.push(...values)
    await produce(
      topic,
      values.map((value) => ({ value })),
      { transaction },
    )
  }
  await begin(db, topic, 'received', { start_offset: -2 })
  await untilPassed(db, topic, 12 * 21)
  await untilRows(db, all, [[expected]])
})

test('F10 an open transaction holds back what follows it, and nothing else', async (t) => {
  const { db, topic } = await setUp(t)
  await promptDaemon(t, db)
  const producer = new Producer({
    clientId: 'millrace-test',
    bootstrapBrokers: sharedServers().brokers.split(','),
    transactionalId: topic,
    idempotent: true,
    producerId: -1n,
    producerEpoch: -1,
    retryDelay: 50,
  })
  await produce(topic, [{ value: 'before' }])
  const transaction = await producer.beginTransaction()
  await transaction.send({ messages: [{ topic, value: Buffer.from('inside'), partition: 0 }] })
  await produce(topic, [{ value: 'behind' }])
  // the end, for a consumer that begins now, is where the open transaction begins
  await db.query('CREATE TABLE later (value text)')
  await begin(db, topic, 'received', { start_offset: -2 })
  await untilRows(db, all, [[['before']]])
  assert.deepEqual(await positionsOf(db, topic), { 0: 1 })
  await begin(db, topic, 'later', { start_offset: -1 })
  await untilRows(db, `SELECT start_pending FROM millrace.consumer WHERE target_name = 'later'`, [[false]])
  await transaction.commit()
  await producer.close()
  await untilRows(db, all, [[['before', 'behind', 'inside']]])
  await untilRows(db, 'SELECT array_agg(value ORDER BY value) FROM later', [[['behind', 'inside']]])
})

test('a compacted topic has gaps, which the position passes over', async (t) => {
  const { db, topic } = await setUp(t, {
    config: {
      'cleanup.policy': 'compact',
      'segment.ms': '100',
      'min.cleanable.dirty.ratio': '0.01',
      'max.compaction.lag.ms': '100',
      'min.compaction.lag.ms': '0',
    },
  })
  await promptDaemon(t, db)
  let sent = 0
  // whatever is written makes the broker begin a new segment and clean the ones before it
  await eventually('the broker has compacted the topic', async () => {
    for (let round = 0; round < 5; round++, sent++) {
      await produce(topic, [{ key: `key ${sent % 2}`, value: `round ${sent}` }])
    }
    await db.query('TRUNCATE received')
    await begin(db, topic, 'received', { start_offset: -2 })
    await untilPassed(db, topic, sent)
    await end(db, topic, 'received')
    await untilState(db, topic, 'stopped')
    const { rows } = await db.query('SELECT count(*)::int AS loaded FROM received')
    return rows[0].loaded < sent
  })
  // the last value of each key is there, once
  const last = [`round ${sent - 2}`, `round ${sent - 1}`]
  const { rows } = await db.query('SELECT value FROM received WHERE value = ANY ($1) ORDER BY 1', [last])
  assert.deepEqual(
    rows.map(({ value }) => value),
    last.toSorted(),
  )
})

test('messages larger than a chunk, and many partitions at once', async (t) => {
  const { db, topic } = await setUp(t, { partitions: 12 })
  await promptDaemon(t, db)
  const large = 'x'.repeat(900_000)
  await produce(topic, [{ value: large, partition: 3 }])
  await produce(
    topic,
    lines('small ', 1200).map((value, n) => ({ value, partition: n % 12 })),
  )
  await produce(topic, [{ value: large, partition: 3 }])
  await begin(db, topic, 'received', { start_offset: -2, parallelism: 5 })
  await untilPassed(db, topic, 1202)
  await untilRows(
    db,
    `SELECT length(value) > 1000, count(*)::int AS a, count(DISTINCT value)::int AS b, max(length(value)) FROM received
      GROUP BY 1 ORDER BY 1`,
    [
      [false, 1200, 1200, 12],
      [true, 2, 1, 900_000],
    ],
  )
})

test('a record batch that is larger than maxbytes is loaded in several transactions', async (t) => {
  const { db, topic } = await setUp(t)
  await promptDaemon(t, db)
  const values = lines('', 900).map((value) => value.padEnd(1000, 'x'))
  for (const [index, compression] of (['none', 'gzip', 'lz4'] as const).entries()) {
    const part = values.slice(index * 300, index * 300 + 300).map((value) => ({ value }))
    await produce(topic, part, { compression })
  }
  await db.query(`CREATE TABLE batches (n serial, xid xid8 DEFAULT pg_current_xact_id(), value text)`)
  await db.query('CREATE VIEW target AS SELECT value FROM batches')
  await db.query(`
    CREATE FUNCTION insert_value() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN INSERT INTO batches (value) VALUES (NEW.value); RETURN NEW; END $$;
    CREATE TRIGGER insert_value INSTEAD OF INSERT ON target FOR EACH ROW EXECUTE FUNCTION insert_value()`)
  await begin(db, topic, 'target', { start_offset: -2, batchsize: 1, maxbytes: 10_000 })
  await untilPassed(db, topic, 900)
  await untilRows(db, 'SELECT array_agg(value ORDER BY n) FROM batches', [[values]])
  const { rows } = await db.query('SELECT count(DISTINCT xid)::int AS batches FROM batches')
  assert.ok(rows[0].batches >= 9, `${rows[0].batches} transactions for 900 kB`)
})
