// A configuration is used whole or not at all: everything that is unknown, malformed, contradictory or missing
// is found before anything starts and reported in one error. Options beat the environment, which beats the file.

import { MillraceError } from '../errors.ts'
import type { LogFormat, LogLevel } from '../log.ts'
import type { Secret } from '../secret.ts'
import { type ClusterConfig, plainCluster, readCluster } from './cluster.ts'
import { clusterVariables, type Environment, readEnvironment } from './environment.ts'
import { readConfigFile } from './file.ts'
import { emptyLayer, type Given, type Layer } from './given.ts'
import type { ListenAddress } from './listen-address.ts'
import { defaultCluster, settings } from './settings.ts'

/** Times in milliseconds, sizes in bytes; what each setting means stands in the table of settings. */
export interface Config {
  database: {
    url: Secret
    maxConnections: number
    connectTimeout: number
    synchronousCommit: 'off' | 'local' | 'on'
  }
  daemon: {
    memoryBudget: number
    shutdownTimeout: number
    reconcileInterval: number
    reportInterval: number
    takeoverGrace: number
  }
  kafka: { clientId: string; connectTimeout: number; requestTimeout: number; metadataInterval: number }
  outbound: {
    compression: 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'
    linger: number
    batchSize: number
    leaseTimeout: number
    partitionPatience: number
    snapshotBacklog: number
  }
  group: { sessionTimeout: number; heartbeatInterval: number }
  /** `listen` is null when nothing is served. */
  http: { listen: ListenAddress | null; partitions: boolean }
  retry: { min: number; max: number }
  log: { level: LogLevel; format: LogFormat }
  /** Ask with `clusterConfig`. */
  clusters: ReadonlyMap<string, ClusterConfig>
  /** What works but should be looked at; for the log. */
  warnings: readonly string[]
}

export interface ConfigSources {
  env: Environment
  /** The configuration file; MILLRACE_CONFIG unless given. */
  file?: string | undefined
  /** By path of the setting, as text: what the command line said. */
  overrides?: Readonly<Record<string, string | undefined>>
  /** Found elsewhere; they are reported together. */
  problems?: readonly string[]
}

/**
 * @throws MillraceError config-invalid, with every problem
 */
export function loadConfig({ env, file, overrides = {}, problems: others = [] }: ConfigSources): Config {
  const path = file ?? (env.MILLRACE_CONFIG || undefined)
  const fromFile = path === undefined ? emptyLayer() : readConfigFile(path)
  const fromEnv = readEnvironment(env)
  const problems = [...others, ...fromFile.problems, ...fromEnv.problems]
  const warnings: string[] = []

  const config: Record<string, Record<string, unknown>> = {}
  for (const setting of settings) {
    const option = overrides[setting.path]
    const given: (Given | undefined)[] = [
      setting.default === null ? undefined : { raw: setting.default, source: 'default', directory: '' },
      fromFile.settings.get(setting.path),
      fromEnv.settings.get(setting.path),
      option === undefined ? undefined : { raw: option, source: optionName(setting.path), directory: '' },
    ]
    const [group, name] = setting.path.split('.') as [string, string]
    config[group] ??= {}
    for (const one of given) {
      if (one === undefined) continue
      const reading = setting.type.read(one.raw)
      if ('problem' in reading) problems.push(`${one.source}: ${reading.problem}`)
      else config[group][name] = reading.value
    }
    if (given.every((one) => one === undefined)) {
      problems.push(`${setting.path}: give ${optionName(setting.path)} or set ${setting.env.at(-1)}`)
    }
  }
  const clusters = readClusters(fromFile, fromEnv, problems, warnings)
  const complete = { ...config, clusters, warnings } as unknown as Config
  if (problems.length === 0) problems.push(...contradictions(complete))
  if (problems.length > 0) {
    throw new MillraceError('config-invalid', { problems: problems.map((line) => `  ${line}`).join('\n') })
  }
  return complete
}

/** How to speak to a cluster: by its name, else by what its environment variables are called, else in the clear. */
export function clusterConfig(config: Config, cluster: string): ClusterConfig {
  return config.clusters.get(cluster) ?? config.clusters.get(clusterVariables(cluster)) ?? plainCluster
}

/** `database.url` is `--database`, `log.level` is `--log-level`. */
function optionName(path: string): string {
  return path === 'database.url' ? '--database' : `--${path.replace('.', '-')}`
}

function readClusters(
  file: Layer,
  env: Layer,
  problems: string[],
  warnings: string[],
): Map<string, ClusterConfig> {
  const clusters = new Map<string, ClusterConfig>()
  const read = (name: string, layers: (ReadonlyMap<string, Given> | undefined)[]): void => {
    const given = layers.filter((layer) => layer !== undefined)
    clusters.set(name, readCluster(name, given, problems, warnings))
  }
  const keyOf = (name: string): string => (name === defaultCluster ? name : clusterVariables(name))
  for (const [name, layer] of file.clusters) read(name, [layer, env.clusters.get(keyOf(name))])
  for (const [key, layer] of env.clusters) {
    const named = [...file.clusters.keys()].filter((name) => keyOf(name) === key)
    if (named.length === 0) read(key, [layer])
    if (named.length > 1) problems.push(`${key}*: may mean any of the clusters ${named.join(', ')}`)
  }
  return clusters
}

function contradictions({ retry, group }: Config): string[] {
  const problems: string[] = []
  if (retry.min > retry.max) problems.push('retry.min: is longer than retry.max')
  if (group.heartbeatInterval * 2 >= group.sessionTimeout) {
    problems.push('group.heartbeatInterval: must be less than half of group.sessionTimeout')
  }
  return problems
}
