// What can happen to a running Millrace. An operation draws from nothing but the random numbers that it is handed and what the
// model knows, so the same seed makes the same ones.
import type { Random } from '../support/random.ts'
import type { ProduceOptions } from '../support/topic.ts'
import type { Consumer } from './consumer.ts'
import { mostPartitions, type World } from './world.ts'

export interface Scene {
  world: World
  random: Random
  /** Multiplies how many messages are sent at a time. */
  size: number
  /** What is down now. */
  away: 'postgres' | 'kafka' | null
}

interface Operation {
  weight: number
  needs: readonly ('postgres' | 'kafka')[]
  /** @returns what was done, in a few words */
  run(scene: Scene): Promise<string | undefined>
}

const mostDaemons = 3
const codecs = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const
const failpoints = [
  'inbound.after-position',
  'postgres.mid-copy',
  'inbound.after-copy',
  'inbound.before-commit',
  'inbound.after-commit',
] as const

type Kind = 'good' | 'bad' | 'tombstone'

/** Some messages for some partitions, of the kinds that `kindOf` draws. */
async function send(
  { random, size }: Scene,
  consumer: Consumer,
  most: number,
  kindOf: (random: Random) => Kind,
  options: ProduceOptions = {},
): Promise<string> {
  const counts = new Map<number, number>()
  for (const partition of consumer.log.partitions.keys()) {
    if (random.chance(0.7)) counts.set(partition, random.upTo(Math.max(1, Math.round(most * size))))
  }
  if (counts.size === 0) counts.set(0, 1)
  const draw = (partition: number, offset: number) =>
    consumer.way.draw(kindOf(random), random, partition, offset)
  await consumer.log.send(counts, draw, options)
  return `${[...counts.values()].reduce((sum, count) => sum + count)} to ${consumer.way.table}`
}

const mostlyGood = (random: Random): Kind =>
  random.chance(0.02) ? 'bad' : random.chance(0.1) ? 'tombstone' : 'good'

function sending(
  weight: number,
  most: number,
  kindOf: (random: Random) => Kind,
  options?: (random: Random) => ProduceOptions,
): Operation {
  return {
    weight,
    needs: ['kafka'],
    run: (scene) => {
      const { random, world } = scene
      return send(scene, random.among(world.consumers), most, kindOf, options?.(random))
    },
  }
}

/** One of them that is as asked, or none. */
function pick({ world, random }: Scene, wanted: (consumer: Consumer) => boolean): Consumer | undefined {
  const found = world.consumers.filter(wanted)
  return found.length > 0 ? random.among(found) : undefined
}

async function seek(scene: Scene, consumer: Consumer): Promise<string> {
  const { world, random, away } = scene
  const { log, id } = consumer
  const served = world.daemons.awake.length > 0 && !consumer.paused && away === null
  const ends = log.partitions.map(({ length }) => length)
  const partition = random.chance(0.7) ? random.below(ends.length) : null
  // where the end is when it is looked for can only be known if nothing is sent meanwhile
  const toEnd = partition !== null && random.chance(0.15)
  const anywhere = random.below((partition === null ? Math.min(...ends) : ends[partition]!) + 1)
  const to = random.chance(0.15) ? 0 : anywhere
  const waits = random.chance(0.6)
  const place = toEnd && served ? ['end', ends[partition]!] : [to, to]
  try {
    await world.asOwner(`SELECT millrace.seek($1, $2::text, $3::int)`, [id, place[0], partition])
  } catch (error) {
    // a partition that was added just now, or while nobody looked
    if (!/code: partition-missing/.test((error as { detail?: string }).detail ?? '')) throw error
    return `${consumer.way.table} ${partition}: not known yet`
  }
  consumer.noteMove(partition, place[1] as number)
  if (served && (waits || toEnd)) await world.untilMoved(consumer)
  return `${consumer.way.table} ${partition ?? 'all'} to ${toEnd && served ? 'end' : to}`
}

/** Some other operations while something is down. */
async function meanwhile(scene: Scene, away: 'postgres' | 'kafka', done: string[]): Promise<void> {
  for (let count = scene.random.below(4); count > 0; count--) done.push(await perform({ ...scene, away }))
}

export const operations: Record<string, Operation> = {
  produce: sending(20, 150, mostlyGood),
  bad: sending(5, 30, (random) => (random.chance(0.3) ? 'bad' : 'good')),
  'bad only': sending(1, 40, () => 'bad'),
  tombstones: sending(3, 30, () => 'tombstone'),
  compressed: sending(5, 300, mostlyGood, (random) => ({ compression: random.among(codecs) })),
  'transaction committed': sending(4, 60, mostlyGood, () => ({ transaction: 'commit' })),
  'transaction aborted': sending(4, 60, mostlyGood, () => ({ transaction: 'abort' })),
  'produce everywhere': {
    weight: 8,
    needs: ['kafka'],
    run: async (scene) => {
      const sent: string[] = []
      for (const consumer of scene.world.consumers) sent.push(await send(scene, consumer, 150, mostlyGood))
      return sent.join(', ')
    },
  },
  pause: {
    weight: 3,
    needs: ['postgres'],
    run: async (scene) => {
      const consumer = pick(scene, ({ paused }) => !paused)
      if (!consumer) return
      await scene.world.asOwner('SELECT millrace.pause($1)', [consumer.id])
      consumer.paused = true
      return consumer.way.table
    },
  },
  resume: {
    weight: 4,
    needs: ['postgres'],
    run: async (scene) => {
      const consumer = pick(scene, ({ paused }) => paused)
      if (!consumer) return
      await scene.world.asOwner('SELECT millrace.resume($1)', [consumer.id])
      consumer.paused = false
      return consumer.way.table
    },
  },
  alter: {
    weight: 4,
    needs: ['postgres'],
    run: async (scene) => {
      const { random, world } = scene
      const consumer = random.among(world.consumers)
      const options = [random.upTo(2000), 1000 * random.upTo(100), random.upTo(4), random.upTo(300)]
      await world.asOwner(
        'SELECT millrace.alter_consumer($1, batchsize := $2, maxbytes := $3, parallelism := $4, timeout := $5)',
        [consumer.id, ...options],
      )
      return `${consumer.way.table} ${options}`
    },
  },
  seek: {
    weight: 6,
    needs: ['postgres'],
    run: async (scene) => {
      const consumer = pick(scene, ({ pending }) => !pending)
      return consumer && seek(scene, consumer)
    },
  },
  'add partition': {
    weight: 1,
    needs: ['postgres', 'kafka'],
    run: async (scene) => {
      // a move that is still to come would begin it where the model does not expect it
      const consumer = pick(scene, ({ pending, log }) => !pending && log.partitions.length < mostPartitions)
      await consumer?.addPartition()
      return consumer?.way.table
    },
  },
  'wait for': {
    weight: 6,
    needs: ['postgres', 'kafka'],
    run: async (scene) => {
      const consumer = await waitForLast(scene)
      return consumer?.way.table
    },
  },
  'merge batches': {
    weight: 2,
    needs: ['postgres'],
    run: async ({ world }) => {
      await world.query(`SELECT millrace.merge_batches('0')`)
      return ''
    },
  },
  'start daemon': {
    weight: 6,
    needs: [],
    run: async ({ world: { daemons } }) => {
      if (daemons.awake.length + daemons.asleep.length >= mostDaemons) return
      await daemons.start()
      return ''
    },
  },
  'start doomed daemon': {
    weight: 4,
    needs: [],
    run: async ({ world: { daemons }, random }) => {
      const failpoint = random.among(failpoints)
      const action = random.chance(0.7) ? 'crash' : 'stop'
      const passage = random.upTo(4)
      await daemons.startDoomed(failpoint, action, passage)
      return `${failpoint}=${action}@${passage}`
    },
  },
  'kill daemon': {
    weight: 5,
    needs: [],
    run: async ({ world: { daemons } }) => {
      if (daemons.awake.length === 0) return
      await daemons.kill(daemons.awake.pop())
      return ''
    },
  },
  'stop daemon': {
    weight: 2,
    needs: ['postgres'],
    run: async ({ world: { daemons } }) => {
      const daemon = daemons.awake.shift()
      if (!daemon) return
      await daemons.stop(daemon)
      return ''
    },
  },
  sleep: {
    weight: 3,
    needs: [],
    run: async ({ world: { daemons } }) => {
      daemons.sleep()
      return ''
    },
  },
  wake: {
    weight: 4,
    needs: [],
    run: async ({ world: { daemons } }) => {
      daemons.wake()
      return ''
    },
  },
  'terminate backends': {
    weight: 3,
    needs: ['postgres'],
    run: async ({ world, random }) => {
      const which = random.among(['millrace pump', 'millrace pump', 'millrace%'])
      await world.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND application_name LIKE $1`,
        [which],
      )
      world.daemons.count(`backends ${which}`)
      return which
    },
  },
  'kill PostgreSQL': {
    weight: 3,
    needs: ['postgres', 'kafka'],
    run: async (scene) => {
      const done: string[] = []
      if (scene.random.chance(0.5)) {
        const consumer = await waitForLast(scene)
        if (consumer) done.push(`after what is flushed of ${consumer.way.table}`)
      }
      await scene.world.restartPostgres(() => meanwhile(scene, 'postgres', done))
      return done.join(', ')
    },
  },
  'kill broker': {
    weight: 1,
    needs: ['postgres', 'kafka'],
    run: async (scene) => {
      const done: string[] = []
      await scene.world.restartKafka(() => meanwhile(scene, 'kafka', done))
      return done.join(', ')
    },
  },
  settle: {
    weight: 5,
    needs: ['postgres', 'kafka'],
    run: async ({ world }) => {
      await world.settle()
      return ''
    },
  },
}

/** Waits until the last message of a partition is loaded and on disk. */
async function waitForLast(scene: Scene): Promise<Consumer | undefined> {
  const { world, random } = scene
  if (world.daemons.awake.length === 0) return
  const consumer = pick(scene, ({ paused, pending }) => !paused && !pending)
  if (!consumer) return
  const partition = random.below(consumer.log.partitions.length)
  const end = consumer.log.endOf(partition)
  if (end === 0) return
  await world.asOwner(
    `SELECT millrace.wait_for($1, $2::int, $3::bigint, timeout := '2 minutes', consumer := $4, flushed := true)`,
    [consumer.log.name, partition, end - 1, consumer.id],
  )
  consumer.noteFloor(partition, end)
  return consumer
}

/** Draws an operation that is possible now and does it. @returns what it was */
export async function perform(scene: Scene): Promise<string> {
  const possible = Object.entries(operations).filter(
    ([, { needs }]) => scene.away === null || !needs.includes(scene.away),
  )
  const name = scene.random.weighted(Object.fromEntries(possible.map(([key, { weight }]) => [key, weight])))
  const detail = await operations[name]!.run(scene)
  return detail === undefined ? `(${name})` : detail ? `${name} [${detail}]` : name
}
