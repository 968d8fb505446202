// What a real daemon tells of its work, read by a strict reader and compared with what PostgreSQL says of it.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { metrics } from '../../src/console/metrics.ts'
import { type WatchedDaemon, watchedDaemon } from '../support/console.ts'
import { type Database, databaseFor } from '../support/database.ts'
import { checkDocumentPart, documentTable } from '../support/document-part.ts'
import { eventually } from '../support/eventually.ts'
import { sampleOf, samplesOf } from '../support/exposition.ts'
import { addBroker, begin, consumerOf, untilPassed, untilState } from '../support/flow.ts'
import { produce, topicFor } from '../support/topic.ts'

const consumersOf = async (db: Database): Promise<Map<string, string>> => {
  const { rows } = await db.query('SELECT topic, id::text FROM millrace.consumer')
  return new Map(rows.map(({ topic, id }) => [topic, id]))
}

test('what was loaded, where it stands and what waits', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  await db.query('CREATE TABLE "Target" (n int)')
  const topic = await topicFor(t, { partitions: 2 })
  const message = (n: number) => ({ value: String(n), partition: n % 2 })
  await produce(topic, [0, 1, 2, 3, 4].map(message))
  await produce(topic, [{ key: 'a', value: null, partition: 1 }])
  await begin(db, topic, '"Target"', { start_offset: -2 })
  const daemon = await watchedDaemon(t, db)
  await untilPassed(db, topic, 6)

  const row = await consumerOf(db, topic)
  const of = { consumer: row.id, cluster: 'default', topic, target: 'public.Target' }
  const found = await eventually('the loads are counted', async () => {
    const all = await daemon.metrics()
    return sampleOf(all, 'millrace_messages_loaded_total', of).value === 5 && all
  })
  const value = (name: string, labels = {}): number => sampleOf(found, name, { ...of, ...labels }).value
  assert.equal(value('millrace_messages_skipped_total'), 1)
  assert.equal(value('millrace_loaded_bytes_total'), 5)
  assert.equal(value('millrace_dead_letters_total'), 0)
  assert.equal(value('millrace_consumer_state', { state: 'running', code: '' }), 1)
  assert.equal(value('millrace_consumer_partitions'), 2)
  assert.equal(value('millrace_consumer_lag'), 0)
  assert.equal(value('millrace_partition_lag', { partition: '0' }), 0)
  assert.equal(value('millrace_partition_position', { partition: '0' }), 3)
  assert.equal(value('millrace_partition_position', { partition: '1' }), 3)
  assert.ok(Math.abs(value('millrace_last_load_timestamp_seconds') - Date.now() / 1000) < 60)
  assert.ok(value('millrace_fetch_requests_total') > 0)
  assert.ok(value('millrace_fetch_bytes_total') > 5)
  assert.equal(value('millrace_fetch_throttle_seconds_total'), 0)
  assert.equal(value('millrace_fetch_connections_total'), 1)
  const batches = value('millrace_batches_total')
  assert.ok(batches >= 1)
  assert.ok(value('millrace_load_seconds_total') > 0)

  const own = (name: string, labels = {}): number => sampleOf(found, name, labels).value
  assert.equal(own('millrace_batch_messages_count'), batches)
  assert.equal(own('millrace_batch_messages_sum'), 5)
  assert.equal(own('millrace_batch_bytes_sum'), 5)
  assert.equal(own('millrace_batch_load_seconds_count'), batches)
  assert.equal(own('millrace_consumers', { state: 'running' }), 1)
  assert.equal(own('millrace_consumers', { state: 'failed' }), 0)
  assert.equal(own('millrace_ready'), 1)
  assert.equal(own('millrace_postgres_sessions_limit'), 5)
  // one that loads, one that keeps house now and then, and one that counts what is not sent
  assert.ok(own('millrace_postgres_sessions_open') >= 1 && own('millrace_postgres_sessions_open') <= 3)
  assert.equal(
    own('millrace_postgres_connects_total', { use: 'pump' }),
    own('millrace_postgres_sessions_open'),
  )
  assert.equal(own('millrace_memory_budget_limit_bytes'), 64 * 1024 * 1024)
  assert.ok(own('millrace_memory_budget_used_bytes') > 0, 'a Fetch that waits has reserved')
  assert.ok(own('process_resident_memory_bytes') > 1e7)
  assert.ok(own('process_cpu_seconds_total') > 0)
  assert.ok(Math.abs(own('process_start_time_seconds') - Date.now() / 1000) < 120)
  assert.ok(own('millrace_event_loop_active_seconds_total') > 0)
  assert.match(sampleOf(found, 'millrace_build_info').labels.version!, /^\d+\.\d+\.\d+/)
})

/** Loads a first message, fails, and is dropped. */
test('a consumer that fails is shown as failed, and a dropped one is not shown', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  await db.query('CREATE TABLE bad (n int); CREATE TABLE good (n int)')
  const [bad, good] = [await topicFor(t, { partitions: 1 }), await topicFor(t, { partitions: 1 })]
  await produce(bad, [{ value: '1' }, { value: 'x' }])
  await produce(good, [{ value: '1' }])
  await begin(db, bad, 'bad', { start_offset: -2 })
  await begin(db, good, 'good', { start_offset: -2 })
  const daemon = await watchedDaemon(t, db)
  await untilState(db, bad, 'failed')
  const ids = await consumersOf(db)
  const failed = { consumer: ids.get(bad)!, topic: bad, target: 'public.bad' }
  const found = await eventually('the failure is shown', async () => {
    const all = await daemon.metrics()
    const labels = { ...failed, state: 'failed', code: 'message-rejected' }
    return samplesOf(all, 'millrace_consumer_state', labels).length === 1 && all
  })
  assert.equal(samplesOf(found, 'millrace_consumer_state', { consumer: failed.consumer }).length, 1)
  assert.equal(sampleOf(found, 'millrace_failures_total', { ...failed, code: 'message-rejected' }).value, 1)
  assert.equal(sampleOf(found, 'millrace_consumers', { state: 'failed' }).value, 1)
  assert.equal(sampleOf(found, 'millrace_messages_loaded_total', failed).value, 1)
  assert.equal(samplesOf(found, 'millrace_consumer_lag', failed).length, 0, 'nobody reads it')
  const { status, text } = await daemon.page('/readyz')
  assert.equal(status, 200, 'the others are loaded')
  const answer = JSON.parse(text)
  assert.deepEqual(answer.consumers.attention, [
    {
      id: failed.consumer,
      cluster: 'default',
      topic: bad,
      target: 'public.bad',
      state: 'failed',
      code: 'message-rejected',
    },
  ])
  assert.ok(!text.includes('invalid input'), 'codes are shown, not words')

  // stopped, it stays; dropped, it goes, and the other one is still there
  await db.query('SELECT pipeline_kafka.consume_end($1, $2)', [good, 'good'])
  await eventually('the other one is stopped', async () => {
    const stopped = { topic: good, state: 'stopped' }
    return samplesOf(await daemon.metrics(), 'millrace_consumer_state', stopped).length === 1
  })
  await db.query('DELETE FROM millrace.consumer WHERE topic = $1', [bad])
  await eventually('its series are gone', async () => !(await daemon.page('/metrics')).text.includes(bad))
  assert.equal(sampleOf(await daemon.metrics(), 'millrace_messages_loaded_total', { topic: good }).value, 1)
})

test('transaction ids that failing messages take are counted, for the metrics and in the views alike', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const constraint = 'UNIQUE DEFERRABLE INITIALLY DEFERRED'
  await db.query(`CREATE TABLE target (n int ${constraint}); INSERT INTO target VALUES (-1)`)
  const topic = await topicFor(t, { partitions: 2 })
  const value = (i: number) => ({ value: String(i % 4 === 0 ? -1 : i), partition: i % 2 })
  await produce(
    topic,
    Array.from({ length: 80 }, (_, i) => value(i)),
  )
  const client = await db.client()
  await client.query(
    `SELECT millrace.consume($1, 'target', format := 'text', on_error := 'dead_letter', start_offset := -2)`,
    [topic],
  )
  const daemon = await watchedDaemon(t, db)
  await untilPassed(db, topic, 80)
  const {
    rows: [row],
  } = await db.query(
    `SELECT c.transaction_ids::int AS ids, c.dead_letters::int AS letters, c.skipped::int AS skipped,
       (SELECT sum(b.transaction_ids)::int FROM millrace.batches AS b) AS in_batches,
       (SELECT count(DISTINCT b.xid)::int FROM millrace.batches AS b WHERE b.transaction_ids > 0) AS with_ids
     FROM millrace.consumers AS c`,
  )
  assert.deepEqual([row.letters, row.skipped], [20, 0])
  // each of them was tried alone, at the least
  assert.ok(row.ids >= 20, `${row.ids}`)
  assert.equal(row.in_batches, row.ids)
  assert.ok(row.with_ids >= 1)
  const name = 'millrace_failing_transaction_ids_total'
  await eventually(
    'the ids are counted',
    async () => sampleOf(await daemon.metrics(), name, { topic }).value === row.ids,
  )
  await db.query('SELECT millrace.merge_batches(older_than := $1)', ['-1 hour'])
  const merged = await db.query('SELECT sum(transaction_ids)::int AS ids FROM millrace.batches')
  assert.equal(merged.rows[0].ids, row.ids)
})

test('a try that failed is counted by its SQLSTATE; every metric of docs and dashboard exists', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  await db.query('CREATE TABLE target (n int); CREATE TABLE bad (n int)')
  const [topic, bad] = [await topicFor(t, { partitions: 1 }), await topicFor(t, { partitions: 1 })]
  await produce(topic, [{ value: '1' }])
  await produce(bad, [{ value: 'x' }])
  // something is sent, something refused, and something tried again
  await db.query(
    `SELECT millrace.add_cluster('gone', 'localhost:1'), millrace.produce('no.topic.of.this.name', 'v', cluster := 'gone')`,
  )
  await db.query(`SELECT millrace.produce('no.topic.of.this.name', 'v', cluster := 'default')`)
  await db.query(`SELECT millrace.produce($1, 'v', cluster := 'default')`, [await topicFor(t)])
  const blocker = await db.client()
  await blocker.query('BEGIN; LOCK TABLE target')
  await begin(db, topic, 'target', { start_offset: -2 })
  await begin(db, bad, 'bad', { start_offset: -2 })
  const daemon = await watchedDaemon(t, db)
  await untilState(db, bad, 'failed')
  await eventually('a load that waits for the lock is ended', async () => {
    const { rows } = await db.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'millrace pump' AND wait_event_type = 'Lock'`,
    )
    return rows.length > 0
  })
  await eventually('the retry is counted', async () => {
    return samplesOf(await daemon.metrics(), 'millrace_retries_total', { topic }).length > 0
  })
  const loads = samplesOf(await daemon.metrics(), 'millrace_retries_total', { topic })
  assert.deepEqual(
    loads.map(({ labels }) => [labels.sqlstate_class, labels.code]),
    [['57', '']],
  )
  await blocker.query('ROLLBACK')
  await untilPassed(db, topic, 1)
  const found = await eventually('the load is counted', async () => {
    const all = await daemon.metrics()
    const loaded = sampleOf(all, 'millrace_messages_loaded_total', { topic }).value === 1
    return loaded && samplesOf(all, 'millrace_last_sent_timestamp_seconds').length === 1 && all
  })
  assert.ok(sampleOf(found, 'millrace_postgres_connects_total', { use: 'pump' }).value >= 2)
  const sent = { cluster: 'default' }
  assert.equal(sampleOf(found, 'millrace_messages_sent_total', sent).value, 1)
  assert.ok(sampleOf(found, 'millrace_sent_bytes_total', sent).value > 1)
  assert.equal(sampleOf(found, 'millrace_sent_batches_total', sent).value, 1)
  assert.ok(sampleOf(found, 'millrace_send_refusals_total', { ...sent, code: 'topic-missing' }).value >= 1)
  const retried = { cluster: 'gone', code: 'kafka-unreachable' }
  assert.ok(sampleOf(found, 'millrace_send_retries_total', retried).value >= 1)
  assert.equal(sampleOf(found, 'millrace_sending_state', { cluster: 'gone' }).labels.state, 'retrying')
  assert.equal(sampleOf(found, 'millrace_sending_state', sent).labels.state, 'sending')
  assert.equal(sampleOf(found, 'millrace_outbox_leader').value, 1)

  const series = new Set([...found.values()].flatMap(({ samples }) => samples.map(({ name }) => name)))
  const named = [namesIn('docs/monitoring.md'), namesIn('docs/grafana-dashboard.json')]
  for (const names of named) assert.ok(names.size > 15)
  const missing = named.flatMap((names) => [...names]).filter((name) => !series.has(name) && !found.has(name))
  assert.deepEqual(missing, [])
  for (const file of ['docs/monitoring.md', 'docs/grafana-dashboard.json']) {
    for (const [name, label] of selectorsIn(file)) {
      const there = [...found.values()].flatMap(({ samples }) => samples).filter((one) => one.name === name)
      assert.ok(
        there.some(({ labels }) => label in labels),
        `${file}: ${name} has no label ${label}`,
      )
    }
  }
  // a family that nothing is ever written to would be found above by its name alone
  const empty = [...found.values()].filter(({ samples }) => samples.length === 0).map(({ name }) => name)
  assert.deepEqual(empty, [])
  assert.deepEqual(
    [...found.keys()].sort(),
    Object.values(metrics)
      .map(({ name }) => name)
      .sort(),
  )
})

test('what is not sent, where this daemon sends; another one stands by', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const topic = await topicFor(t, { partitions: 1, config: { 'max.message.bytes': '20000' } })
  await db.query("SELECT millrace.produce($1, repeat('x', 50000), 'k'), millrace.produce($1, 'v', 'k')", [
    topic,
  ])
  await db.query(`SELECT millrace.add_cluster('gone', 'localhost:1'),
    millrace.produce('far', 'v', cluster := 'gone', "timestamp" := '2020-01-01Z')`)
  const leader = await watchedDaemon(t, db)
  const other = await watchedDaemon(t, db)
  const found = await eventually(
    'it is counted',
    async () => {
      for (const daemon of [leader, other]) {
        const all = await daemon.metrics()
        const waiting = samplesOf(all, 'millrace_outbox_waiting', { cluster: 'default' })
        if (waiting[0]?.value === 2) return all
      }
      return null
    },
    { deadline: 40_000 },
  )
  const value = (name: string, cluster: string) =>
    sampleOf(found, `millrace_outbox_${name}`, { cluster }).value
  assert.deepEqual(
    ['backlog', 'oldest_timestamp_seconds', 'waiting_keys', 'dead_letters'].map((name) =>
      value(name, 'gone'),
    ),
    [1, Date.parse('2020-01-01Z') / 1000, 0, 0],
  )
  assert.deepEqual([value('backlog', 'default'), value('waiting_keys', 'default')], [0, 1])
  const leaders = await Promise.all(
    [leader, other].map(async (daemon) => sampleOf(await daemon.metrics(), 'millrace_outbox_leader').value),
  )
  assert.deepEqual(leaders.toSorted(), [0, 1])
  const standby = leaders[0] === 0 ? leader : other
  await eventually('the other one stands by', async () => {
    const [found] = samplesOf(await standby.metrics(), 'millrace_sending_state', { cluster: 'gone' })
    return found?.labels.state === 'standby'
  })
  assert.equal(samplesOf(await standby.metrics(), 'millrace_outbox_backlog').length, 0)
  const { status, text } = await (standby === other ? leader : other).page('/readyz')
  assert.equal(status, 200)
  const { sending } = JSON.parse(text)
  assert.equal(sending.leads, true)
  assert.deepEqual(
    sending.clusters.map(({ cluster, state, code, backlog, waiting }: Record<string, unknown>) => [
      cluster,
      state,
      code,
      backlog,
      waiting,
    ]),
    [
      ['default', 'sending', null, 0, 2],
      ['gone', 'retrying', 'kafka-unreachable', 1, 0],
    ],
  )
})

test('open snapshots of tables are told by every daemon', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  await db.query(`CREATE TABLE large (id int PRIMARY KEY, pad text);
    INSERT INTO large SELECT i, repeat('x', 1000) FROM generate_series(1, 8000) AS i; SELECT pg2kafka.setup('large', 'id');
    CREATE TABLE items (n int); INSERT INTO items VALUES (1);
    CREATE FUNCTION writer(relation oid, first_block bigint, end_block bigint, again tid[])
    RETURNS TABLE (written bigint, skipped tid[]) LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not today'; END $$;
    SELECT millrace.begin_snapshot('items', 'writer'::regproc)`)
  const holder = await db.client()
  await holder.query('BEGIN; SELECT FROM large WHERE id <= 5 FOR UPDATE')
  const daemons = [await watchedDaemon(t, db), await watchedDaemon(t, db)]
  const told = async (daemon: WatchedDaemon) => {
    const all = await daemon.metrics()
    const one = (name: string) => samplesOf(all, `millrace_${name}`).map(({ value }) => value)
    const states = samplesOf(all, 'millrace_snapshots').map(({ labels, value }) => [labels.state, value])
    return {
      ...Object.fromEntries(states),
      blocks: [...one('snapshot_blocks_done'), ...one('snapshot_blocks')],
    }
  }
  const untilTold = async (daemon: WatchedDaemon, expected: object) => {
    let last: object | undefined
    const same = async () => {
      last = await told(daemon)
      return isDeepStrictEqual(last, expected)
    }
    await eventually('it is told', same, { deadline: 60_000 }).catch(() => assert.deepEqual(last, expected))
  }
  const none = { pending: 0, running: 0, waiting: 0, failing: 0 }
  for (const daemon of daemons)
    await untilTold(daemon, { ...none, waiting: 1, failing: 1, blocks: [1143, 1144] })
  await holder.query('COMMIT')
  await db.query('DROP TABLE items')
  for (const daemon of daemons) await untilTold(daemon, { ...none, blocks: [0, 0] })
})

function namesIn(file: string): Set<string> {
  const text = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
  return new Set(text.match(/\b(?:millrace|process)_[a-z0-9_]+/g))
}

test('a consumer without one relation has a name, and a pattern is no consumer', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  await db.query('CREATE TABLE target (n int)')
  await db.query("SELECT millrace.pause(millrace.consume('routed', route_by_key := true))")
  await db.query(`SELECT millrace.pause(millrace.consume("into" := 'target', topic_pattern := 'some-.*'))`)
  const daemon = await watchedDaemon(t, db)
  const found = await eventually('it is shown', async () => {
    const all = await daemon.metrics()
    return samplesOf(all, 'millrace_consumer_state', { topic: 'routed' }).length === 1 && all
  })
  const shown = samplesOf(found, 'millrace_consumer_state')
  assert.deepEqual(
    shown.map(({ labels }) => [labels.target, labels.state]),
    [['public.*', 'stopped']],
  )
})

/** Labels that Prometheus adds. */
const ofPrometheus = ['instance', 'job']

/** Each metric with each label that it is selected or grouped by. */
function selectorsIn(file: string): [metric: string, label: string][] {
  const text = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8').replaceAll('\\"', '"')
  const selected = [...text.matchAll(/\b((?:millrace|process)_[a-z0-9_]+)\{([^}]*)\}/g)].flatMap(
    ([, metric, list]) => [...list!.matchAll(/([a-z_]+)=~?"/g)].map(([, label]) => [metric!, label!]),
  )
  const grouped = [...text.matchAll(/\bby \(([^)]*)\) \([^"\n]*?((?:millrace|process)_[a-z0-9_]+)/g)].flatMap(
    ([, list, metric]) => list!.split(/, ?/).map((label) => [metric!, label]),
  )
  const pairs = [...selected, ...grouped] as [string, string][]
  assert.ok(selected.length > 10 || file.endsWith('.md'))
  assert.ok(grouped.length > 5)
  return pairs.filter(([, label]) => !ofPrometheus.includes(label))
}

test('the dashboard is one that Grafana takes', () => {
  const text = readFileSync(new URL('../../docs/grafana-dashboard.json', import.meta.url), 'utf8')
  const { panels, templating, id } = JSON.parse(text)
  assert.equal(id, undefined, 'Grafana gives it one')
  const ids = panels.map((panel: { id: number }) => panel.id)
  assert.equal(new Set(ids).size, ids.length)
  const variables = templating.list.map(({ name }: { name: string }) => name)
  const used = new Set([...text.matchAll(/\$\{?([a-z]\w*)/g)].map(([, name]) => name))
  assert.deepEqual([...used].sort(), variables.toSorted(), 'variables that it uses, and those that it has')
  for (const { title, targets = [], type, gridPos } of panels) {
    if (type !== 'row') assert.ok(targets.length > 0, title)
    for (const target of targets) assert.equal(target.datasource.uid, '$' + '{datasource}', title)
    assert.ok(gridPos.x + gridPos.w <= 24, title)
  }
})

test('without series for partitions', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  await db.query('CREATE TABLE target (n int)')
  const topic = await topicFor(t, { partitions: 3 })
  await begin(db, topic, 'target', { start_offset: -2 })
  const daemon = await watchedDaemon(t, db, { env: { MILLRACE_HTTP_PARTITIONS: 'false' } })
  const found = await eventually('the lag is known', async () => {
    const all = await daemon.metrics()
    return samplesOf(all, 'millrace_consumer_lag', { topic }).length === 1 && all
  })
  assert.equal(sampleOf(found, 'millrace_consumer_partitions', { topic }).value, 3)
  assert.ok(![...found.keys()].some((name) => name.startsWith('millrace_partition_')))
})

test('docs/monitoring.md has the table of metrics', () => {
  const rows = Object.values(metrics).map((metric) => {
    const labels = 'labels' in metric ? metric.labels.map((label) => `\`${label}\``).join(', ') : ''
    return [`\`${metric.name}\``, metric.type, metric.per, labels, metric.help]
  })
  checkDocumentPart(
    'monitoring.md',
    'metrics',
    documentTable(['metric', 'type', 'for each', 'labels', ''], rows),
  )
})
