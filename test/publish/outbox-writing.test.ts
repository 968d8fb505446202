// Which segment of the outbox is written stands in a row of a table. Where a restore has left that out, writers go on without it,
// and whoever sends puts it back.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { eventually } from '../support/eventually.ts'
import { addBroker, promptDaemon } from '../support/flow.ts'
import { publishedDatabase } from '../support/published.ts'
import { promptRelay, untilCount, untilSent } from '../support/sent.ts'
import { topicFor } from '../support/topic.ts'

test('nobody fails without the row that says which segment is written', async (t) => {
  const { database, alice, superuser } = await publishedDatabase(t)
  await superuser.run('DELETE FROM millrace.outbox_writing')
  const topic = await topicFor(t, { partitions: 1 })
  await alice.run(`CREATE TABLE by_statement (id int PRIMARY KEY, v text);
    CREATE TABLE by_row (id int PRIMARY KEY, v text);
    INSERT INTO by_statement VALUES (0, 'was there');
    SELECT millrace.publish('by_statement', '${topic}');
    SELECT millrace.publish('by_row', '${topic}', capture := 'row');
    INSERT INTO by_statement VALUES (1, 'a'); ALTER TABLE by_statement RENAME COLUMN v TO w; UPDATE by_statement SET w = 'b';
    TRUNCATE by_statement; INSERT INTO by_row VALUES (1, 'a'); SELECT millrace.produce('${topic}', 'v')`)
  // the row that was there, the new one, two updates, two that were there at the end; by row; produced
  const written = 1 + 1 + 2 + 2 + 1 + 1
  assert.deepEqual(await superuser.column('SELECT count(*)::int FROM millrace.outbox'), [written])
  await addBroker(database)
  const daemon = await promptDaemon(t, database, { env: promptRelay })
  await untilCount(topic, written)
  await untilSent(database)
  await eventually('the row is there again', async () => {
    const [count] = await superuser.column('SELECT count(*)::int FROM millrace.outbox_writing')
    return count === 1
  })
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
})
