// What was in the database before the demo is there after it, and what was not is not.
import type pg from 'pg'
import { millrace } from './program.ts'

type Say = (line: string) => void

export class Installation {
  readonly #client: pg.Client
  readonly #url: string
  readonly #hadCore: boolean
  readonly #hadDialect: boolean
  #addedBrokers: string[] = []
  /** Whether a daemon serves this database already. */
  readonly daemonRuns: boolean

  static async inspect(client: pg.Client, url: string): Promise<Installation> {
    const { rows } = await client.query(
      `SELECT to_regclass('millrace.migration') IS NOT NULL AS core,
         to_regnamespace('pipeline_kafka') IS NOT NULL AS dialect`,
    )
    const { core, dialect } = rows[0]
    const running = core
      ? (await client.query('SELECT millrace.daemon_connected() AS yes')).rows[0].yes
      : false
    return new Installation(client, url, core, dialect, running)
  }

  private constructor(client: pg.Client, url: string, core: boolean, dialect: boolean, daemonRuns: boolean) {
    this.#client = client
    this.#url = url
    this.#hadCore = core
    this.#hadDialect = dialect
    this.daemonRuns = daemonRuns
  }

  async install(say: Say): Promise<void> {
    if (this.#hadCore) return
    say('$ millrace install')
    await millrace(['install'], this.#url)
  }

  /** The three lines of SQL. */
  async runSql(brokers: string, topic: string, table: string, say: Say): Promise<void> {
    if (this.#hadDialect) say('  -- the extension or schema pipeline_kafka is there already')
    else if (await this.#findsExtension()) await this.#run('CREATE EXTENSION pipeline_kafka', say)
    else {
      say(
        '  -- CREATE EXTENSION is not to be had here (files not found, or no right to it): `millrace install --dialect pipeline_kafka`',
      )
      await millrace(['install', '--dialect', 'pipeline_kafka'], this.#url)
    }
    const { rows } = await this.#client.query('SELECT host FROM pipeline_kafka.brokers')
    const known = rows.map((row) => row.host)
    for (const broker of brokers.split(',').filter((one) => !known.includes(one))) {
      await this.#run(`SELECT pipeline_kafka.add_broker('${broker}')`, say)
      this.#addedBrokers.push(broker)
    }
    await this.#run(
      `SELECT pipeline_kafka.consume_begin('${topic}', '${table}', format := 'csv', delimiter := ',', start_offset := -2)`,
      say,
    )
  }

  async #findsExtension(): Promise<boolean> {
    const { rows } = await this.#client.query(
      `SELECT FROM pg_available_extensions JOIN pg_available_extension_versions AS v USING (name)
        WHERE name = 'pipeline_kafka' AND v.version = default_version AND NOT v.superuser
          AND has_database_privilege(current_database(), 'CREATE')`,
    )
    return rows.length > 0
  }

  async #run(sql: string, say: Say): Promise<void> {
    const { rows } = await this.#client.query(sql)
    const answer = rows.length > 0 ? `   -- ${Object.values(rows[0])[0]}` : ''
    say(`  ${sql};${answer}`)
  }

  async removeConsumer(topic: string, table: string): Promise<void> {
    const { rows } = await this.#client.query('SELECT id FROM millrace.consumers WHERE topic = $1', [topic])
    if (rows.length === 0) return
    await this.#client.query('SELECT pipeline_kafka.consume_end($1, $2)', [topic, table])
    if (this.#hadCore) await this.#client.query('DELETE FROM millrace.consumer WHERE topic = $1', [topic])
  }

  async undo(): Promise<void> {
    if (!this.#hadCore) {
      await millrace(['uninstall'], this.#url)
      return
    }
    for (const broker of this.#addedBrokers) {
      await this.#client.query('SELECT pipeline_kafka.remove_broker($1)', [broker])
    }
  }
}
