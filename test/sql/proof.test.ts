// verify() finds every range that was passed over or loaded twice, before and after batches are merged, and takes no wanted
// jump for one. wait_for() returns when a message is in the relation, and says why when it will not be.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { ownedDatabase, type RoleSession } from '../support/owned-database.ts'

interface Step {
  kind: 'load' | 'start' | 'seek' | 'gap'
  from: number
  to: number
}

async function consuming(t: Parameters<typeof ownedDatabase>[0]) {
  const db = await ownedDatabase(t)
  const owner = await db.as(db.roles.owner)
  await owner.run(`SELECT millrace.add_cluster('default', 'localhost'); CREATE TABLE t (a int);
    SELECT millrace.consume('topic', 't'); UPDATE millrace.consumer SET start_pending = false, located_at = now()`)
  const id = await owner.value('SELECT id FROM millrace.consumer')
  return { ...db, owner, id }
}

async function record(
  owner: RoleSession,
  id: unknown,
  steps: Step[],
  position: number | null,
  partition = 0,
) {
  await owner.run(
    `INSERT INTO millrace.batch (consumer_id, partition, kind, from_offset, to_offset, messages, bytes)
      SELECT $1, $2, s.kind, s.from, s.to, CASE s.kind WHEN 'load' THEN s.to - s.from ELSE 0 END, 10
      FROM unnest($3::text[], $4::bigint[], $5::bigint[]) AS s (kind, "from", "to")`,
    [id, partition, steps.map(({ kind }) => kind), steps.map(({ from }) => from), steps.map(({ to }) => to)],
  )
  if (position === null) return
  await owner.run(
    `INSERT INTO millrace.position (consumer_id, partition, next_offset, config_version) VALUES ($1, $2, $3, 1)
      ON CONFLICT (consumer_id, partition) DO UPDATE SET next_offset = excluded.next_offset`,
    [id, partition, position],
  )
}

const findings = async (owner: RoleSession, id: unknown): Promise<string[]> =>
  (await owner.run('SELECT * FROM millrace.verify($1)', [id])).rows.map(
    ({ partition, finding, problem, from_offset, to_offset }) =>
      `${partition} ${problem ? '!' : ''}${finding} ${from_offset}-${to_offset}`,
  )

const load = (from: number, to: number): Step => ({ kind: 'load', from, to })
const start = (at: number): Step => ({ kind: 'start', from: at, to: at })

describe('verify', () => {
  const cases: [string, Step[], number | null, string[]][] = [
    ['nothing', [], null, []],
    ['what joins', [start(5), load(5, 10), load(10, 30)], 30, ['0 start 5-5']],
    ['a position without batches', [], 30, []],
    ['a range that is missing', [load(0, 10), load(12, 20)], 20, ['0 !missing 10-12']],
    ['a range that is doubled', [load(0, 10), load(8, 20)], 20, ['0 !doubled 8-10']],
    ['a batch that is doubled', [load(0, 20), load(5, 10), load(20, 30)], 30, ['0 !doubled 5-10']],
    [
      'all that is doubled, in pieces',
      [load(0, 20), load(5, 6), load(6, 20), load(20, 30)],
      30,
      ['0 !doubled 5-20'],
    ],
    [
      'what is left after going back',
      [load(0, 20), load(5, 10)],
      10,
      ['0 !doubled 5-10', '0 !doubled 10-20'],
    ],
    ['a position beyond the batches', [load(0, 10)], 11, ['0 !missing 10-11']],
    ['a position before them', [load(0, 10)], 7, ['0 !doubled 7-10']],
    ['a seek forward', [load(0, 10), { kind: 'seek', from: 10, to: 50 }, load(50, 60)], 60, ['0 seek 10-50']],
    ['a seek back', [load(0, 10), { kind: 'seek', from: 10, to: 0 }, load(0, 20)], 20, ['0 seek 10-0']],
    ['a gap', [load(0, 10), { kind: 'gap', from: 10, to: 99 }, load(99, 100)], 100, ['0 gap 10-99']],
    [
      'a jump that hides another',
      [load(0, 10), { kind: 'gap', from: 15, to: 99 }],
      99,
      ['0 !missing 10-15', '0 gap 15-99'],
    ],
    ['a start anew', [load(0, 10), start(3), load(3, 5)], 5, ['0 start 3-3']],
  ]
  for (const [name, steps, position, expected] of cases) {
    test(`finds ${name}`, async (t) => {
      const { owner, id } = await consuming(t)
      await record(owner, id, steps, position)
      await record(owner, id, [start(0), load(0, 1)], 1, 7)
      assert.deepEqual(await findings(owner, id), [...expected, '7 start 0-0'])
      await owner.run(`SELECT millrace.merge_batches('0')`)
      assert.deepEqual(await findings(owner, id), [...expected, '7 start 0-0'], 'merged')
    })
  }

  test('finds the same after merging, whatever happened, and merging loses no count', async (t) => {
    const { owner, id } = await consuming(t)
    const step = fc.record({
      kind: fc.constantFrom<Step['kind']>('load', 'load', 'load', 'load', 'seek', 'gap', 'start'),
      skip: fc.constantFrom(0, 0, 0, 0, 0, 1, -1),
      length: fc.integer({ min: 0, max: 3 }),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (made) => {
        await owner.run('DELETE FROM millrace.batch; DELETE FROM millrace.position')
        let at = 100
        const steps = made.map(({ kind, skip, length }): Step => {
          const from = at + skip
          at = kind === 'seek' ? from - length : from + (kind === 'start' ? 0 : length)
          return { kind, from, to: at }
        })
        await record(owner, id, steps, at)
        const sums =
          "SELECT concat_ws(' ', sum(messages), sum(bytes), sum(commits), max(committed_at)) FROM millrace.batches"
        const before = [await findings(owner, id), await owner.value(sums)]
        await owner.run(`SELECT millrace.merge_batches('0')`)
        assert.deepEqual([await findings(owner, id), await owner.value(sums)], before)
        const loads = await owner.value(`SELECT count(*)::int FROM (
          SELECT kind = 'load' AND lag(kind) OVER w = 'load' AND lag(to_offset) OVER w = from_offset AS joins FROM millrace.batches
          WINDOW w AS (PARTITION BY partition ORDER BY id)) AS b WHERE joins`)
        assert.equal(loads, 0, 'nothing is left to merge')
      }),
      { numRuns: 60 },
    )
  })

  test('merging leaves what is young, and what lies on different days, unless it is old', async (t) => {
    const { owner, id } = await consuming(t)
    await record(owner, id, [load(0, 1), load(1, 2), load(2, 3), load(3, 4)], 4)
    const ages = async (...days: number[]): Promise<unknown> => {
      await owner.run(
        `UPDATE millrace.batch AS b SET committed_at = date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - a.days * interval '1 day'
          FROM (SELECT row_number() OVER (ORDER BY id) AS n, id FROM millrace.batch) AS o, unnest($1::int[]) WITH ORDINALITY AS a (days, n)
          WHERE o.id = b.id AND a.n = o.n`,
        [days],
      )
      await owner.run('BEGIN; SELECT millrace.merge_batches()')
      const left = await owner.value('SELECT count(*)::int FROM millrace.batch')
      await owner.run('ROLLBACK')
      return left
    }
    assert.equal(await ages(3, 3, 2, 2), 2)
    assert.equal(await ages(43, 42, 41, 40), 1)
    assert.equal(await ages(3, 3, 3, -1), 2)
    assert.equal(await ages(-1, -1, -1, -1), 4)
  })
})

describe('wait_for', () => {
  const wait = (rest = ''): string => `SELECT millrace.wait_for('topic', 0, 5${rest})`

  test('returns when the position has passed the offset, and not before', async (t) => {
    const { owner, id, as, roles } = await consuming(t)
    await record(owner, id, [], 5)
    assert.equal(await owner.refusal(wait(`, '20 ms'`)), 'wait-timeout 55000')
    const mover = await as(roles.owner)
    const waiting = owner.value(wait(`, '1 minute'`))
    await mover.run('BEGIN; UPDATE millrace.position SET next_offset = 6; INSERT INTO t VALUES (1); COMMIT')
    assert.equal(await waiting, true)
    assert.equal(await owner.value('SELECT count(*)::int FROM t'), 1)
    assert.equal(await owner.value(wait(`, '0'`)), true)
    assert.equal(
      await owner.value(`SELECT millrace.wait_for('topic', 0, 5, consumer := ${id}, flushed := true)`),
      true,
    )
  })

  test('waits for every consumer of the topic, unless one is named', async (t) => {
    const { owner, id } = await consuming(t)
    await owner.run(`CREATE TABLE u (a int); SELECT millrace.consume('topic', 'u')`)
    await record(owner, id, [], 6)
    assert.equal(await owner.refusal(wait(`, '20 ms'`)), 'wait-timeout 55000')
    assert.equal(await owner.value(wait(`, '20 ms', consumer := ${id}`)), true)
  })

  test('says why it will not come', async (t) => {
    const { owner, id } = await consuming(t)
    assert.equal(await owner.refusal(wait(', consumer := 99')), 'consumer-missing 42704')
    assert.equal(await owner.refusal(`SELECT millrace.wait_for('other', 0, 5)`), 'consumer-missing 42704')
    await owner.run(`INSERT INTO millrace.failure (consumer_id, version, code, message) SELECT id, version, 'message-rejected', 'no'
      FROM millrace.consumer`)
    assert.equal(await owner.refusal(wait()), 'consumer-failed 55000')
    await owner.run(`SELECT millrace.pause(${id})`)
    assert.equal(await owner.refusal(wait()), 'consumer-not-running 55000')
    await record(owner, id, [], 6)
    assert.equal(await owner.value(wait()), true, 'it is there already')
    await owner.run('BEGIN ISOLATION LEVEL REPEATABLE READ')
    assert.equal(await owner.refusal(wait()), 'wait-isolation 25001')
    await owner.run('ROLLBACK')
  })

  test('refuses what is no offset and no partition', async (t) => {
    const { owner } = await consuming(t)
    for (const args of ['0, -1', '0, NULL', '-1, 0', 'NULL, 0', 'NULL, NULL']) {
      const refusal = await owner.refusal(`SELECT millrace.wait_for('topic', ${args})`)
      assert.equal(refusal, 'wait-invalid 22023', args)
    }
  })

  test('a position that is about to be moved does not count', async (t) => {
    const { owner, id } = await consuming(t)
    await record(owner, id, [], 6)
    await owner.run(`SELECT millrace.seek(${id}, 'beginning')`)
    assert.equal(await owner.refusal(wait(`, '20 ms'`)), 'wait-timeout 55000')
  })

  test('flushed waits until a commit that nobody waited for is on disk', async (t) => {
    const { owner, id, as, roles } = await consuming(t)
    const mover = await as(roles.owner)
    await record(owner, id, [], 0)
    await mover.run('SET synchronous_commit = off')
    for (let round = 0; round < 20; round++) {
      await mover.run(
        `BEGIN; UPDATE millrace.position SET next_offset = 6; INSERT INTO t SELECT generate_series(1, ${round}); COMMIT`,
      )
      const written = await mover.value('SELECT pg_current_wal_insert_lsn()')
      await owner.run(wait(', flushed := true'))
      assert.equal(await owner.value('SELECT pg_current_wal_flush_lsn() >= $1::pg_lsn', [written]), true)
    }
  })
})
