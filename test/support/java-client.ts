// Kafka's own Java client, in a process of its own, with the jars of the stack's Kafka.
import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { archiveOptions } from '../../stack/class-archive.ts'
import { guardGone, guardProcess } from '../../stack/guard.ts'
import { javaFolder, kafkaClassPath } from '../../stack/kafka-jars.ts'
import { afterwards, type Cleanup } from './cleanup.ts'
import { eventually } from './eventually.ts'
import { sharedServers } from './servers.ts'

const source = fileURLToPath(new URL('JavaClient.java', import.meta.url))
const cache = fileURLToPath(new URL('../../node_modules/.cache', import.meta.url))

export interface JavaClient {
  /** What it has written so far. */
  output(): string
  until(text: string): Promise<void>
  /** Ends a member in order: it leaves its group. */
  leave(): Promise<void>
  exited: Promise<number | null>
}

/** @returns the folder of its classes: compiled once for all tests, because that takes longer than what they ask for */
async function compiled(): Promise<string> {
  const digest = createHash('sha256')
    .update(await readFile(source))
    .digest('hex')
    .slice(0, 8)
  const classes = join(cache, `java-client-${digest}`)
  if (existsSync(classes)) return classes
  await mkdir(cache, { recursive: true })
  const fresh = await mkdtemp(join(cache, 'compiling-'))
  try {
    const compiler = join(javaFolder(), 'javac')
    await promisify(execFile)(compiler, ['-d', fresh, '-cp', await kafkaClassPath(), source])
    // another test may have been quicker
    await rename(fresh, classes).catch((error) => {
      if (!existsSync(classes)) throw error
    })
  } finally {
    await rm(fresh, { recursive: true, force: true })
  }
  return classes
}

async function run(t: Cleanup, args: string[]): Promise<JavaClient> {
  const jars = await kafkaClassPath()
  const child = spawn(join(javaFolder(), 'java'), [
    ...['-Xmx128m', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', ...archiveOptions(jars)],
    '-Dorg.slf4j.simpleLogger.defaultLogLevel=error',
    ...['-cp', `${jars}:${await compiled()}`, 'JavaClient', ...args],
  ])
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text) => (output += text))
  child.stderr.setEncoding('utf8').on('data', (text) => (output += text))
  child.stdin.on('error', () => {})
  guardProcess(child.pid!)
  let running = true
  const exited = new Promise<number | null>((resolve) => {
    child.once('exit', () => {
      running = false
      guardGone(child.pid!)
    })
    child.once('close', resolve)
  })
  afterwards(t, async () => {
    if (running) child.kill('SIGKILL')
    await exited
  })
  return {
    output: () => output,
    until: async (text) => {
      await eventually(`the Java client says ${text}`, () => output.includes(text), {
        deadline: 60_000,
      }).catch((error) => {
        throw new Error(`${error.message}; it wrote:\n${output}`)
      })
    },
    leave: async () => {
      child.stdin.write('\n')
      await exited
    },
    exited,
  }
}

export interface JavaProduceOptions {
  /** Default 0. */
  partition?: number
  /** Default: each there is. */
  codecs?: string[]
  brokers?: string
}

/** Sends so many values with each codec in turn. @returns them, in order */
export async function produceWithJava(
  t: Cleanup,
  topic: string,
  count: number,
  options: JavaProduceOptions = {},
): Promise<string[]> {
  const { partition = 0, codecs = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] } = options
  const brokers = options.brokers ?? sharedServers().brokers
  const client = await run(t, ['produce', brokers, topic, String(partition), String(count), codecs.join()])
  const code = await client.exited
  if (code !== 0) throw new Error(`the Java client exited with ${code}:\n${client.output()}`)
  return codecs.flatMap((codec) =>
    Array.from({ length: count }, (_, n) => `${codec} ${String(n).padStart(6, '0')} ${'x'.repeat(n % 200)}`),
  )
}

/** @param protocol an assignor of the classic protocol, such as RoundRobinAssignor, or `consumer` (KIP-848) */
export function joinWithJava(
  t: Cleanup,
  topic: string,
  group: string,
  protocol: 'RoundRobinAssignor' | 'RangeAssignor' | 'consumer',
): Promise<JavaClient> {
  return run(t, ['join', sharedServers().brokers, topic, group, protocol])
}

export interface ReadRecord {
  partition: number
  offset: number
  timestamp: number
  key: string | null
  value: string | null
  headers: [name: string, value: string | null][]
}

/** What the topic holds now, as Kafka's own client reads it with read_committed, in order of each partition. */
export async function readWithJava(
  t: Cleanup,
  topic: string,
  brokers = sharedServers().brokers,
): Promise<ReadRecord[]> {
  const client = await run(t, ['read', brokers, topic])
  await client.exited
  const lines = client.output().split('\n')
  if (!lines.includes('end')) throw new Error(`the Java client wrote:\n${client.output().slice(-2000)}`)
  const records = lines.filter((line) => line.startsWith('record ')).map((line) => line.split(' ').slice(1))
  return records
    .map(([partition, offset, timestamp, key, value, ...headers]) => ({
      partition: Number(partition),
      offset: Number(offset),
      timestamp: Number(timestamp),
      key: text(key),
      value: text(value),
      headers: Array.from({ length: headers.length / 2 }, (_, i): [string, string | null] => [
        text(headers[2 * i]) ?? '',
        text(headers[2 * i + 1]),
      ]),
    }))
    .sort((a, b) => a.partition - b.partition || a.offset - b.offset)
}

/** One byte is one character. */
function text(hex: string | undefined): string | null {
  return hex?.startsWith('x') ? Buffer.from(hex.slice(1), 'hex').toString('latin1') : null
}

export interface HashedKey {
  hash: number
  /** Of 1, 3 and 12. */
  partitions: number[]
}

/** What the Java client makes of keys. */
export async function hashWithJava(t: Cleanup, keys: Buffer[]): Promise<HashedKey[]> {
  const client = await run(t, ['hash', ...keys.map((key) => key.toString('hex') || '-')])
  if ((await client.exited) !== 0) throw new Error(`the Java client wrote:\n${client.output()}`)
  const lines = client.output().trim().split('\n')
  return lines.map((line) => {
    const [, hash, ...partitions] = line.split(' ').map(Number)
    return { hash: hash as number, partitions }
  })
}
