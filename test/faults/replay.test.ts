// A daemon that dies or hangs while it replays: no letter is lost, no row is there twice, and another daemon goes on.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { promptDaemon, untilRows } from '../support/flow.ts'
import { deadLetters, mend, multiply, numbers, refusing } from '../support/letters.ts'
import { untilStopped } from '../support/process.ts'

const total = 3500
/** Every number is in one place: a row or a letter. */
const whole = `SELECT count(*)::int, count(DISTINCT n)::int AS different FROM (
  SELECT n FROM target UNION ALL SELECT convert_from(value, 'UTF8')::int FROM millrace.dead_letter) AS all_of_them (n)`

for (const failpoint of ['replay.before-commit', 'replay.after-commit'] as const) {
  test(`F01 kill -9 at ${failpoint}, twice: every row is there once`, async (t) => {
    const { db } = await deadLetters(t, refusing, numbers(4))
    await multiply(db, { from: 4, to: total })
    await mend(db)
    await db.query('SELECT millrace.ask_replay()')
    for (const passage of [1, 2]) {
      const victim = await promptDaemon(t, db, {
        env: { MILLRACE_FAILPOINTS: `${failpoint}=crash@${passage}` },
      })
      assert.deepEqual(await victim.exited, { code: null, signal: 'SIGKILL' })
      const { rows } = await db.query(whole)
      assert.deepEqual(Object.values(rows[0]), [total, total])
    }
    const { rows } = await db.query('SELECT count(*)::int AS n FROM target')
    assert.ok(rows[0].n > 0 && rows[0].n < total, `${rows[0].n} rows`)
    await promptDaemon(t, db)
    await untilRows(db, 'SELECT state, done_count::int, failed_count::int FROM millrace.request', [
      ['done', total, 0],
    ])
    await untilRows(db, 'SELECT count(*)::int, count(DISTINCT n)::int AS different FROM target', [
      [total, total],
    ])
    await untilRows(db, 'SELECT count(*)::int FROM millrace.dead_letter', [[0]])
  })
}

test('a daemon that is stopped goes on with nothing; another one ends what it has begun', async (t) => {
  const { db } = await deadLetters(t, refusing, numbers(4))
  await multiply(db, { from: 4, to: total })
  await mend(db)
  const asleep = await promptDaemon(t, db, { env: { MILLRACE_FAILPOINTS: 'replay.before-commit=stop@2' } })
  await db.query('SELECT millrace.ask_replay()')
  await untilStopped(asleep.pid)
  await promptDaemon(t, db)
  await untilRows(db, 'SELECT count(*)::int, count(DISTINCT n)::int AS different FROM target', [[1000, 1000]])
  // as it is when nothing has been heard of it for long
  await db.query(`UPDATE millrace.daemon SET seen_at = now() - interval '1 minute' WHERE pid = $1`, [
    asleep.pid,
  ])
  await untilRows(db, 'SELECT state, done_count::int FROM millrace.request', [['done', total]])
  asleep.kill('SIGCONT')
  await asleep.waitForLog('another daemon has taken the request over')
  await untilRows(db, 'SELECT count(*)::int, count(DISTINCT n)::int AS different FROM target', [
    [total, total],
  ])
  await untilRows(db, 'SELECT count(*)::int FROM millrace.dead_letter', [[0]])
})

test('a daemon that is told to stop gives the request back', async (t) => {
  const { db } = await deadLetters(t, refusing, numbers(20))
  await mend(db)
  const holder = await db.client()
  await holder.query('BEGIN; LOCK TABLE target IN ACCESS EXCLUSIVE MODE')
  const first = await promptDaemon(t, db)
  await db.query('SELECT millrace.ask_replay()')
  await untilRows(db, 'SELECT state, error_code FROM millrace.request', [['running', '55P03']])
  const stopped = first.stop()
  await holder.query('ROLLBACK')
  assert.deepEqual(await stopped, { code: 0, signal: null })
  await promptDaemon(t, db)
  await untilRows(db, 'SELECT state, done_count::int FROM millrace.request', [['done', 20]])
  await untilRows(db, 'SELECT count(*)::int FROM target', [[20]])
})
