// How messages are delivered is a setting of the cluster, and an administrator's.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ownedDatabase } from '../support/owned-database.ts'

test('delivery is at_least_once unless it is said, and can be changed', async (t) => {
  const { as, roles } = await ownedDatabase(t)
  const admin = await as(roles.admin)
  const delivery = (name: string) =>
    admin.value(`SELECT delivery FROM millrace.outbox_status WHERE cluster = '${name}'`)
  await admin.run(`SELECT millrace.add_cluster('default', 'a:1')`)
  assert.equal(await delivery('default'), 'at_least_once')
  await admin.run(`SELECT millrace.alter_cluster('default', delivery := 'exactly_once')`)
  assert.equal(await delivery('default'), 'exactly_once')
  await admin.run(`SELECT millrace.add_cluster('other', 'b:1,c:1', delivery := 'exactly_once')`)
  assert.equal(await delivery('other'), 'exactly_once')
  await admin.run(`SELECT millrace.add_cluster('third', ARRAY['d:1'], 'at_least_once')`)
  assert.equal(await delivery('third'), 'at_least_once')
})

test('what is no delivery, no cluster or nothing to decide is refused', async (t) => {
  const { as, roles } = await ownedDatabase(t)
  const admin = await as(roles.admin)
  for (const [call, refusal] of [
    [`add_cluster('other', 'a:1', 'twice')`, 'delivery-invalid 22023'],
    [`alter_cluster('default', 'twice')`, 'delivery-invalid 22023'],
    [`alter_cluster('default', NULL)`, 'delivery-invalid 22023'],
    [`alter_cluster('none', 'exactly_once')`, 'cluster-missing 42704'],
    [`resume_outbox('default', NULL)`, 'unsent-invalid 22023'],
    [`resume_outbox('default', 'send')`, 'outbox-not-stopped 55000'],
  ]) {
    assert.equal(await admin.refusal(`SELECT millrace.${call}`), refusal, call)
  }
})

test('an ordinary role changes nothing of it', async (t) => {
  const { as, roles } = await ownedDatabase(t)
  const alice = await as(roles.alice)
  for (const call of [
    `add_cluster('other', 'a:1', 'exactly_once')`,
    `alter_cluster('default', 'exactly_once')`,
    `resume_outbox('default', 'skip')`,
  ]) {
    assert.equal(await alice.refusal(`SELECT millrace.${call}`), 'admin-required 42501', call)
  }
  await alice.run(`UPDATE millrace.cluster SET delivery = 'exactly_once', unsent = 'skip'`)
  const owner = await as(roles.owner)
  assert.deepEqual(
    (await owner.run('SELECT delivery, unsent FROM millrace.cluster')).rows,
    [{ delivery: 'at_least_once', unsent: null }],
    'row-level security leaves no row to change',
  )
})
