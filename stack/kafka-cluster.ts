// Several brokers that make one Kafka, each a process of its own that can be killed, stopped and started alone; all
// of them are controllers, so that a cluster of three works while two of them live. Small: they are for tests.
import { join } from 'node:path'
import { removeFolder, temporaryFolder } from './folder.ts'
import { type KafkaServer, Server } from './kafka.ts'
import { formatLike } from './kafka-format.ts'
import { javaFolder, kafkaClassPath } from './kafka-jars.ts'
import { prepareSecurity } from './kafka-security.ts'
import { freePort } from './port.ts'

export interface KafkaClusterOptions {
  /** Default 3. */
  brokers?: number
  /** Broker properties, of all of them. */
  settings?: Record<string, string>
  /** Maximum heap of each broker in MB. Default 160. */
  heap?: number
}

export interface KafkaCluster {
  /** host:port of all brokers, with commas. */
  readonly brokers: string
  /** The broker whose id (from 1 on) is `id`. */
  node(id: number): KafkaServer
  /** Ends all of them at once and removes everything they wrote. */
  remove(): Promise<void>
}

export async function startKafkaCluster(options: KafkaClusterOptions = {}): Promise<KafkaCluster> {
  const nodes: Server[] = []
  const remove = async () => {
    await Promise.all(nodes.map((node) => node.remove()))
  }
  try {
    const ids = Array.from({ length: options.brokers ?? 3 }, (_, index) => index + 1)
    for (const _ of ids) nodes.push(await newNode(options))
    const voters = await Promise.all(ids.map(async (id) => ({ id, port: await freePort() })))
    for (const [index, node] of nodes.entries()) {
      const { id, port: controllerPort } = voters[index]!
      await node.configure({ id, port: node.port, controllerPort, voters })
    }
    const [first, ...others] = nodes as [Server, ...Server[]]
    const clusterId = await first.format()
    const model = join(first.folder, 'data')
    for (const [index, node] of others.entries()) {
      await formatLike(model, join(node.folder, 'data'), { nodeId: index + 2, clusterId })
    }
    // each answers when there is a majority of controllers
    const started = await Promise.allSettled(nodes.map((node) => node.start()))
    for (const each of started) if (each.status === 'rejected') throw each.reason
    return {
      brokers: nodes.map((node) => node.brokers).join(','),
      node: (id) => nodes[id - 1]!,
      remove,
    }
  } catch (error) {
    await remove()
    throw error
  }
}

async function newNode({ settings, heap = 160 }: KafkaClusterOptions): Promise<Server> {
  const java = javaFolder()
  const classPath = await kafkaClassPath()
  const folder = await temporaryFolder('kafka')
  try {
    const security = await prepareSecurity([], folder, java)
    const small = { heap, brief: true, ...(settings && { settings }) }
    return new Server({ ...small, port: await freePort() }, folder, security, join(java, 'java'), classPath)
  } catch (error) {
    await removeFolder(folder)
    throw error
  }
}
