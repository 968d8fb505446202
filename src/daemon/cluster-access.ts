// A cluster is two halves: its brokers, which SQL knows, and how to speak to them, which only the daemon's
// configuration knows.

import { type Config, clusterConfig } from '../config/config.ts'
import type { ClusterAccess } from '../kafka/access.ts'

export function clusterAccess(config: Config, cluster: string, brokers: string[]): ClusterAccess {
  const { tls, sasl } = clusterConfig(config, cluster)
  return {
    name: cluster,
    brokers,
    clientId: config.kafka.clientId,
    connectTimeout: config.kafka.connectTimeout,
    requestTimeout: config.kafka.requestTimeout,
    ...(tls && {
      tls: { ca: tls.ca, cert: tls.cert, key: tls.key?.reveal(), rejectUnauthorized: tls.rejectUnauthorized },
      ...(tls.serverName !== undefined && { tlsServerName: tls.serverName }),
    }),
    ...(sasl && {
      sasl: { mechanism: sasl.mechanism, username: sasl.username, password: sasl.password.reveal() },
    }),
  }
}
