// The rows that a table had, written by the daemon while others write to the table and the daemon dies at each step: whoever
// replays the topic has the table, no older row follows a newer one, and nothing is missing.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type pg from 'pg'
import { type Database, databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { addBroker, promptDaemon } from '../support/flow.ts'
import { randomSeed } from '../support/random.ts'
import { promptRelay, untilSent } from '../support/sent.ts'
import { snapshotOf, untilSnapshot } from '../support/snapshot.ts'
import { topicFor } from '../support/topic.ts'
import { type Replay, replayEvent, replayRow, WrittenTable } from '../support/written-table.ts'

const failpoints = ['snapshot.before-write', 'snapshot.after-write', 'snapshot.after-commit']

interface Way {
  what: string
  partitioned: boolean
  /** @param topic that it goes to */
  sql: (topic: string) => string
  replay: Replay
}

const ways: Way[] = [
  {
    what: 'pg2kafka.setup',
    partitioned: false,
    sql: () => "SELECT pg2kafka.setup('items', 'sku')",
    replay: replayEvent,
  },
  {
    what: 'a published table',
    partitioned: false,
    sql: (topic) => `SELECT millrace.publish('items', '${topic}')`,
    replay: replayRow,
  },
  {
    what: 'a published table with partitions',
    partitioned: true,
    sql: (topic) => `SELECT millrace.publish('items', '${topic}', envelope := 'pg2kafka')`,
    replay: replayEvent,
  },
]

for (const { what, partitioned, sql, replay } of ways) {
  test(`${what}: a snapshot under write load, kill -9 at each step; the topic gives the table`, async (t) => {
    const seed = randomSeed()
    t.diagnostic(`seed ${seed}`)
    const db = await databaseFor(t)
    await addBroker(db)
    const topic = await topicFor(t, { name: `pg2kafka.${db.name}.items`, partitions: 3 })
    const table = await WrittenTable.open(db, {
      rows: 12_000,
      ...(partitioned && { partitions: partitionsByHash }),
    })
    table.start(3, seed)
    await table.untilWritten(20)
    await db.query(sql(topic))
    const holder = await holdRows(db)
    for (const [index, failpoint] of failpoints.entries()) {
      const victim = await promptDaemon(t, db, {
        env: { ...promptRelay, MILLRACE_FAILPOINTS: `${failpoint}=crash@${index + 1}` },
      })
      assert.deepEqual(await victim.exited, { code: null, signal: 'SIGKILL' }, failpoint)
      await table.untilWritten(20)
    }
    const survivors = [
      await promptDaemon(t, db, { env: promptRelay }),
      await promptDaemon(t, db, { env: promptRelay }),
    ]
    await eventually(
      'all but the locked rows are sent',
      async () => {
        const { state, blocks, blocks_done, locked_rows } = await snapshotOf(db)
        return state === 'waiting' && blocks === blocks_done && Number(locked_rows) > 0
      },
      { deadline: 60_000 },
    )
    await table.untilWritten(50)
    await holder.query('COMMIT')
    await untilSnapshot(db, 'done')
    await table.untilWritten(50)
    await table.stop()
    await untilSent(db, { deadline: 60_000 })
    for (const survivor of survivors) assert.deepEqual(await survivor.stop(), { code: 0, signal: null })
    await table.check(t, topic, replay)
  })
}

/** @returns who has locked and deleted some rows, and has not committed */
async function holdRows(db: Database): Promise<pg.Client> {
  const holder = await db.client()
  const hold = `BEGIN; SELECT FROM items WHERE id % 5 = 1 AND id < 2000 FOR UPDATE; DELETE FROM items WHERE id % 5 = 1 AND id < 500`
  await eventually('no writer moves one of them to another partition meanwhile', async () => {
    await holder.query('ROLLBACK')
    await holder.query(hold)
    return true
  })
  return holder
}

const partitionsByHash = `PARTITION BY HASH (sku);
  CREATE TABLE items_0 PARTITION OF items FOR VALUES WITH (MODULUS 3, REMAINDER 0);
  CREATE TABLE items_1 PARTITION OF items FOR VALUES WITH (MODULUS 3, REMAINDER 1);
  CREATE TABLE items_2 PARTITION OF items FOR VALUES WITH (MODULUS 3, REMAINDER 2)`
