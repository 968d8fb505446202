// What of a cluster's messages is not sent goes with the cluster only when somebody says so, and who may decide about them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { outboxDatabase } from '../support/outbox.ts'

/** As the daemon would put them there. */
const deadLetter = (role: string, id: number) => `
  INSERT INTO millrace.outbox_dead_letter (id, xid, "timestamp", owner, cluster, topic, key, value, headers, code, message)
  VALUES (${id}, '5', now(), '${role}', 'default', 'topic', 'k', '\\x00ff', '{"\\\\x61","\\\\x62"}', 'message-refused', 'too large')`

test('a cluster with messages that are not sent is dropped with force alone', async (t) => {
  const { owner, admin, superuser } = await outboxDatabase(t)
  await owner.run(
    `SELECT millrace.add_cluster('two', 'a:1'), millrace.produce('topic', 'v', cluster := 'two')`,
  )
  assert.equal(await admin.refusal(`SELECT millrace.drop_cluster('two')`), 'cluster-unsent 55000')
  await owner.run(`SELECT millrace.produce('topic', 'the brokers are still there', cluster := 'two')`)
  await admin.run(`SELECT millrace.drop_cluster('two', force := true)`)
  assert.equal(
    await owner.refusal(`SELECT millrace.produce('t', 'v', cluster := 'two')`),
    'cluster-missing 42704',
  )
  // what was for the former one is not for one of the same name
  await owner.run(
    `BEGIN; SELECT millrace.add_cluster('two', 'a:1'); SELECT millrace.produce('topic', 'new', cluster := 'two'); COMMIT`,
  )
  const status = await admin.run(`SELECT backlog FROM millrace.outbox_status WHERE cluster = 'two'`)
  assert.deepEqual(status.rows, [{ backlog: '1' }])
  await superuser.run(
    `INSERT INTO millrace.outbox_waiting SELECT o.*, false, 'message-refused', 'x' FROM millrace.outbox_0 AS o ORDER BY id DESC LIMIT 1`,
  )
  await superuser.run(
    `UPDATE millrace.outbox_progress SET sent = pg_current_snapshot() WHERE cluster = 'two'`,
  )
  assert.equal(await admin.refusal(`SELECT millrace.drop_cluster('two')`), 'cluster-unsent 55000')
  await admin.run(`SELECT millrace.drop_cluster('two', true)`)
  assert.equal(await superuser.value('SELECT count(*)::int FROM millrace.outbox_waiting'), 0)
})

test('on_refused', async (t) => {
  const { admin, alice, superuser } = await outboxDatabase(t)
  const alter = (name: string, value: string) =>
    `SELECT millrace.alter_cluster('${name}', on_refused := '${value}')`
  assert.equal(await alice.refusal(alter('default', 'dead_letter')), 'admin-required 42501')
  assert.equal(await admin.refusal(alter('default', 'skip')), 'on-refused-invalid 22023')
  assert.equal(await admin.refusal(alter('none', 'wait')), 'cluster-missing 42704')
  await admin.run(alter('default', 'dead_letter'))
  assert.equal(await superuser.value('SELECT on_refused FROM millrace.cluster'), 'dead_letter')
  await alice.run(`UPDATE millrace.cluster SET on_refused = 'wait'`)
  assert.equal(await superuser.value('SELECT on_refused FROM millrace.cluster'), 'dead_letter')
})

test('dead letters of sending: seen by their role, decided about by administrators', async (t) => {
  const { admin, alice, bob, superuser, roles } = await outboxDatabase(t)
  for (const id of [3, 1, 2]) await superuser.run(deadLetter(roles.alice, id))
  const seen =
    'SELECT id, key_text, value_text, headers_json, code FROM millrace.outbox_dead_letters ORDER BY id'
  const letter = (id: string) => ({
    id,
    key_text: 'k',
    value_text: null,
    headers_json: { a: 'b' },
    code: 'message-refused',
  })
  assert.deepEqual((await alice.run(seen)).rows, ['1', '2', '3'].map(letter))
  assert.deepEqual((await bob.run(seen)).rows, [])
  for (const call of ['resend_dead_letters', 'discard_dead_letters']) {
    assert.equal(await alice.refusal(`SELECT millrace.${call}(topic := 'topic')`), 'admin-required 42501')
    assert.equal(await admin.refusal(`SELECT millrace.${call}()`), 'choice-missing 22023')
  }
  assert.match((await alice.refusal('DELETE FROM millrace.outbox_dead_letter')) ?? '', /42501$/)
  assert.equal(await admin.value(`SELECT millrace.discard_dead_letters(ids := '{2,9}')`), '1')
  assert.equal(await admin.value(`SELECT millrace.resend_dead_letters(cluster := 'other')`), '0')
  assert.equal(
    await admin.value(`SELECT millrace.resend_dead_letters(topic := 'topic', cluster := 'default')`),
    '2',
  )
  assert.deepEqual((await superuser.run(seen)).rows, [])
  const { rows } = await superuser.run('SELECT value, headers FROM millrace.outbox ORDER BY id')
  assert.deepEqual(
    rows.map(({ value, headers }) => [String(value), String(headers)]),
    [0, 1].map(() => [String(Buffer.from([0, 255])), 'a,b']),
  )
  assert.equal((await superuser.column('SELECT id FROM millrace.outbox')).length, 2)
})
