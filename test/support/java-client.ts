// Kafka's own Java client, in a process of its own, run from its source with the jars of the stack's Kafka.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { guardGone, guardProcess } from '../../stack/guard.ts'
import { javaFolder, kafkaClassPath } from '../../stack/kafka-jars.ts'
import { afterwards, type Cleanup } from './cleanup.ts'
import { eventually } from './eventually.ts'
import { sharedServers } from './servers.ts'

const source = fileURLToPath(new URL('JavaClient.java', import.meta.url))

export interface JavaClient {
  /** What it has written so far. */
  output(): string
  until(text: string): Promise<void>
  /** Ends a member in order: it leaves its group. */
  leave(): Promise<void>
  exited: Promise<number | null>
}

async function run(t: Cleanup, args: string[]): Promise<JavaClient> {
  const child = spawn(join(javaFolder(), 'java'), [
    ...['-Xmx128m', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC'],
    ...['-Dorg.slf4j.simpleLogger.defaultLogLevel=error', '-cp', await kafkaClassPath(), source, ...args],
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
