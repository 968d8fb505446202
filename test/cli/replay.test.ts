// The commands ask a daemon through SQL, as everybody does, and their exit codes say what came of it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Progress } from '../../src/cli/progress.ts'
import { databaseFor } from '../support/database.ts'
import { addBroker, promptDaemon, untilRows } from '../support/flow.ts'
import { deadLetters, mend, numbers, refusing } from '../support/letters.ts'
import { millrace } from '../support/millrace.ts'
import { produce, topicFor } from '../support/topic.ts'

/** The commands ask only where a daemon is connected. */
async function connectedDaemon(t: Parameters<typeof promptDaemon>[0], db: { url: string }): Promise<void> {
  const daemon = await promptDaemon(t, db)
  await daemon.waitForLog('connected to PostgreSQL')
}

test('millrace replay: by number, by condition, by consumer, all of them', async (t) => {
  const { db, topic, id } = await deadLetters(t, refusing, [...numbers(6), { value: 'x' }])
  const env = { DATABASE_URL: db.url }
  const away = await millrace(['replay', '--all'], { env, expect: 1 })
  assert.match(away.stderr, /^millrace: no-daemon: no daemon is connected/)
  await untilRows(db, 'SELECT count(*)::int FROM millrace.request', [[0]])
  await connectedDaemon(t, db)
  const failed = await millrace(['replay', '--consumer', id], { env, expect: 1 })
  assert.match(failed.stdout, /^0 loaded, 7 failed$/m)
  assert.match(failed.stdout, /^PARTITION +OFFSET +SQLSTATE +REASON$/m)
  assert.match(failed.stdout, /22P02 +invalid input syntax for type integer: "x"/)
  await mend(db)
  const { rows } = await db.query(
    `SELECT id FROM millrace.dead_letters WHERE value_text IN ('1', '2') ORDER BY id`,
  )
  const byId = await millrace(['replay', '--id', rows[0].id, '--id', rows[1].id], { env })
  assert.match(byId.stdout, /^2 loaded, 0 failed$/m)
  assert.match((await millrace(['replay', '--where', `value_text = '3'`], { env })).stdout, /^1 loaded/m)
  const rest = await millrace(['replay', '--topic', topic, '--into', 'target'], { env, expect: 1 })
  assert.match(rest.stdout, /^3 loaded, 1 failed$/m)
  await untilRows(db, 'SELECT n FROM target ORDER BY n', [[0], [1], [2], [3], [4], [5]])
  await db.query('DELETE FROM millrace.dead_letter')
  assert.equal((await millrace(['replay', '--all'], { env })).stdout, 'no dead letters to replay\n')
})

test('millrace replay: a request that fails says why', async (t) => {
  const { db } = await deadLetters(t, refusing, numbers(2))
  await db.query('DROP TABLE target')
  await connectedDaemon(t, db)
  const { stderr, stdout } = await millrace(['replay', '--all'], { env: { DATABASE_URL: db.url }, expect: 1 })
  assert.match(stderr, /^millrace: request-failed: request 1 failed: relation-missing: /)
  assert.match(stdout, /^0 loaded, 2 failed$/m)
})

test('millrace replay: what is not understood is said before anything is done', async () => {
  const env = { DATABASE_URL: 'postgresql://nobody@localhost:1/nothing' }
  for (const [args, reason] of [
    [[], /say which/],
    [['--all', '--id', '1'], /--all goes with no choice/],
    [['--topic', 't'], /go together/],
    [['--id', 'x'], /--id takes a number/],
    [['--topic', 't', '--into', 'r', '--consumer', '1'], /not both/],
  ] as const) {
    const { stderr } = await millrace(['replay', ...args], { env, expect: 2 })
    assert.match(stderr, /^millrace: usage: /)
    assert.match(stderr, reason)
  }
})

test('millrace try: a report, and exit code 1 when something would fail', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const env = { DATABASE_URL: db.url }
  const topic = await topicFor(t, { partitions: 1 })
  await db.query('CREATE SCHEMA own; CREATE TABLE own.target (n int, t text)')
  await produce(
    topic,
    ['1;a', 'x;b', '3;c'].map((value) => ({ value })),
  )
  await connectedDaemon(t, db)
  const asCsv = ['--format', 'csv', '--delimiter', ';']
  const bad = await millrace(['try', topic, 'own.target', ...asCsv], { env, expect: 1 })
  assert.match(
    bad.stdout,
    new RegExp(`^of the last 3 messages of ${topic}, 2 would be loaded into own.target, 1 would fail$`, 'm'),
  )
  assert.match(bad.stdout, /^ +0 +1 +22P02 +invalid input syntax for type integer: "x"$/m)
  assert.match(bad.stdout, /^Nothing was kept; sequences may have advanced\.$/m)
  const good = await millrace(
    ['try', topic, 'own.target', ...asCsv, '--messages', '1', '--unknown_keys', 'ignore'],
    { env },
  )
  assert.match(good.stdout, /^of the last 1 messages/)
  await untilRows(db, 'SELECT count(*)::int FROM own.target', [[0]])
  const refused = await millrace(['try', topic, 'own.nothing'], { env, expect: 1 })
  assert.match(refused.stderr, /^millrace: relation-missing: /)
  const missing = await millrace(['try', 'no-such-topic', 'own.target'], { env, expect: 1 })
  assert.match(missing.stderr, /^millrace: request-failed: request \d+ failed: topic-missing: /)
  assert.match((await millrace(['try', topic], { env, expect: 2 })).stderr, /no RELATION/)
  assert.match(
    (await millrace(['try', topic, 'a', 'b'], { env, expect: 2 })).stderr,
    /an argument that belongs to no option/,
  )
})

test('progress: one line on a terminal, plain lines elsewhere', () => {
  const written = (isTTY: boolean) => {
    let text = ''
    const progress = new Progress({ isTTY, write: (part: string) => (text += part) !== '' })
    progress.show(0, 10, 0)
    progress.show(5, 10, 1, 'waits: a\nb')
    progress.show(5, 10, 1, 'waits: a\nb')
    progress.end()
    return text
  }
  assert.equal(
    written(true),
    '\r\x1b[K[..............................] 0 of 10\r\x1b[K[###############...............] 5 of 10, 1 failed, waits: a b\n',
  )
  assert.equal(written(false), '0 of 10\n')
})
