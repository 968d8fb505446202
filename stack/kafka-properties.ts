// What a broker of the stack is told: small and quick, with few internal partitions, and no waiting for more members
// of a group. Everything that Kafka keeps for itself has a replica on each broker of its cluster.
import { join } from 'node:path'
import type { Security } from './kafka-security.ts'

/** One broker's place in its cluster; each is a controller, too. */
export interface Seat {
  id: number
  port: number
  controllerPort: number
  /** All controllers of the cluster. */
  voters: { id: number; port: number }[]
}

export function brokerProperties(
  folder: string,
  seat: Seat,
  security: Pick<Security, 'listeners' | 'properties'>,
): Record<string, string> {
  const replicas = String(seat.voters.length)
  const listeners = [
    { name: 'PLAINTEXT', port: seat.port, protocol: 'PLAINTEXT' },
    { name: 'CONTROLLER', port: seat.controllerPort, protocol: 'PLAINTEXT' },
    ...security.listeners,
  ]
  const addresses = listeners.map(({ name, port }) => `${name}://127.0.0.1:${port}`)
  return {
    'process.roles': 'broker,controller',
    'node.id': String(seat.id),
    'controller.quorum.voters': seat.voters.map(({ id, port }) => `${id}@127.0.0.1:${port}`).join(','),
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'PLAINTEXT',
    listeners: addresses.join(','),
    'advertised.listeners': addresses.filter((address) => !address.startsWith('CONTROLLER')).join(','),
    'listener.security.protocol.map': listeners.map(({ name, protocol }) => `${name}:${protocol}`).join(','),
    'log.dirs': join(folder, 'data'),
    'auto.create.topics.enable': 'true',
    'offsets.topic.num.partitions': '4',
    'offsets.topic.replication.factor': replicas,
    'transaction.state.log.num.partitions': '4',
    'transaction.state.log.replication.factor': replicas,
    'transaction.state.log.min.isr': '1',
    'share.coordinator.state.topic.num.partitions': '1',
    'share.coordinator.state.topic.replication.factor': replicas,
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
