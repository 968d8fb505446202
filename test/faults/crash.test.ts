// A daemon that dies in the middle of a transaction leaves neither rows nor position; one that dies after it leaves
// both. Whoever comes next goes on from there.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { addBroker, positionsOf, promptDaemon } from '../support/flow.ts'
import { Ledger } from '../support/ledger.ts'
import { adminOf } from '../support/topic.ts'

/** Batches of some hundred messages, so that there are many of them. */
const smallBatches = { maxbytes: 20_000 }

for (const [name, failpoint] of [
  ['F01 kill -9 after the position is written, before COPY', 'inbound.after-position'],
  ['F01 kill -9 in the middle of COPY', 'postgres.mid-copy'],
  ['F01 kill -9 after COPY', 'inbound.after-copy'],
  ['F01 kill -9 before COMMIT', 'inbound.before-commit'],
  ['F02 kill -9 after COMMIT', 'inbound.after-commit'],
] as const) {
  test(`${name}: afterwards everything is there once`, async (t) => {
    const db = await databaseFor(t)
    await addBroker(db)
    const ledger = await Ledger.open(t, db, { constraint: 'PRIMARY KEY (partition, n)' })
    await ledger.produce(12_000)
    await ledger.begin({ ...smallBatches, parallelism: 2, group_id: `group-of-${ledger.topic}` })
    // the first one dies in its first batch, the next ones later and later
    for (const passage of [1, 2, 9]) {
      const before = await ledger.check()
      const victim = await promptDaemon(t, db, {
        env: { MILLRACE_FAILPOINTS: `${failpoint}=crash@${passage}` },
      })
      assert.deepEqual(await victim.exited, { code: null, signal: 'SIGKILL' })
      const loaded = await ledger.check()
      assert.ok(loaded < ledger.total, 'it died before it was done')
      if (passage > 2 || failpoint === 'inbound.after-commit')
        assert.ok(loaded > before, 'it loaded something')
      else if (passage === 1) assert.equal(loaded, before, 'nothing of the first batch is there')
    }
    const survivor = await promptDaemon(t, db)
    await ledger.untilWhole()
    await eventually('the consumer group has caught up', async () => {
      const [group] = await adminOf().listConsumerGroupOffsets({
        groups: [{ groupId: `group-of-${ledger.topic}` }],
      })
      const partitions = group?.topics.find(({ name }) => name === ledger.topic)?.partitions ?? []
      const committed = Object.fromEntries(
        partitions.map(({ partitionIndex, committedOffset }) => [partitionIndex, Number(committedOffset)]),
      )
      assert.deepEqual(committed, await positionsOf(db, ledger.topic))
      return true
    })
    assert.deepEqual(await survivor.stop(), { code: 0, signal: null })
  })
}

test('F01 kill -9 at any moment under load, again and again', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const ledger = await Ledger.open(t, db)
  await ledger.produce(1000)
  await ledger.begin({ ...smallBatches, parallelism: 4 })
  const load = ledger.keepProducing()
  for (let round = 0; round < 6; round++) {
    const victim = await promptDaemon(t, db)
    const before = await ledger.check()
    await ledger.untilLoaded(before + 500 + 700 * round)
    victim.kill('SIGKILL')
    await victim.exited
    await ledger.check()
  }
  await load.stop()
  await promptDaemon(t, db)
  await ledger.untilWhole()
})
