// Random operations on a running Millrace, and servers that die, against a model that knows what the tables, the dead letters
// and the positions must hold. MODEL_SEED repeats a run, MODEL_SECONDS says for how long (or MODEL_STEPS how many operations),
// MODEL_SIZE multiplies the messages, MODEL_LOGS names a folder for the daemons' logs.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import pg from 'pg'
import { Random, randomSeed } from '../support/random.ts'
import { verifyProblems } from './findings.ts'
import { perform } from './operations.ts'
import { World } from './world.ts'

const seed = Number(process.env.MODEL_SEED ?? randomSeed())
const seconds = Number(process.env.MODEL_SECONDS ?? 60)
const steps = Number(process.env.MODEL_STEPS ?? Infinity)
const size = Number(process.env.MODEL_SIZE ?? 1)

/** Beside the operations: servers come up, the last one ends, everything is compared. ms */
const around = 240_000

/** Operations that are told of when a run fails. */
const shown = 40

test('everything is loaded exactly once, whatever happens in whatever order (MODEL_SEED repeats it)', {
  timeout: seconds * 1000 + around,
}, async (t) => {
  const world = await World.open(t)
  const done: string[] = []
  const until = performance.now() + seconds * 1000
  try {
    for (let step = 0; step < steps && performance.now() < until; step++) {
      // an operation that draws more or less than before changes none of the following ones
      const random = new Random(Math.imul(seed, 31) + step * 7919)
      done.push(`${step} ...`)
      done[step] = `${step} ${await perform({ world, random, size, away: null })}`
      await world.check()
      if (process.env.MODEL_TRACE) console.log(done.at(-1))
    }
    await world.settle()
  } catch (error) {
    world.daemons.logAll()
    const told = `MODEL_SEED=${seed}, ${done.length} operations, the last ones:\n${done.slice(-shown).join('\n')}`
    throw new Error(`${(error as Error).message}\n${told}\n${world.daemons.lastWords()}`, { cause: error })
  }
  const counts = {
    operations: done.length,
    ...world.daemons.kills,
    messages: world.consumers.reduce((sum, { log }) => sum + log.total, 0),
    moves: world.consumers.reduce((sum, { moves }) => sum + moves, 0),
  }
  console.log(
    `MODEL_SEED=${seed}: ${Object.entries(counts)
      .map(([what, count]) => `${what} ${count}`)
      .join(', ')}`,
  )

  for (const daemon of world.daemons.awake.splice(0)) await world.daemons.stop(daemon)
  await tamperingIsNoticed(world)
})

/** The model and verify() see what is made wrong behind their backs; else they would prove nothing. */
async function tamperingIsNoticed(world: World): Promise<void> {
  const client = new pg.Client({ connectionString: world.roles.db.url })
  await client.connect()
  const undone = async (tampering: string, look: () => Promise<void>): Promise<void> => {
    await client.query('BEGIN')
    const { rowCount } = await client.query(tampering)
    assert.equal(rowCount, 1, tampering)
    await look()
    await client.query('ROLLBACK')
  }
  const query = (sql: string, parameters?: unknown[]) => client.query(sql, parameters)
  for (const consumer of world.consumers) {
    for (const tampering of consumer.way.tamper) {
      await undone(tampering, () => assert.rejects(() => consumer.check(query), /expected \[/, tampering))
    }
    const { rows } = await client.query(
      `SELECT b.id, b.partition, b.from_offset::int AS from, b.to_offset::int AS to FROM millrace.batch AS b
        WHERE b.consumer_id = $1 AND b.kind = 'load' AND b.to_offset - b.from_offset > 2 ORDER BY b.id LIMIT 1`,
      [consumer.id],
    )
    const [batch] = rows
    const range = `${batch.partition} missing ${batch.from}-${batch.to}`
    const cases: [string, string][] = [
      [`DELETE FROM millrace.batch WHERE id = ${batch.id}`, range],
      [
        `UPDATE millrace.batch SET from_offset = from_offset + 2 WHERE id = ${batch.id}`,
        `${batch.partition} missing ${batch.from}-${batch.from + 2}`,
      ],
      [
        `UPDATE millrace.batch SET to_offset = to_offset - 1 WHERE id = ${batch.id}`,
        `${batch.partition} missing ${batch.to - 1}-${batch.to}`,
      ],
      [
        `INSERT INTO millrace.batch (consumer_id, partition, from_offset, to_offset)
         SELECT consumer_id, partition, from_offset, to_offset FROM millrace.batch WHERE consumer_id = ${consumer.id}
            AND partition = ${batch.partition} AND kind = 'load' AND to_offset > from_offset ORDER BY id DESC LIMIT 1`,
        'doubled',
      ],
    ]
    for (const [tampering, expected] of cases) {
      await undone(tampering, async () => {
        const problems = await verifyProblems(query, consumer.id)
        assert.ok(
          problems.some((problem) => problem.includes(expected)),
          `${tampering}: ${problems} without ${expected}`,
        )
      })
    }
    const end = consumer.log.endOf(0)
    for (const [by, expected] of [
      [3, `0 missing ${end}-${end + 3}`],
      [-1, `0 doubled ${end - 1}-${end}`],
    ] as const) {
      const moved = `UPDATE millrace.position SET next_offset = next_offset + ${by} WHERE consumer_id = ${consumer.id} AND partition = 0`
      await undone(moved, async () => {
        assert.deepEqual(await verifyProblems(query, consumer.id), [expected])
        // the last offset may be one that leaves no trace
        if (by > 0) await assert.rejects(() => consumer.check(query), /too far/)
      })
    }
  }
  await client.end()
}
