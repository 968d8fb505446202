// Published tables as another client reads them from Kafka: what the topic says last of each key is the table.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Cleanup } from '../support/cleanup.ts'
import { eventually } from '../support/eventually.ts'
import { addBroker, promptDaemon } from '../support/flow.ts'
import { ownedDatabase } from '../support/owned-database.ts'
import { plainRoles } from '../support/plain-roles.ts'
import { randomFrom, randomSeed } from '../support/random.ts'
import { distinct, promptRelay, untilSent } from '../support/sent.ts'
import { topicFor } from '../support/topic.ts'

/** What the topic says last of each key, tombstones taken out. */
async function stateOf(t: Cleanup, topic: string): Promise<Record<string, string>> {
  const state: Record<string, string> = {}
  for (const { key, value } of (await distinct(t, topic)).records) {
    assert.ok(key !== null)
    if (value === null) delete state[key]
    else state[key] = value
  }
  return state
}

async function setUp(t: Cleanup) {
  const db = await ownedDatabase(t)
  await addBroker(db.database)
  await db.superuser.run(`SELECT millrace.grant_topic('*', '${db.roles.alice}', action := 'produce')`)
  return { ...db, alice: await db.as(db.roles.alice) }
}

test('F17 F21 writers that insert, update, delete, change keys and roll back: the topic ends as the table', async (t) => {
  const { database, alice, as, roles } = await setUp(t)
  const seed = randomSeed()
  const random = randomFrom(seed)
  const names = { plain: await topicFor(t), parts: await topicFor(t) }
  await alice.run(`CREATE TABLE plain (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v int);
    CREATE TABLE parts (id int, v int, place int, PRIMARY KEY (id, place)) PARTITION BY LIST (place);
    CREATE TABLE parts_0 PARTITION OF parts FOR VALUES IN (0); CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
    INSERT INTO plain SELECT i, 0 FROM generate_series(1, 50) AS i; INSERT INTO parts SELECT i, 0, i % 2 FROM generate_series(1, 50) AS i`)
  await alice.run('SELECT millrace.publish($1, $2, key := $5), millrace.publish($3, $4, key := $5)', [
    'plain',
    names.plain,
    'parts',
    names.parts,
    '{id}',
  ])
  await promptDaemon(t, database, { env: promptRelay })
  const sessions = await Promise.all([1, 2, 3, 4].map(() => as(roles.alice)))
  await Promise.all(
    sessions.map(async (session, w) => {
      // each has ids of its own, so that none waits for another's row for ever
      const within = `id % 4 = ${w}`
      const next = (() => {
        let n = 0
        return () => 1000 + 400 * n++ + w
      })()
      for (let i = 0; i < 60; i++) {
        const target = random() < 0.5 ? 'plain' : 'parts'
        const statement = [
          () =>
            `INSERT INTO ${target} (id, v${target === 'parts' ? ', place' : ''}) VALUES (${next()}, 1${target === 'parts' ? ', 1' : ''})`,
          () => `UPDATE ${target} SET v = v + 1 WHERE ${within} AND id % 3 = ${i % 3}`,
          () => `DELETE FROM ${target} WHERE ${within} AND id % 7 = ${i % 7}`,
          () => `UPDATE ${target} SET id = id + 4 WHERE ${within} AND id > 900 AND '${target}' = 'plain'`,
          () => `UPDATE parts SET place = 1 - place WHERE ${within} AND id % 5 = ${i % 5}`,
        ][Math.floor(random() * 5)]!()
        await session.run(`BEGIN; ${statement}; ${random() < 0.2 ? 'ROLLBACK' : 'COMMIT'}`)
      }
    }),
  )
  await untilSent(database)
  for (const [table, topic] of Object.entries(names)) {
    const { rows } = await alice.run(`SELECT id::text AS id, v FROM ${table}`)
    const state = await stateOf(t, topic)
    assert.deepEqual(
      Object.fromEntries(Object.entries(state).map(([id, value]) => [id, JSON.parse(value).v])),
      Object.fromEntries(rows.map(({ id, v }) => [id, v])),
      `${table}, seed ${seed}`,
    )
  }
})

test('a table that is too large to be read in one transaction is read by the daemon, while it is written to', async (t) => {
  const { db, owner, urlOf, daemon: role } = await plainRoles(t)
  const topic = await topicFor(t)
  await db.query(`SELECT millrace.grant_topic('*', $1, action := 'produce')`, [owner])
  const writer = await db.client()
  await writer.query(`SET ROLE ${owner}; CREATE TABLE big (id int PRIMARY KEY, filler text, n int DEFAULT 0);
    INSERT INTO big SELECT i, repeat('x', 1000), 0 FROM generate_series(1, 9000) AS i`)
  await writer.query(`SELECT millrace.publish('big', $1, columns := '{id,n}')`, [topic])
  await promptDaemon(t, { url: urlOf(role) }, { env: promptRelay })
  for (let i = 0; i < 40; i++) {
    await writer.query('UPDATE big SET n = n + 1 WHERE id % 100 = $1', [i])
    await writer.query('DELETE FROM big WHERE id = $1', [i * 200 + 150])
  }
  await eventually(
    'the snapshot is done',
    async () => {
      const { rows } = await db.query('SELECT state, error_message FROM millrace.snapshots')
      assert.equal(rows[0]?.error_message ?? null, null)
      return rows[0]?.state === 'done'
    },
    { deadline: 60_000 },
  )
  await untilSent(db, { deadline: 60_000 })
  const { rows } = await writer.query('SELECT id, n FROM big')
  const state = Object.values(await stateOf(t, topic)).map((value) => JSON.parse(value))
  const sorted = (items: { id: number; n: number }[]) => items.map(({ id, n }) => `${id}:${n}`).sort()
  assert.deepEqual(sorted(state), sorted(rows))
})
