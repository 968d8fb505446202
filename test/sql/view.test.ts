// What the views show is what daemons reported, filtered, with its age; and a daemon that is gone does not go on
// looking alive.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { dialectNames, readDialect } from '../../src/postgres/sql-folder.ts'
import { ownedDatabase, type RoleSession } from '../support/owned-database.ts'

async function consuming(t: Parameters<typeof ownedDatabase>[0]) {
  const db = await ownedDatabase(t)
  const owner = await db.as(db.roles.owner)
  await owner.run(`SELECT pipeline_kafka.add_broker('localhost'); CREATE TABLE t (a int);
    SELECT pipeline_kafka.consume_begin('topic', 't', group_id := 'g')`)
  const daemon = (number: number, seen = 'now()'): Promise<unknown> =>
    owner.run(`INSERT INTO millrace.daemon (id, seen_at) VALUES ('00000000-0000-0000-0000-00000000000${number}', ${seen})
      ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at`)
  const report = (number: number, state: string, code: string | null = null): Promise<unknown> =>
    owner.run(
      `INSERT INTO millrace.report (consumer_id, daemon, state, code, detail, rows_per_second)
        SELECT id, '00000000-0000-0000-0000-00000000000${number}', $1, $2, 'detail', 100 FROM millrace.consumer
        ON CONFLICT (consumer_id, daemon) DO UPDATE SET state = excluded.state, code = excluded.code`,
      [state, code],
    )
  return { ...db, owner, daemon, report }
}

const state = (owner: RoleSession): Promise<unknown> => owner.value('SELECT state FROM millrace.consumers')

describe('millrace.consumers', () => {
  test('the state is the worst that a live daemon reports', async (t) => {
    const { owner, daemon, report } = await consuming(t)
    assert.equal(await state(owner), 'no-daemon')
    await daemon(1, `now() - interval '16 seconds'`)
    await report(1, 'running')
    assert.equal(await state(owner), 'no-daemon')
    await daemon(2)
    assert.equal(await state(owner), 'starting')
    await daemon(1)
    for (const worse of ['running', 'starting', 'locating', 'waiting-for-topic', 'retrying']) {
      await report(2, worse)
      assert.equal(await state(owner), worse)
    }
    assert.equal(await owner.value('SELECT count(*)::int FROM millrace.consumers'), 1)
    assert.equal(await owner.value('SELECT rows_per_second FROM millrace.consumers'), 200)
    await daemon(2, `now() - interval '1 minute'`)
    assert.equal(await state(owner), 'running')
    await owner.run(`SELECT pipeline_kafka.consume_end('topic', 't')`)
    assert.equal(await state(owner), 'stopped')
  })

  test('the error is the failure in force, else what hinders a daemon', async (t) => {
    const { owner, daemon, report } = await consuming(t)
    await daemon(1)
    await report(1, 'retrying', 'kafka-unreachable')
    const error = async (): Promise<unknown[]> =>
      Object.values(
        (
          await owner.run(`SELECT state, error_code, error_message, error_sqlstate, error_partition,
        error_offset, error_at IS NOT NULL FROM millrace.consumers`)
        ).rows[0]!,
      )
    assert.deepEqual(await error(), ['retrying', 'kafka-unreachable', 'detail', null, null, null, true])
    await owner.run(`INSERT INTO millrace.failure (consumer_id, version, code, message, sqlstate, partition, "offset")
      SELECT id, version, 'message-rejected', 'bad', '22P02', 3, 9007199254740993 FROM millrace.consumer`)
    assert.deepEqual(await error(), [
      'failed',
      'message-rejected',
      'bad',
      '22P02',
      3,
      '9007199254740993',
      true,
    ])
    await owner.run(`SELECT pipeline_kafka.consume_end('topic', 't')`)
    assert.equal((await error())[0], 'stopped')
    await owner.run('UPDATE millrace.failure SET version = version - 1')
    assert.deepEqual(await error(), ['stopped', null, null, null, null, null, false])
  })

  test('sums up positions, and lag where something was reported', async (t) => {
    const { owner } = await consuming(t)
    const sums = async (): Promise<unknown[]> =>
      Object.values(
        (await owner.run('SELECT partitions, messages, skipped, bytes, lag FROM millrace.consumers'))
          .rows[0]!,
      )
    assert.deepEqual(await sums(), [0, '0', '0', '0', null])
    await owner.run(`INSERT INTO millrace.position (consumer_id, partition, next_offset, config_version, messages, skipped, bytes, moved_at)
      SELECT id, p, 10 * p, version, 5, 1, 100, now() FROM millrace.consumer, generate_series(0, 2) AS p`)
    assert.deepEqual(await sums(), [3, '15', '3', '300', null])
    await owner.run(`INSERT INTO millrace.watermark (cluster, topic, partition, low, high)
      VALUES ('default', 'topic', 0, 0, 7), ('default', 'topic', 1, 0, 9), ('default', 'topic', 2, 0, 25), ('default', 'x', 0, 0, 99)`)
    assert.deepEqual(
      await sums(),
      [3, '15', '3', '300', '12'],
      'a report older than the position is no negative lag',
    )

    assert.deepEqual(
      (
        await owner.run(`SELECT topic, target, partition, next_offset, low_watermark, high_watermark, lag,
        age < interval '1 minute' AS fresh FROM millrace.lag ORDER BY partition LIMIT 1`)
      ).rows,
      [
        {
          topic: 'topic',
          target: 'public.t',
          partition: 0,
          next_offset: '0',
          low_watermark: '0',
          high_watermark: '7',
          lag: '7',
          fresh: true,
        },
      ],
    )
    // The original's offset is the last one read; its lag view counts from the next one.
    assert.deepEqual(await owner.column('SELECT "offset" FROM pipeline_kafka.offsets ORDER BY partition'), [
      '-1',
      '9',
      '19',
    ])
    assert.deepEqual(
      (
        await owner.run(
          'SELECT group_id, topic, partition, "offset", high_watermark, lag FROM pipeline_kafka.consumer_lag WHERE partition = 2',
        )
      ).rows,
      [{ group_id: 'g', topic: 'topic', partition: 2, offset: '20', high_watermark: '25', lag: '5' }],
    )
  })
})

describe('topic_watermarks', () => {
  const ask = `SELECT * FROM pipeline_kafka.topic_watermarks('seen', 1)`

  test('is the last report, with a notice when that is old', async (t) => {
    const { owner } = await consuming(t)
    await owner.run(`INSERT INTO millrace.watermark (cluster, topic, partition, low, high)
      SELECT 'default', 'seen', p, 10 * p, 100 * p FROM generate_series(0, 2) AS p`)
    const row = { partition: 1, low_watermark: '10', high_watermark: '100' }
    assert.deepEqual(await owner.run(ask), { rows: [row], notices: [] })
    assert.equal(
      (await owner.run(`SELECT * FROM pipeline_kafka.topic_watermarks('seen', NULL)`)).rows.length,
      3,
    )
    assert.deepEqual((await owner.run(`SELECT * FROM pipeline_kafka.topic_watermarks('seen', 9)`)).rows, [])
    await owner.run(`UPDATE millrace.watermark SET reported_at = now() - interval '1 hour'`)
    assert.deepEqual(await owner.run(ask), {
      rows: [row],
      notices: ['NOTICE report-old', 'WARNING no-daemon'],
    })
    assert.deepEqual(await owner.column('SELECT topic FROM millrace.watched_topic'), ['seen'])
  })

  test('of a topic that nobody reported on is noted for the daemon', async (t) => {
    const { owner } = await consuming(t)
    const listener = owner.client
    const heard = new Promise((resolve) => listener.once('notification', resolve))
    await owner.run('LISTEN millrace')
    assert.deepEqual(await owner.run(ask), {
      rows: [],
      notices: ['WARNING topic-unreported', 'WARNING no-daemon'],
    })
    await heard
    assert.deepEqual(await owner.column('SELECT topic FROM millrace.watched_topic'), ['seen'])
    await owner.run(ask)
    assert.equal(await owner.value('SELECT count(*)::int FROM millrace.watched_topic'), 1)
  })

  test('is answered in a read-only transaction as well', async (t) => {
    const { owner } = await consuming(t)
    await owner.run('BEGIN READ ONLY')
    assert.deepEqual((await owner.run(ask)).notices, ['WARNING topic-unreported', 'WARNING no-daemon'])
    await owner.run('COMMIT')
  })

  test('is for roles that may consume the topic', async (t) => {
    const { owner, as, roles } = await consuming(t)
    const alice = await as(roles.alice)
    await owner.run(
      `INSERT INTO millrace.watermark (cluster, topic, partition, low, high) VALUES ('default', 'seen', 1, 0, 1)`,
    )
    assert.equal(await alice.refusal(ask), 'topic-not-granted 42501')
    await owner.run(`SELECT millrace.grant_topic('seen', '${roles.alice}')`)
    assert.equal((await alice.run(ask)).rows.length, 1)
    assert.equal(
      await alice.refusal(`SELECT * FROM pipeline_kafka.topic_watermarks('x"; --', 1)`),
      'topic-invalid 22023',
    )
    assert.equal(
      await alice.refusal(`SELECT * FROM pipeline_kafka.topic_watermarks(NULL, 1)`),
      'topic-invalid 22023',
    )
  })
})

describe('a connected daemon', () => {
  test('is known by the lock that it holds, in this database only', async (t) => {
    const { owner, database } = await consuming(t)
    const other = await ownedDatabase(t)
    const elsewhere = await other.as(other.roles.owner)
    const daemon = await database.client()
    assert.equal(await owner.value('SELECT millrace.daemon_connected()'), false)
    await daemon.query('SELECT pg_advisory_lock_shared(1298756723, 1)')
    assert.equal(await owner.value('SELECT millrace.daemon_connected()'), true)
    assert.equal(await elsewhere.value('SELECT millrace.daemon_connected()'), false)
    const { notices } = await owner.run(`SELECT pipeline_kafka.consume_end('topic', 't')`)
    assert.deepEqual(notices, [])
    await daemon.query('SELECT pg_advisory_unlock_shared(1298756723, 1)')
    await daemon.query('SELECT pg_advisory_lock(1298756723)')
    assert.equal(
      await owner.value('SELECT millrace.daemon_connected()'),
      false,
      'a lock with one key is another lock',
    )
  })

  test('is notified of what is wanted, and not of what it records', async (t) => {
    const { owner } = await consuming(t)
    let heard = 0
    owner.client.on('notification', () => heard++)
    await owner.run('LISTEN millrace')
    const count = async (sql: string): Promise<number> => {
      heard = 0
      await owner.run(sql)
      await owner.run('SELECT 1')
      return heard
    }
    assert.equal(await count('SELECT pipeline_kafka.consume_end()'), 1)
    assert.equal(await count('SELECT pipeline_kafka.consume_begin()'), 1)
    assert.equal(await count(`SELECT pipeline_kafka.add_broker('other')`), 1)
    assert.equal(await count(`SELECT pipeline_kafka.remove_broker('other')`), 1)
    assert.equal(
      await count('UPDATE millrace.consumer SET start_pending = false, located_at = now(), warning = NULL'),
      0,
    )
    assert.equal(await count(`INSERT INTO millrace.daemon (id) VALUES (gen_random_uuid())`), 0)
  })
})

describe('docs/sql.md', () => {
  const document = readFileSync(join(import.meta.dirname, '../../docs/sql.md'), 'utf8')

  test('has every function and view that a user meets, and each column of a view has a comment', async (t) => {
    const { owner } = await consuming(t)
    const shown = await owner.column(`
      SELECT DISTINCT n.nspname || '.' || name FROM (
        SELECT relnamespace, relname, obj_description(oid, 'pg_class') FROM pg_class WHERE relkind = 'v'
        UNION ALL SELECT pronamespace, proname, obj_description(oid, 'pg_proc') FROM pg_proc
      ) AS objects (namespace, name, comment) JOIN pg_namespace AS n ON n.oid = namespace
      WHERE nspname IN ('millrace', 'pipeline_kafka', 'kafka', 'public') AND comment IS NOT NULL
        AND comment !~ 'For (other views|millrace\\.consumers)\\.$|What the dialects call\\.$|^Raises an error'`)
    const missing = shown.filter((name) => !document.includes(String(name).replace(/^public\./, '')))
    assert.deepEqual(missing, [])
    assert.deepEqual(
      await owner.column(
        `SELECT c.oid::regclass || '.' || attname FROM pg_class AS c JOIN pg_attribute AS a ON attrelid = c.oid
        WHERE c.oid = ANY ($1::regclass[]) AND attnum > 0 AND col_description(c.oid, attnum) IS NULL`,
        [
          [
            'millrace.consumers',
            'millrace.lag',
            'millrace.dead_letters',
            'millrace.batches',
            ...dialectNames().flatMap((name) =>
              readDialect(name).objects.flatMap((object) => object.split('VIEW ')[1] ?? []),
            ),
          ],
        ],
      ),
      [],
    )
  })
})
