// One Kafka (KRaft: broker and controller in one process) on free ports of 127.0.0.1, with everything it
// writes in one temporary folder. It comes back on the same ports with the same data after stop() and after
// kill(), and leaves nothing after remove().
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Admin } from '@platformatic/kafka'
import { removeFolder, temporaryFolder } from './folder.ts'
import { javaFolder, kafkaClassPath } from './kafka-jars.ts'
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
    await server.format()
    await server.start()
    return server
  } catch (error) {
    await removeFolder(folder)
    throw error
  }
}

class Server implements KafkaServer {
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

  async format(): Promise<void> {
    const properties = brokerProperties(this.folder, this.port, await freePort(), this.#security)
    const partitions = { 'num.partitions': String(this.#options.partitions ?? 4) }
    const lines = Object.entries({ ...properties, ...partitions, ...this.#options.settings })
    await writeFile(this.#propertiesFile, lines.map(([name, value]) => `${name}=${value}\n`).join(''), {
      mode: 0o600,
    })
    const format = spawnSync(
      this.#java,
      [
        ...['-XX:TieredStopAtLevel=1', '-cp', this.#classPath, 'kafka.tools.StorageTool', 'format'],
        ...['--config', this.#propertiesFile, '--cluster-id', clusterId()],
        ...this.#security.formatArguments,
      ],
      { encoding: 'utf8', cwd: this.folder },
    )
    if (format.status !== 0)
      throw new Error(`Kafka's storage was not formatted: ${format.stderr || format.stdout}`)
  }

  async start(): Promise<void> {
    if (this.#process?.running) return
    this.#process = await ServerProcess.start({
      name: 'Kafka',
      file: this.#java,
      args: [
        ...['-Xms64m', `-Xmx${this.#options.heap ?? 512}m`, '-XX:+UseG1GC'],
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

/** Small and quick: one replica of everything, few internal partitions, no waiting for more group members. */
function brokerProperties(
  folder: string,
  port: number,
  controllerPort: number,
  security: Security,
): Record<string, string> {
  const listeners = [
    { name: 'PLAINTEXT', port, protocol: 'PLAINTEXT' },
    { name: 'CONTROLLER', port: controllerPort, protocol: 'PLAINTEXT' },
    ...security.listeners,
  ]
  const addresses = listeners.map(({ name, port }) => `${name}://127.0.0.1:${port}`)
  return {
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.voters': `1@127.0.0.1:${controllerPort}`,
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'PLAINTEXT',
    listeners: addresses.join(','),
    'advertised.listeners': addresses.filter((address) => !address.startsWith('CONTROLLER')).join(','),
    'listener.security.protocol.map': listeners.map(({ name, protocol }) => `${name}:${protocol}`).join(','),
    'log.dirs': join(folder, 'data'),
    'auto.create.topics.enable': 'true',
    'offsets.topic.num.partitions': '4',
    'offsets.topic.replication.factor': '1',
    'transaction.state.log.num.partitions': '4',
    'transaction.state.log.replication.factor': '1',
    'transaction.state.log.min.isr': '1',
    'share.coordinator.state.topic.num.partitions': '1',
    'share.coordinator.state.topic.replication.factor': '1',
    'share.coordinator.state.topic.min.isr': '1',
    'group.initial.rebalance.delay.ms': '0',
    // A killed broker may register again only when the session of its former self has run out.
    'broker.session.timeout.ms': '3000',
    'broker.heartbeat.interval.ms': '500',
    // A test that waits for a dead member to be noticed asks for a session shorter than the usual 6 s.
    'group.min.session.timeout.ms': '500',
    'log.cleaner.dedupe.buffer.size': '4194304',
    'log.cleaner.backoff.ms': '1000',
    'num.network.threads': '2',
    'num.io.threads': '4',
    ...security.properties,
  }
}

/** 16 random bytes as Kafka writes them; its command line takes a leading dash for an option. */
function clusterId(): string {
  for (;;) {
    const id = randomBytes(16).toString('base64url')
    if (!id.startsWith('-')) return id
  }
}
