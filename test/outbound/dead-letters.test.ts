// on_refused := 'dead_letter': what Kafka does not take is kept, and nothing waits for it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Cleanup } from '../support/cleanup.ts'
import { databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { addBroker, promptDaemon } from '../support/flow.ts'
import { readWithJava } from '../support/java-client.ts'
import { idOf, outboxStatus, promptRelay, untilCount, untilSent, valuesOf } from '../support/sent.ts'
import { adminOf, topicFor } from '../support/topic.ts'

async function setUp(t: Cleanup, setting = 'dead_letter') {
  const db = await databaseFor(t)
  await addBroker(db)
  await db.query("SELECT millrace.alter_cluster('default', on_refused := $1)", [setting])
  const topic = await topicFor(t, { partitions: 1, config: { 'max.message.bytes': '20000' } })
  const letters = async () => (await db.query('SELECT * FROM millrace.outbox_dead_letters ORDER BY id')).rows
  const untilLetters = (count: number) =>
    eventually(`${count} dead letters`, async () => {
      const found = await letters()
      return found.length === count && found
    })
  return { db, topic, letters, untilLetters }
}

const allow = (topic: string, bytes: string) =>
  adminOf().incrementalAlterConfigs({
    resources: [
      {
        resourceType: 2,
        resourceName: topic,
        configs: [{ name: 'max.message.bytes', configOperation: 0, value: bytes }],
      },
    ],
  })

test('F19 a message that is too large becomes a dead letter, its key flows on; sent again, it arrives', async (t) => {
  const { db, topic, untilLetters } = await setUp(t)
  const daemon = await promptDaemon(t, db, { env: promptRelay })
  const { rows } = await db.query(
    `SELECT millrace.produce($1, '1', 'a') AS first, millrace.produce($1, repeat('x', 50000), 'a', headers := '{"h": "v"}',
       "timestamp" := '2001-02-03 04:05:06Z') AS large, millrace.produce($1, '3', 'a'), millrace.produce($1, 'b', 'b')`,
    [topic],
  )
  await untilCount(topic, 3)
  const [letter] = await untilLetters(1)
  await untilSent(db)
  assert.deepEqual(
    [letter.id, letter.topic, letter.key_text, letter.value_text.length, letter.headers_json, letter.code],
    [rows[0].large, topic, 'a', 50_000, { h: 'v' }, 'message-refused'],
  )
  assert.match(letter.message, /max\.message\.bytes/)
  const status = await outboxStatus(db)
  assert.deepEqual([status.waiting, (status as unknown as { dead_letters: string }).dead_letters], ['0', '1'])
  assert.deepEqual(valuesOf(await readWithJava(t, topic)), ['1', '3', 'b'])
  await daemon.waitForLog('messages become dead letters')
  await allow(topic, '1000000')
  const sent = await db.query('SELECT millrace.resend_dead_letters(ids := $1) AS count', [[letter.id]])
  assert.equal(sent.rows[0].count, '1')
  await untilCount(topic, 4)
  await untilLetters(0)
  const last = (await readWithJava(t, topic)).at(-1)!
  assert.deepEqual(
    [last.key, last.value?.length, last.timestamp, last.headers.find(([name]) => name === 'h')],
    ['a', 50_000, Date.parse('2001-02-03T04:05:06Z'), ['h', 'v']],
  )
})

test('messages for a topic that is missing become dead letters, those for others do not; then they are sent in order', async (t) => {
  const { db, topic, untilLetters, letters } = await setUp(t)
  const later = `${topic}-later`
  await promptDaemon(t, db, { env: { ...promptRelay, MILLRACE_OUTBOUND_BATCH_SIZE: '1kB' } })
  await db.query(
    `SELECT count(millrace.produce($2, 'l ' || i, 'k')), count(millrace.produce($1, 'v ' || i, 'k')) FROM generate_series(1, 3000) AS i`,
    [topic, later],
  )
  await untilCount(topic, 3000)
  await untilLetters(3000)
  assert.equal((await outboxStatus(db)).waiting, '0')
  assert.deepEqual(new Set((await letters()).map(({ code }) => code)), new Set(['topic-missing']))
  await topicFor(t, { name: later, partitions: 1 })
  // once it is found, nothing becomes a dead letter any more
  await eventually('it is sent to', async () => {
    await db.query("SELECT millrace.produce($1, 'probe')", [later])
    const before = (await letters()).length
    await untilSent(db)
    return (await letters()).length === before
  })
  await db.query(
    "SELECT millrace.discard_dead_letters(ids := array_agg(id)) FROM millrace.outbox_dead_letters WHERE value_text = 'probe'",
  )
  await db.query('SELECT millrace.resend_dead_letters(topic := $1)', [later])
  await untilLetters(0)
  await untilSent(db)
  const values = valuesOf(await readWithJava(t, later)).filter((value) => value !== 'probe')
  assert.deepEqual(
    values,
    Array.from({ length: 3000 }, (_, i) => `l ${i + 1}`),
  )
})

test('what waited when the setting was changed becomes dead letters at its next try, and what is behind it is sent', async (t) => {
  const { db, topic, untilLetters } = await setUp(t, 'wait')
  const later = `${topic}-missing`
  await promptDaemon(t, db, { env: promptRelay })
  await db.query(
    `SELECT millrace.produce($1, repeat('x', 50000), 'a'), millrace.produce($1, 'behind', 'a'), millrace.produce($2, 'm', 'm'),
       millrace.produce($1, 'here', partition := 7)`,
    [topic, later],
  )
  await eventually('four wait', async () => (await outboxStatus(db)).waiting === '4')
  await db.query("SELECT millrace.alter_cluster('default', on_refused := 'dead_letter')")
  const found = await untilLetters(3)
  assert.deepEqual(
    found.map(({ code }) => code),
    ['message-refused', 'topic-missing', 'target-partition-missing'],
  )
  await untilCount(topic, 1)
  assert.deepEqual(valuesOf(await readWithJava(t, topic)), ['behind'])
  await eventually('nothing waits', async () => (await outboxStatus(db)).waiting === '0')
})

const everywhere = ['outbound.after-acknowledged', 'outbound.before-record', 'outbound.after-record']
const failpoints = {
  at_least_once: everywhere,
  exactly_once: [...everywhere, 'outbound.before-commit', 'outbound.after-commit'],
}

for (const [delivery, crashes] of Object.entries(failpoints)) {
  test(`F18 kill -9 in between, ${delivery}: each message is sent or a dead letter, none is both or neither`, async (t) => {
    const { db, topic, letters } = await setUp(t)
    await db.query("SELECT millrace.alter_cluster('default', delivery := $1)", [delivery])
    for (const failpoint of crashes) {
      await db.query(
        `SELECT count(millrace.produce($1, CASE WHEN i % 50 = 0 THEN repeat('x', 30000) ELSE i::text END, (i % 7)::text))
           FROM generate_series(1, 1000) AS i`,
        [topic],
      )
      const victim = await promptDaemon(t, db, {
        env: { ...promptRelay, MILLRACE_FAILPOINTS: `${failpoint}=crash` },
      })
      assert.deepEqual(await victim.exited, { code: null, signal: 'SIGKILL' })
    }
    await promptDaemon(t, db, { env: promptRelay })
    await untilSent(db)
    const dead = (await letters()).map(({ id }) => id)
    assert.equal(dead.length, 20 * crashes.length)
    const ids = (await readWithJava(t, topic)).map((record) => idOf(record).split(':')[1]!)
    assert.equal(new Set([...ids, ...dead]).size, 1000 * crashes.length, 'all of them')
    assert.equal(new Set(ids).size, 980 * crashes.length)
    if (delivery === 'exactly_once') assert.equal(ids.length, 980 * crashes.length, 'once')
  })
}
