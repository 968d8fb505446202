// Another program in the consumer group: it can take partitions away for as long as it is there, reset offsets, or
// keep the daemon out. It cannot make a row be lost or be there twice: the positions in PostgreSQL decide.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Cleanup } from '../support/cleanup.ts'
import { databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { addBroker, promptDaemon, untilState } from '../support/flow.ts'
import { joinWithJava } from '../support/java-client.ts'
import { Ledger } from '../support/ledger.ts'
import { adminOf } from '../support/topic.ts'

async function setUp(t: Cleanup) {
  const db = await databaseFor(t)
  await addBroker(db)
  const ledger = await Ledger.open(t, db)
  const group = `shared-${ledger.topic}`
  return { db, ledger, group }
}

test('another program in the group takes nothing away: it commits offsets, and leaves', async (t) => {
  const { db, ledger, group } = await setUp(t)
  const daemon = await promptDaemon(t, db)
  await ledger.produce(2_000)
  await ledger.begin({ group_id: group })
  await ledger.untilWhole()
  const other = await joinWithJava(t, ledger.topic, group, 'RoundRobinAssignor')
  // partitions are shared among members of one database: each of the two has all of them
  await other.until('assigned 4')
  await ledger.produce(2_000)
  await other.until('read ')
  await ledger.untilWhole()
  await eventually('its offsets are committed', async () => {
    const groups = await adminOf().listConsumerGroupOffsets({ groups: [{ groupId: group }] })
    const offsets = groups[0]!.topics.flatMap(({ partitions }) => partitions)
    return offsets.filter(({ committedOffset }) => committedOffset === 1000n).length === 4
  })
  await other.leave()
  await ledger.untilWhole()
  await ledger.produce(500)
  await ledger.untilWhole()
  await untilState(db, ledger.topic, 'running')
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
})

test('a member that was there before and shares partitions in another way: said, waited out, nothing lost', async (t) => {
  const { db, ledger, group } = await setUp(t)
  const other = await joinWithJava(t, ledger.topic, group, 'RangeAssignor')
  await other.until('assigned')
  await ledger.produce(1_000)
  await promptDaemon(t, db)
  await ledger.begin({ group_id: group })
  const retrying = await untilState(db, ledger.topic, 'retrying')
  assert.equal(retrying.error_code, 'group-refused')
  assert.match(retrying.error_message ?? '', new RegExp(group))
  await other.leave()
  await ledger.untilWhole()
  await untilState(db, ledger.topic, 'running')
})

test('a member that speaks the new protocol (KIP-848) gets its share while it is there', async (t) => {
  const { db, ledger, group } = await setUp(t)
  const other = await joinWithJava(t, ledger.topic, group, 'consumer')
  await other.until('assigned')
  await ledger.produce(1_000)
  await promptDaemon(t, db)
  await ledger.begin({ group_id: group })
  await ledger.untilLoaded(500)
  await other.leave()
  await ledger.untilWhole()
  await untilState(db, ledger.topic, 'running')
})

test('the group is deleted and its offsets are set elsewhere, while no daemon runs and while one does', async (t) => {
  const { db, ledger, group } = await setUp(t)
  const daemon = await promptDaemon(t, db)
  await ledger.produce(1_000)
  await ledger.begin({ group_id: group })
  await ledger.untilWhole()
  await daemon.stop()
  await adminOf().deleteGroups({ groups: [group] })
  await promptDaemon(t, db)
  await ledger.produce(1_000)
  await ledger.untilWhole()
  // thrown out by an administrator: it joins again
  const [described] = (await adminOf().describeGroups({ groups: [group] })).values()
  const members = [...described!.members.keys()].map((memberId) => ({ memberId }))
  assert.equal(members.length, 1)
  await adminOf().removeMembersFromConsumerGroup({ groupId: group, members })
  await ledger.produce(1_000)
  await ledger.untilWhole()
})
