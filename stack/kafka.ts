// One Kafka (KRaft: broker and controller in one process) on free ports of 127.0.0.1, with everything it
// writes in one temporary folder. It comes back on the same ports with the same data after stop() and after
// kill(), and leaves nothing after remove(). Several that make one cluster: kafka-cluster.ts.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Admin } from '../src/kafka/library.ts'
import { archiveOptions, makeArchive } from './class-archive.ts'
import { removeFolder, temporaryFolder } from './folder.ts'
import { formatLike, keepModel, modelOf } from './kafka-format.ts'
import { randomId } from './kafka-id.ts'
import { javaFolder, kafkaClassPath } from './kafka-jars.ts'
import { brokerProperties, type Seat } from './kafka-properties.ts'
import {
  prepareSecurity,
  type SecureListener,
  type Security,
  type SecurityVariant,
} from './kafka-security.ts'
import { freePort } from './port.ts'
import { ServerProcess } from './server-process.ts'

export interface KafkaOptions {
  port?: number
  /** Of a topic that is created on first use. */
  partitions?: number
  /** Listeners beside the plaintext one, one for each variant. */
  security?: 'plaintext' | SecurityVariant | SecurityVariant[]
  /** Broker properties, such as { 'message.max.bytes': '2000000' }. */
  settings?: Record<string, string>
  /** Maximum heap of the broker in MB. */
  heap?: number
  /** For a broker that lives for minutes: a JVM that is small and soon at its speed, which is a lower one then. */
  brief?: boolean
  /** Told what takes its time. */
  say?: (line: string) => void
}

export interface KafkaServer {
  /** host:port of the plaintext listener. */
  readonly brokers: string
  readonly port: number
  /** The listeners asked for by `security`. */
  readonly secure: Partial<Record<SecurityVariant, SecureListener>>
  readonly folder: string
  readonly logFile: string
  /** Throws when the broker is down. */
  pid(): number
  /** Controlled shutdown. */
  stop(): Promise<void>
  /** SIGKILL. */
  kill(): Promise<void>
  /** Again, on the same ports with the same data. */
  start(): Promise<void>
  /** Resolves when the process that runs now has ended, however it came to that. */
  whenEnded(): Promise<void>
  /** Ends the broker at once and removes everything it wrote. */
  remove(): Promise<void>
}

export async function startKafka(options: KafkaOptions = {}): Promise<KafkaServer> {
  const java = javaFolder()
  const classPath = await kafkaClassPath(options.say)
  const folder = await temporaryFolder('kafka')
  try {
    const variants = [options.security ?? []].flat().filter((variant) => variant !== 'plaintext')
    const security = await prepareSecurity(variants, folder, java)
    const port = options.port ?? (await freePort())
    const server = new Server({ ...options, port }, folder, security, join(java, 'java'), classPath)
    const controllerPort = await freePort()
    await server.configure({ id: 1, port, controllerPort, voters: [{ id: 1, port: controllerPort }] })
    await server.format()
    if (options.brief) {
      await makeArchive(classPath, async (archiving) => {
        await server.startWith(archiving)
        await server.stop()
      })
    }
    await server.start()
    return server
  } catch (error) {
    await removeFolder(folder)
    throw error
  }
}

export class Server implements KafkaServer {
  readonly port: number
  readonly folder: string
  readonly logFile: string
  readonly #options: KafkaOptions
  readonly #security: Security
  readonly #java: string
  readonly #classPath: string
  #process: ServerProcess | undefined

  constructor(
    options: KafkaOptions & { port: number },
    folder: string,
    security: Security,
    java: string,
    classPath: string,
  ) {
    this.#options = options
    this.port = options.port
    this.folder = folder
    this.logFile = join(folder, 'kafka.log')
    this.#security = security
    this.#java = java
    this.#classPath = classPath
  }

  get brokers(): string {
    return `127.0.0.1:${this.port}`
  }

  get secure(): Partial<Record<SecurityVariant, SecureListener>> {
    return this.#security.facts
  }

  get #propertiesFile(): string {
    return join(this.folder, 'server.properties')
  }

  pid(): number {
    if (!this.#process?.running) throw new Error('Kafka is down')
    return this.#process.pid
  }

  async whenEnded(): Promise<void> {
    await this.#process?.whenEnded()
  }

  async configure(seat: Seat): Promise<void> {
    const properties = brokerProperties(this.folder, seat, this.#security)
    const partitions = { 'num.partitions': String(this.#options.partitions ?? 4) }
    const lines = Object.entries({ ...properties, ...partitions, ...this.#options.settings })
    await writeFile(this.#propertiesFile, lines.map(([name, value]) => `${name}=${value}\n`).join(''), {
      mode: 0o600,
    })
  }

  /** Of node 1: anew, or like one that is kept for all of this Kafka; with credentials of its own always anew. @returns the id of the cluster */
  async format(): Promise<string> {
    const clusterId = randomId()
    const folder = join(this.folder, 'data')
    const plain = this.#security.formatArguments.length === 0
    const model = modelOf(this.#classPath)
    if (plain && existsSync(model)) {
      await formatLike(model, folder, { nodeId: 1, clusterId })
      return clusterId
    }
    this.#formatAnew(clusterId)
    if (plain) await keepModel(this.#classPath, folder)
    return clusterId
  }

  #formatAnew(clusterId: string): void {
    const format = spawnSync(
      this.#java,
      [
        ...['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', ...archiveOptions(this.#classPath)],
        ...['-cp', this.#classPath, 'kafka.tools.StorageTool', 'format'],
        ...['--config', this.#propertiesFile, '--cluster-id', clusterId],
        ...this.#security.formatArguments,
      ],
      { encoding: 'utf8', cwd: this.folder },
    )
    if (format.status !== 0)
      throw new Error(`Kafka's storage was not formatted: ${format.stderr || format.stdout}`)
  }

  async start(): Promise<void> {
    if (this.#process?.running) return
    await this.startWith(archiveOptions(this.#classPath))
  }

  /** @param options of the JVM, beside its own */
  async startWith(options: string[]): Promise<void> {
    this.#process = await ServerProcess.start({
      name: 'Kafka',
      file: this.#java,
      args: [
        ...['-Xms64m', `-Xmx${this.#options.heap ?? 512}m`, ...options],
        ...(this.#options.brief ? ['-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'] : ['-XX:+UseG1GC']),
        ...['-Djava.awt.headless=true', `-Djava.io.tmpdir=${this.folder}`],
        ...['-Dorg.slf4j.simpleLogger.defaultLogLevel=warn', '-Dorg.slf4j.simpleLogger.showDateTime=true'],
        ...['-cp', this.#classPath, 'kafka.Kafka', this.#propertiesFile],
      ],
      cwd: this.folder,
      logFile: this.logFile,
    })
    try {
      await this.#process.ready(() => this.#answers(), 90_000)
    } catch (error) {
      await this.kill()
      throw error
    }
  }

  async #answers(): Promise<void> {
    const admin = new Admin({
      clientId: 'millrace-stack',
      bootstrapBrokers: [this.brokers],
      retries: 0,
      connectTimeout: 2_000,
      timeout: 5_000,
    })
    try {
      const metadata = await admin.metadata({ topics: [] })
      if (metadata.brokers.size === 0) throw new Error('the broker is not registered yet')
    } finally {
      await admin.close()
    }
  }

  async stop(): Promise<void> {
    await this.#process?.end(['SIGTERM', 30_000])
  }

  async kill(): Promise<void> {
    await this.#process?.end(['SIGKILL', 10_000])
  }

  async remove(): Promise<void> {
    await this.kill()
    await removeFolder(this.folder)
  }
}
