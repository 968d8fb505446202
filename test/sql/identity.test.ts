// What a database records of itself, what of it ordinary roles may know and change, and what is left where the server
// shows less.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { millrace } from '../support/millrace.ts'
import { ownedDatabase } from '../support/owned-database.ts'
import { postgresFor } from '../support/servers.ts'

test('a database is recorded when it is installed', async (t) => {
  const { as, roles, database } = await ownedDatabase(t, { installed: 'here' })
  const owner = await as(roles.owner)
  const { rows } = await owner.run(
    'SELECT i.system_identifier, i.timeline, i.database, i.database_oid FROM millrace.installation AS i',
  )
  const found = await owner.run('SELECT * FROM millrace.identity()')
  assert.deepEqual(rows, found.rows)
  assert.equal(rows[0]!.database, database.name)
  assert.ok(rows[0]!.system_identifier && rows[0]!.timeline)
  assert.equal(await owner.value('SELECT millrace.identity_difference()'), null)
  assert.deepEqual(await owner.column('SELECT reason FROM millrace.identity_history'), ['installed'])
  assert.equal(await owner.value("SELECT millrace.record_identity('found')"), false, 'nothing is new')
  assert.deepEqual(await owner.column('SELECT reason FROM millrace.identity_history'), ['installed'])
})

test('every role may know whether it is the one that was recorded; the owner alone says which it is', async (t) => {
  const { as, roles, superuser } = await ownedDatabase(t)
  await superuser.run("UPDATE millrace.installation SET database = 'other'")
  for (const role of [roles.alice, roles.admin]) {
    const session = await as(role)
    assert.match(String(await session.value('SELECT millrace.identity_difference()')), /was called other and/)
    for (const call of ['adopt(true)', 'adopt(false)', "record_identity('moved')"]) {
      assert.match(String(await session.refusal(`SELECT millrace.${call}`)), /42501$/, call)
    }
    assert.match(String(await session.refusal('SELECT id FROM millrace.installation')), /42501$/)
    assert.match(String(await session.refusal('SELECT * FROM millrace.identity_history')), /42501$/)
  }
  const owner = await as(roles.owner)
  await owner.run('SELECT millrace.adopt(false)')
  assert.equal(await owner.value('SELECT millrace.identity_difference()'), null)
})

test('a clone stops its consumers unless they are to keep running, and gets an id each time', async (t) => {
  const { as, roles } = await ownedDatabase(t, { installed: 'here' })
  const owner = await as(roles.owner)
  await owner.run(`SELECT pipeline_kafka.add_broker('localhost:1'); CREATE TABLE target (n int);
    SELECT pipeline_kafka.consume_begin('topic', 'target')`)
  const look = async () => {
    const { rows } = await owner.run(
      'SELECT i.id, c.wanted FROM millrace.installation AS i, millrace.consumer AS c',
    )
    return rows[0]!
  }
  const original = await look()
  await owner.run('SELECT millrace.adopt(true, true)')
  const kept = await look()
  assert.notEqual(kept.id, original.id)
  assert.equal(kept.wanted, 'running')
  await owner.run('SELECT millrace.adopt(true)')
  const stopped = await look()
  assert.notEqual(stopped.id, kept.id)
  assert.equal(stopped.wanted, 'stopped')
  assert.deepEqual(await owner.column('SELECT reason FROM millrace.identity_history ORDER BY id'), [
    'installed',
    'clone',
    'clone',
  ])
})

test('a server that does not show its control file: name and oid are left', async (t) => {
  const server = await postgresFor(t, { settings: { fsync: 'off' } })
  const { as, roles, superuser } = await ownedDatabase(t, { server: { server } })
  const owner = await as(roles.owner)
  const [shown] = (await owner.run('SELECT * FROM millrace.identity()')).rows
  await superuser.run(`REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC;
    REVOKE EXECUTE ON FUNCTION pg_walfile_name(pg_lsn) FROM PUBLIC`)
  const [hidden] = (await owner.run('SELECT * FROM millrace.identity()')).rows
  assert.deepEqual(hidden, { ...shown, system_identifier: null, timeline: null })
  // it was shown once: whoever restored this elsewhere has to say so
  assert.match(String(await owner.value('SELECT millrace.identity_difference()')), /and is not shown$/)
  await owner.run('SELECT millrace.adopt(false)')
  assert.equal(await owner.value('SELECT millrace.identity_difference()'), null)
  await superuser.run('UPDATE millrace.installation SET database_oid = 1')
  assert.match(String(await owner.value('SELECT millrace.identity_difference()')), /had the oid 1 and has/)
  await owner.run('SELECT millrace.adopt(false)')
  // shown again: nothing that anybody has to say, and recorded
  await superuser.run('GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC')
  assert.equal(await owner.value('SELECT millrace.identity_difference()'), null)
  assert.equal(await owner.value("SELECT millrace.record_identity('found')"), true)
  assert.equal(
    await owner.value('SELECT system_identifier FROM millrace.installation'),
    shown!.system_identifier,
  )
})

test('millrace adopt by a role that may not', async (t) => {
  const { database, roles, superuser } = await ownedDatabase(t)
  await superuser.run(`ALTER ROLE ${roles.bob} PASSWORD 'secret'`)
  const url = database.urlAs(roles.bob, 'secret')
  const { stderr } = await millrace(['adopt', '--moved', '--database', url], { expect: 4 })
  assert.match(stderr, /^millrace: not-daemon-role: /)
})
