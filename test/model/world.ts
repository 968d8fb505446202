// Servers of the run's own, since it kills them, a consumer for each way of loading, and the daemons.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import type { KafkaServer } from '../../stack/kafka.ts'
import type { PostgresServer } from '../../stack/postgres.ts'
import { afterwards, type Cleanup } from '../support/cleanup.ts'
import { eventually } from '../support/eventually.ts'
import { consume } from '../support/flow.ts'
import { type PlainRoles, plainRoles } from '../support/plain-roles.ts'
import { kafkaFor, postgresFor } from '../support/servers.ts'
import { topicFor } from '../support/topic.ts'
import { Consumer } from './consumer.ts'
import { Daemons } from './daemons.ts'
import { TopicLog } from './topic-log.ts'
import { type Query, type Way, ways } from './way.ts'

const firstPartitions = 3
export const mostPartitions = 5

/** Until everything that was sent is loaded, on a machine that does other things as well. ms */
const patience = 120_000

export class World {
  readonly postgres: PostgresServer
  readonly kafka: KafkaServer
  readonly roles: PlainRoles
  readonly consumers: Consumer[] = []
  readonly daemons: Daemons
  #session: pg.Client | null = null

  private constructor(t: Cleanup, postgres: PostgresServer, kafka: KafkaServer, roles: PlainRoles) {
    this.postgres = postgres
    this.kafka = kafka
    this.roles = roles
    this.daemons = new Daemons(t, roles.urlOf(roles.daemon), (daemon) => {
      const folder = process.env.MODEL_LOGS
      if (!folder) return
      mkdirSync(folder, { recursive: true })
      writeFileSync(join(folder, `daemon-${daemon.pid}.log`), daemon.output())
    })
    afterwards(t, () => this.#session?.end().catch(() => {}))
  }

  static async open(t: Cleanup): Promise<World> {
    const [postgres, kafka] = await Promise.all([
      // what is not waited for is lost for longer
      postgresFor(t, { settings: { fsync: 'off', wal_writer_delay: '500ms', max_connections: '100' } }),
      kafkaFor(t, { heap: 384 }),
    ])
    const roles = await plainRoles(t, { postgres, brokers: kafka.brokers })
    const world = new World(t, postgres, kafka, roles)
    for (const way of ways) await world.#begin(t, way)
    return world
  }

  async #begin(t: Cleanup, way: Way): Promise<void> {
    const { owner } = this.roles
    await this.query(way.create(this.roles))
    if (way.expected === 'direct' || !way.create(this.roles).includes('OWNER TO'))
      await this.query(`ALTER TABLE ${way.table} OWNER TO ${owner}`)
    const topic = await topicFor(t, { partitions: firstPartitions, brokers: this.kafka.brokers })
    const options = { on_error: 'dead_letter', maxbytes: 20_000, parallelism: 2, ...way.options }
    const id = await consume(
      { query: (sql, parameters) => this.asOwner(sql, parameters) },
      topic,
      way.table,
      options,
    )
    this.consumers.push(new Consumer(way, new TopicLog(topic, this.kafka.brokers, firstPartitions), id))
  }

  /** As superuser, in one session for as long as that lasts. */
  query: Query = async (sql, parameters) => {
    this.#session ??= await this.#connect(this.roles.db.url)
    return this.#session.query(sql, parameters)
  }

  /** In a session of the role that owns the consumers. */
  async asOwner(sql: string, parameters?: unknown[]): Promise<{ rows: Record<string, unknown>[] }> {
    const client = await this.#connect(this.roles.urlOf(this.roles.owner))
    try {
      return await client.query(sql, parameters)
    } finally {
      await client.end()
    }
  }

  async #connect(connectionString: string): Promise<pg.Client> {
    // nobody waits for ever for what a sleeping daemon holds
    const client = new pg.Client({ connectionString, options: '-c lock_timeout=30s' })
    client.on('error', () => {
      if (this.#session === client) this.#session = null
    })
    await client.connect()
    return client
  }

  /** Everything that `look` asks is of one moment. */
  async inSnapshot(look: (query: Query) => Promise<void>): Promise<void> {
    await this.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
    try {
      await look(this.query)
    } finally {
      await this.query('ROLLBACK')
    }
  }

  async check(): Promise<void> {
    await this.daemons.assertAlive()
    for (const consumer of this.consumers) await this.inSnapshot((query) => consumer.check(query))
  }

  /** What a move asks for has been done. */
  async untilMoved(consumer: Consumer): Promise<void> {
    await eventually(
      `${consumer.way.table} is moved`,
      async () => {
        const { rows } = await this.query('SELECT start_pending FROM millrace.consumer WHERE id = $1', [
          consumer.id,
        ])
        return rows[0]?.start_pending === false
      },
      { deadline: patience },
    )
    consumer.pending = false
  }

  /** Everything runs until everything is loaded; then everything is compared. */
  async settle(): Promise<void> {
    const { daemons } = this
    while (daemons.asleep.length > 0) daemons.wake()
    if (daemons.awake.length === 0) await daemons.start()
    for (const consumer of this.consumers) {
      if (consumer.paused) await this.asOwner('SELECT millrace.resume($1)', [consumer.id])
      consumer.paused = false
    }
    // those that are doomed take part, and the others get over it
    for (const consumer of this.consumers) await this.#untilLoaded(consumer)
    await daemons.endDoomed()
    for (const consumer of this.consumers) {
      consumer.pending = false
      await this.inSnapshot((query) => consumer.checkSettled(query))
    }
  }

  async #untilLoaded({ id, log, way }: Consumer): Promise<void> {
    let last: unknown
    await eventually(
      `${way.table} is loaded`,
      async () => {
        const { rows } = await this.query(
          `SELECT c.start_pending, f.code, array_agg(p.next_offset::int ORDER BY p.partition) AS positions
             FROM millrace.consumer AS c
             LEFT JOIN millrace.position AS p ON p.consumer_id = c.id
             LEFT JOIN millrace.failure AS f ON f.consumer_id = c.id AND f.version = c.version
            WHERE c.id = $1 GROUP BY c.id, f.code`,
          [id],
        )
        last = rows[0]
        const { start_pending, code, positions } = rows[0] as {
          start_pending: boolean
          code: string
          positions: number[]
        }
        // the check that follows says what is wrong
        if (code) return true
        return (
          !start_pending && log.partitions.every(({ length }, partition) => positions[partition] === length)
        )
      },
      { deadline: patience },
    ).catch(async (error) => {
      const ends = log.partitions.map(({ length }) => length)
      const { rows } = await this.query(
        'SELECT state, error_code, error_message FROM millrace.consumers WHERE id = $1',
        [id],
      )
      const { rows: owned } = await this.query(
        `SELECT p.partition, p.owner, p.owner_pid, a.application_name, a.state, a.wait_event, left(a.query, 80) AS query
           FROM millrace.position AS p LEFT JOIN pg_stat_activity AS a ON a.pid = p.owner_pid WHERE consumer_id = $1`,
        [id],
      )
      throw new Error(`${error.message}; ${JSON.stringify([last, ends, rows, owned])}`, { cause: error })
    })
  }

  async restartPostgres(meanwhile: () => Promise<void>): Promise<void> {
    const session = this.#session
    this.#session = null
    await session?.end().catch(() => {})
    await this.postgres.kill()
    this.daemons.count('PostgreSQL')
    await meanwhile()
    await this.postgres.start()
  }

  async restartKafka(meanwhile: () => Promise<void>): Promise<void> {
    await this.kafka.kill()
    this.daemons.count('broker')
    await meanwhile()
    await this.kafka.start()
  }
}
