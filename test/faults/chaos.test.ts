// Everything at once, in an order that nobody thought of: daemons come and go and sleep, sessions end, consumers are
// ended and begun, producers do whatever producers do. At every moment each offset before the position is there once.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Daemon } from '../support/daemon.ts'
import { databaseFor } from '../support/database.ts'
import { addBroker, promptDaemon } from '../support/flow.ts'
import { Ledger } from '../support/ledger.ts'
import { Random, randomSeed } from '../support/random.ts'

const steps = 50

test('F01 to F05 and F10 to F12, in any order (CHAOS_SEED repeats one)', async (t) => {
  const seed = Number(process.env.CHAOS_SEED ?? randomSeed())
  t.diagnostic(`CHAOS_SEED=${seed}`)
  const random = new Random(seed)

  const db = await databaseFor(t)
  await addBroker(db)
  const ledger = await Ledger.open(t, db, { partitions: 5 })
  await ledger.begin({ maxbytes: 20_000, parallelism: 2 })
  const awake: Daemon[] = [await promptDaemon(t, db)]
  const asleep: Daemon[] = []

  const actions: Record<string, () => Promise<void>> = {
    compressed: () => ledger.disturb('compressed', random.upTo(2_000)),
    committed: () => ledger.disturb('committed', random.upTo(500)),
    aborted: () => ledger.disturb('aborted', random.upTo(500)),
    tombstones: () => ledger.disturb('tombstones', random.upTo(100)),
    start: async () => {
      if (awake.length + asleep.length < 4) awake.push(await promptDaemon(t, db))
    },
    kill: async () => {
      const victim = awake.pop()
      victim?.kill('SIGKILL')
      await victim?.exited
    },
    stop: async () => {
      const daemon = awake.shift()
      if (!daemon) return
      await daemon.waitForLog('connected to PostgreSQL')
      assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
    },
    sleep: async () => {
      const daemon = awake.pop()
      if (!daemon) return
      daemon.kill('SIGSTOP')
      asleep.push(daemon)
    },
    wake: async () => {
      const daemon = asleep.shift()
      if (!daemon) return
      daemon.kill('SIGCONT')
      awake.push(daemon)
    },
    disconnect: async () => {
      await db.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND application_name LIKE 'millrace%'`,
      )
    },
    'begin again': async () => {
      await db.query('SELECT pipeline_kafka.consume_end()')
      const { table, topic } = ledger
      await db.query(
        `SELECT pipeline_kafka.consume_begin($1, $2, 'csv', ',', maxbytes := $3, parallelism := $4)`,
        [topic, table, random.upTo(100_000), random.upTo(4)],
      )
    },
    progress: async () => {
      if (awake.length > 0) await ledger.untilLoaded(Math.min(ledger.total, (await passed()) + 500))
    },
  }
  const passed = async () => {
    const { rows } = await db.query(
      'SELECT coalesce(sum(next_offset), 0)::int AS passed FROM millrace.position',
    )
    return rows[0].passed as number
  }

  const done: string[] = []
  try {
    for (let step = 0; step < steps; step++) {
      const name = random.among(Object.keys(actions))
      done.push(name)
      await actions[name]!()
      await ledger.check()
    }
    for (const sleeper of asleep) sleeper.kill('SIGCONT')
    await promptDaemon(t, db)
    await ledger.produce(1_000)
    await ledger.untilWhole()
  } catch (error) {
    throw new Error(`CHAOS_SEED=${seed}, after ${done.join(', ')}: ${(error as Error).message}`, {
      cause: error,
    })
  }
})
